"""Contrast of two views of the same nodes: each is to be told from the others in the other view."""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from mmssl.vectors import unit_rows


def cross_view(
    anchors: Tensor, others: Tensor, temperature: float, places: Tensor | None = None
) -> Tensor:
    """Mean of -log( exp(s(a_i, o_i)/tau) / sum_j exp(s(a_i, o_j)/tau) ), s the cosine.

    InfoNCE with negatives of the other view alone (Wu et al., "Self-supervised Graph Learning for
    Recommendation", SIGIR 2021, section 3.2). Memory: n x m.

    Args:
        anchors: (n, d) nodes in one view.
        others: (m, d) the same nodes, and perhaps more, in the other view.
        temperature: tau, above 0.
        places: (n,) int64, the row of ``others`` that is the anchor's own; when left out, its own
            row number.

    Returns:
        A scalar.
    """
    if places is None:
        places = torch.arange(len(anchors), device=anchors.device)
    cosines = unit_rows(anchors) @ unit_rows(others).T
    # Under autocast the product is of lower precision; what follows is not.
    logits = cosines.to(anchors.dtype) / temperature
    return cross_entropy(logits, places, reduction="sum") / max(1, len(places))
