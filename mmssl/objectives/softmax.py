"""Sampled softmax: a positive's cross-entropy among items that the whole step shares."""

import torch
from torch import Tensor

from mmssl.vectors import mean_or_zero


def sampled_softmax(
    users: Tensor,
    positives: Tensor,
    shared: Tensor,
    left_out: Tensor,
    temperature: float,
) -> Tensor:
    """Mean -log( exp(y+/tau) / (exp(y+/tau) + sum_j exp(y_j/tau)) ), y = user . item.

    As in Wu et al., "On the effectiveness of sampled softmax loss for item recommendation" (TOIS
    2024), with uniform negatives, and inner products for scores.

    Args:
        users, positives: (B, d) final vectors of the batch.
        shared: (n, d) final vectors of the items compared with.
        left_out: (B, n) bool: items that a user has observed, which are no negatives.
        temperature: tau, above 0.

    Returns:
        A scalar.
    """
    own = (users * positives).sum(dim=1, keepdim=True) / temperature
    others = (users @ shared.T / temperature).masked_fill(left_out, -torch.inf)
    total = torch.logsumexp(torch.cat([own, others], dim=1), dim=1)
    return mean_or_zero(total - own.squeeze(1))
