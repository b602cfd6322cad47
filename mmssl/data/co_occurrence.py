"""Graphs that join users, or items, that have the most in common; never all pairs at once."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from mmssl.data.graphs import binary

# Pairs of items held at once: some 100 MiB with what sorts them, whatever the catalogue's size.
_PAIRS_PER_BLOCK = 2**21


def cosine_neighbours(
    interactions: sp.csr_array,
    count: int,
    shrinkage: float = 0.0,
    pairs_per_block: int = _PAIRS_PER_BLOCK,
) -> sp.csr_array:
    """The items most alike each item, by who has interacted with both.

    s_ij = |U_i and U_j| / (sqrt(|U_i| |U_j|) + shrinkage), U_i the users of item i: the cosine of
    the binary columns, shrunk. Items without a common user are no neighbours, and no item is its
    own. Of equal similarities (in float32) the lower item row comes first.

    Args:
        interactions: (U, I); every stored non-zero entry counts as one.
        count: neighbours an item, at most.
        shrinkage: at least 0.
        pairs_per_block: bounds the memory; it is exceeded only where one item alone has more.

    Returns:
        (I, I) float32, at most ``count`` entries a row, indices sorted.
    """
    of_users = binary(interactions).astype(np.float64)
    of_items = sp.csr_array(of_users.T)
    degrees = np.diff(of_items.indptr).astype(np.float64)
    # No item has more partners than its users have interactions, nor than there are items.
    partners = np.minimum(of_items @ np.diff(of_users.indptr), len(degrees))
    blocks = [
        _strongest(_similarities(rows, of_items, of_users, degrees, shrinkage), count)
        for rows in _blocks(partners, pairs_per_block)
    ]
    return sp.csr_array(sp.vstack(blocks, format="csr"))


def _blocks(sizes: NDArray[Any], limit: int) -> Iterator[slice]:
    """Slices of rows, in order, whose sizes add up to the limit at most; one row at least."""
    ends = np.cumsum(sizes)
    start = 0
    while start < len(sizes):
        before = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + limit, side="right")))
        yield slice(start, stop)
        start = stop


def _similarities(
    rows: slice,
    of_items: sp.csr_array,
    of_users: sp.csr_array,
    degrees: NDArray[np.float64],
    shrinkage: float,
) -> sp.csr_array:
    """(b, I) float32: s of some items with all others."""
    together = sp.coo_array(of_items[rows] @ of_users)
    local, columns = together.coords
    items = local + rows.start
    # Degrees multiply exactly, so that equal cosines come out equal but for float64's last bit,
    # which float32 does not hold.
    cosines = together.data / (np.sqrt(degrees[items] * degrees[columns]) + shrinkage)
    cosines[items == columns] = 0
    similarities = sp.csr_array((cosines.astype(np.float32), (local, columns)), together.shape)
    similarities.eliminate_zeros()
    return similarities


def _strongest(matrix: sp.csr_array, count: int) -> sp.csr_array:
    """The ``count`` largest entries of each row; of equal ones those of the lower columns."""
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    order = np.lexsort((matrix.indices, -matrix.data, rows))
    # Entries of a row keep their range of places: from its start on they are its best.
    rank = np.arange(len(order)) - np.repeat(matrix.indptr[:-1], np.diff(matrix.indptr))
    chosen = order[rank < count]
    pairs = rows[chosen], matrix.indices[chosen]
    kept = sp.csr_array((matrix.data[chosen], pairs), shape=matrix.shape)
    kept.sort_indices()
    return kept
