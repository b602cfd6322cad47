"""A graph autoencoder's objective on the modality features: the ablation r/p-GAE."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from mmssl.vectors import mean_or_zero


def reconstruction(
    users: Sequence[Tensor], positives: Sequence[Tensor], negatives: Sequence[Tensor]
) -> Tensor:
    """sum_m of the mean binary cross-entropy of sigma(F_u^m . F_i^m) (METHOD section 4).

    The B positive pairs have the target one, the B negative pairs zero (Kipf and Welling,
    "Variational Graph Auto-Encoders", 2016, without the variational part).

    Args:
        users, positives, negatives: M tensors (B, d) each, the batch's features of each modality.

    Returns:
        A scalar.
    """
    parts = []
    for user, positive, negative in zip(users, positives, negatives, strict=True):
        logits = torch.cat([(user * positive).sum(dim=1), (user * negative).sum(dim=1)])
        targets = torch.cat([torch.ones(len(user)), torch.zeros(len(user))]).to(logits)
        losses = binary_cross_entropy_with_logits(logits, targets, reduction="none")
        parts.append(mean_or_zero(losses))
    return torch.stack(parts).sum()
