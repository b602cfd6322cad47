"""Cross-modal contrast: a user's modality view against the same user's collaborative view."""

import torch
from torch import Tensor

from mmssl.vectors import unit_rows


def info_nce(anchors: Tensor, positives: Tensor, temperature: float) -> Tensor:
    """METHOD equation 12 over a batch of distinct users, one direction, mean over users.

    -log( exp(s(a,p)/tau) / (sum_j exp(s(a,a_j)/tau) + sum_j exp(s(a,p_j)/tau) - exp(s(a,a)/tau))
    + 1e-8 ), with s the cosine. Other users' views in both embeddings are the negatives.

    Args:
        anchors: (B, d) relation embeddings of one modality.
        positives: (B, d) final or collaborative vectors of the same users.
        temperature: tau, above 0.

    Returns:
        A scalar.
    """
    anchors, positives = unit_rows(anchors), unit_rows(positives)
    # (B, B): how alike user i's anchor is to user j's anchor, and to user j's positive.
    within = anchors @ anchors.T / temperature
    across = anchors @ positives.T / temperature
    off_diagonal = within.masked_fill(
        torch.eye(len(within), dtype=torch.bool, device=within.device), -torch.inf
    )
    # In logarithms, since exp(1/tau) overflows single precision for tau below .012.
    log_total = torch.logsumexp(torch.cat([off_diagonal, across], dim=1), dim=1)
    log_share = across.diagonal() - log_total
    return -torch.log(log_share.exp() + 1e-8).mean()
