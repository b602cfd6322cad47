"""Graphs that join every item to the k items whose media are most alike; never items x items."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from mmssl.evaluation.ranking import top_k_of_block
from mmssl.vectors import unit_rows

# Similarities held at once: 32 MiB of float32, whatever the catalogue's size.
_SIMILARITIES_PER_BLOCK = 2**23


class NearestItems(NamedTuple):
    """The items most alike to each item, best first; width w = min(k, I)."""

    items: Tensor
    """(I, w) int64; -1 behind a short list, as all of an item without the modality is."""
    similarities: Tensor
    """(I, w) cosines; 0 behind a short list."""


@torch.no_grad()
def nearest_items(
    vectors: Tensor, present: Tensor, k: int, *, itself: bool, block: int | None = None
) -> NearestItems:
    """The k items of highest cosine, among those that have the modality.

    Equal cosines go to the lower item row. Time: I^2 d; memory: a block of rows of I cosines.

    Args:
        vectors: (I, d) on any device.
        present: (I,) bool on the same device; the others neither have neighbours nor are any.
        k: neighbours an item, at least 1.
        itself: whether an item is among its own neighbours, as the equations of LATTICE, FREEDOM
            and MGCN have it; it is then the first of them, but for items exactly alike.
        block: items at a time; by default as many as keep the cosines at 32 MiB.

    Raises:
        FloatingPointError: a vector holds NaN or an infinite value.
    """
    if not bool(vectors.isfinite().all()):
        raise FloatingPointError("a vector is NaN or infinite: the model has diverged")
    n_items = len(vectors)
    width = min(k, n_items)
    # Only proportions matter here, and squares of huge values overflow.
    units = unit_rows(vectors / vectors.abs().amax(dim=1, keepdim=True).clamp(min=1e-30))
    items = torch.full((n_items, width), -1, dtype=torch.int64, device=vectors.device)
    similarities = torch.zeros(n_items, width, dtype=vectors.dtype, device=vectors.device)
    step = block or max(1, _SIMILARITIES_PER_BLOCK // max(n_items, 1))
    rows = present.nonzero().squeeze(1)
    for start in range(0, len(rows), step):
        some = rows[start : start + step]
        cosines = units[some] @ units.T
        cosines[:, ~present] = -torch.inf
        if not itself:
            cosines[torch.arange(len(some), device=some.device), some] = -torch.inf
        best, values = top_k_of_block(cosines, width)
        items[some] = best
        similarities[some] = values.masked_fill(best < 0, 0.0)
    return NearestItems(items, similarities)


def cosines_of(vectors: Tensor, items: Tensor) -> Tensor:
    """The cosines of each item with its listed neighbours, through which gradients flow.

    Args:
        vectors: (I, d).
        items: (I, w) int64 as of ``NearestItems``.

    Returns:
        (I, w), 0 behind a short list.
    """
    units = unit_rows(vectors)
    found = torch.einsum("id,iwd->iw", units, units[items.clamp(min=0)])
    return torch.where(items >= 0, found, 0.0)


def symmetric(items: Tensor, weights: Tensor) -> Tensor:
    """The weights of D^(-1/2) W D^(-1/2), D the diagonal of W's row sums; gradients flow through.

    An entry below zero counts as none, since its row's sum could have no root; rows without an
    entry stay zero.

    Args:
        items: (I, w) int64 columns, -1 where there is none.
        weights: (I, w) entries of W there.

    Returns:
        (I, w).
    """
    weights = weights.clamp(min=0)
    sums = weights.sum(dim=1)
    there = sums > 0
    roots = torch.where(there, torch.where(there, sums, 1.0) ** -0.5, 0.0)
    return roots[:, None] * weights * roots[items.clamp(min=0)]


def neighbour_matrix(items: Tensor, weights: Tensor) -> sp.csr_array:
    """(I, I) sparse, with ``weights`` (I, w) in the columns ``items`` (I, w), -1 for none."""
    n_items, width = items.shape
    columns = items.cpu().numpy().ravel()
    values = weights.detach().cpu().numpy().ravel()
    rows = np.repeat(np.arange(n_items), width)
    kept = (columns >= 0) & (values != 0)
    shape = (n_items, n_items)
    return sp.csr_array((values[kept], (rows[kept], columns[kept])), shape=shape)


def frozen_graph(
    vectors: Tensor, present: Tensor, k: int, weights: Literal["cosine", "ones"]
) -> sp.csr_array:
    """The graph of raw embeddings, normalised on both sides: an item's neighbours in its row.

    LATTICE's and MGCN's with the cosines as weights (Zhang et al., MM 2021; Yu
    et al., MM 2023), FREEDOM's with ones (Zhou and Shen, MM 2023). An item is its own neighbour.

    Args:
        vectors: (I, d).
        present: (I,) bool, which items have the modality.
        k: neighbours an item.
        weights: of an edge before it is normalised.

    Returns:
        (I, I) D^(-1/2) W D^(-1/2).
    """
    found = nearest_items(vectors, present, k, itself=True)
    given = found.similarities
    if weights == "ones":
        given = (found.items >= 0).to(given.dtype)
    return neighbour_matrix(found.items, symmetric(found.items, given))


def weighted_sum(graphs: Sequence[sp.csr_array], weights: Sequence[float]) -> sp.csr_array:
    """sum of weight x graph, (I, I)."""
    total = weights[0] * graphs[0]
    for graph, weight in zip(graphs[1:], weights[1:], strict=True):
        total = total + weight * graph
    return sp.csr_array(total)
