"""Where random walks over the interactions lead from each item; never items x items at once."""

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray

from mmssl.data.graphs import binary
from mmssl.evaluation.ranking import top_k_of_block

# Probabilities held at once: 32 MiB of float32, whatever the catalogue's size.
_PER_BLOCK = 2**23


def walk_graph(
    interactions: sp.csr_array, steps: int, neighbours: int, block: int | None = None
) -> sp.csr_array:
    """How likely walks from each item are to end at each other item, summed over their lengths.

    A step goes from an item to one of its users, and on to one of that user's items, each with the
    same chance: T = D_i^(-1) R^T D_u^(-1) R, whose rows sum to 1. The graph is T + T^2 + .. + T^n
    without its diagonal, and of each row the largest entries (P3 of Cooper et al., "Random walks in
    recommender systems", WWW 2014, which ranks R T, is one step of it). A user of many items says
    little about any two of them, which no cosine of the items' columns takes into account.

    Time: steps x items x interactions. Memory: a block of rows over all items and users, and the
    entries kept.

    Args:
        interactions: (U, I); every stored non-zero entry counts as one.
        steps: n, at least 1.
        neighbours: entries kept of a row, at least 1; of equal ones those of the lower item rows.
        block: rows at a time; by default as many as keep the probabilities at 32 MiB.

    Returns:
        (I, I) float32, at most ``neighbours`` entries a row, all above 0, indices sorted; items
        without interactions have none.
    """
    observed = binary(interactions).astype(np.float32)
    n_users, n_items = observed.shape
    to_items = _row_shares(observed)
    to_users = _row_shares(sp.csr_array(observed.T))
    # The products below are of the transposes, since scipy's dense factor stands on the right.
    item_step, user_step = sp.csr_array(to_items.T), sp.csr_array(to_users.T)
    size = block or max(1, _PER_BLOCK // max(n_items, n_users, 1))
    blocks = []
    for start in range(0, n_items, size):
        rows = np.arange(start, min(start + size, n_items))
        reached = item_step @ user_step[:, rows].toarray()
        total = reached.copy()
        for _ in range(steps - 1):
            reached = item_step @ (user_step @ reached)
            total += reached
        total[rows, np.arange(len(rows))] = 0
        blocks.append(_largest(total.T, neighbours))
    if not blocks:
        return sp.csr_array((n_items, n_items), dtype=np.float32)
    return sp.csr_array(sp.vstack(blocks, format="csr"))


def _row_shares(matrix: sp.csr_array) -> sp.csr_array:
    """Each row divided by its sum; empty rows stay so."""
    sums = np.asarray(matrix.sum(axis=1), dtype=np.float64)
    inverse = np.divide(1, sums, out=np.zeros_like(sums), where=sums > 0)
    return sp.csr_array((sp.diags_array(inverse) @ matrix).astype(np.float32))


def _largest(rows: NDArray[np.float32], count: int) -> sp.csr_array:
    """(b, I) with the ``count`` largest positive entries of each row, indices sorted."""
    values = torch.from_numpy(np.ascontiguousarray(rows))
    columns, found = top_k_of_block(values.masked_fill(values <= 0, -torch.inf), count)
    there = (columns >= 0).numpy()
    starts = np.concatenate([[0], np.cumsum(there.sum(axis=1))])
    kept = sp.csr_array((found.numpy()[there], columns.numpy()[there], starts), shape=rows.shape)
    kept.sort_indices()
    return kept
