"""Cross-modal contrast: a user's modality view against the same user's collaborative view."""

import torch
from torch import Tensor

from mmssl.vectors import mean_or_zero, unit_rows


def info_nce(
    anchors: Tensor, positives: Tensor, temperature: float, own: slice = slice(None)
) -> Tensor:
    """METHOD equation 12 over a batch of distinct users, one direction, mean over users.

    -log( exp(s(a,p)/tau) / (sum_j exp(s(a,a_j)/tau) + sum_j exp(s(a,p_j)/tau) - exp(s(a,a)/tau))
    + 1e-8 ), with s the cosine. Other users' views in both embeddings are the negatives.

    Args:
        anchors: (B, d) relation embeddings of one modality.
        positives: (B, d) final or collaborative vectors of the same users.
        temperature: tau, above 0.
        own: the users over whom the mean is taken; all users' views stay their negatives.

    Returns:
        A scalar.
    """
    anchors, positives = unit_rows(anchors), unit_rows(positives)
    # (own, B): how alike user i's anchor is to user j's anchor, and to user j's positive.
    within = anchors[own] @ anchors.T / temperature
    across = anchors[own] @ positives.T / temperature
    itself = torch.eye(len(anchors), dtype=torch.bool, device=within.device)[own]
    # Not infinite: of a single user's row that would leave nothing, whose derivative is NaN.
    off_diagonal = within.masked_fill(itself, torch.finfo(within.dtype).min)
    # In logarithms, since exp(1/tau) overflows single precision for tau below .012.
    log_total = torch.logaddexp(off_diagonal.logsumexp(dim=1), across.logsumexp(dim=1))
    log_share = across.diagonal(own.start or 0) - log_total
    return -mean_or_zero(torch.log(log_share.exp() + 1e-8))
