"""Bayesian personalised ranking."""

import torch
from torch import Tensor

from mmssl.vectors import mean_or_zero


def bpr(users: Tensor, positives: Tensor, negatives: Tensor) -> Tensor:
    """Mean -log sigma(y+ - y-), y = user . item (Rendle et al., UAI 2009; METHOD equation 13).

    Args:
        users, positives, negatives: (B, d) final vectors of the batch.

    Returns:
        A scalar.
    """
    margin = (users * (positives - negatives)).sum(dim=1)
    return mean_or_zero(torch.nn.functional.softplus(-margin))


def batch_l2(users: Tensor, positives: Tensor, negatives: Tensor) -> Tensor:
    """Half the squared norms of the batch's final vectors, divided by the batch size."""
    squares = users.square().sum() + positives.square().sum() + negatives.square().sum()
    return 0.5 * squares / max(1, len(users))
