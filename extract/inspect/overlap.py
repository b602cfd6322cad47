"""How many of an item's nearest neighbours two vector spaces have in common."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Overlap:
    """Means over the items whose neighbours were found."""

    k: int
    overlap: float
    """Shared neighbours over k."""
    overlap_by_chance: float
    """What k items drawn at random twice would share on average."""
    jaccard: float
    """Shared neighbours over those that are in either list."""
    jaccard_by_chance: float


def overlap(a: NDArray[np.int64], b: NDArray[np.int64], items: int) -> Overlap:
    """Compare neighbours row by row.

    By chance: of two sets of k out of the n - 1 other items the shared number is hypergeometric.

    Args:
        a: (q, k) numbers of neighbours, distinct within a row.
        b: (q, k), of the same queries.
        items: n, the items among which they were found, the query included.
    """
    from scipy.stats import hypergeom

    k = a.shape[1]
    shared = _shared(a, b)
    counts = np.arange(k + 1)
    chance = hypergeom.pmf(counts, items - 1, k, k)
    return Overlap(
        k=k,
        overlap=float(shared.mean() / k),
        overlap_by_chance=k / (items - 1),
        jaccard=float((shared / (2 * k - shared)).mean()),
        jaccard_by_chance=float((chance * counts / (2 * k - counts)).sum()),
    )


def _shared(a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.int64]:
    """(q,) how many numbers of a row of ``a`` are in the same row of ``b``."""
    together = np.sort(np.concatenate([a, b], axis=1), axis=1)
    return np.asarray((together[:, 1:] == together[:, :-1]).sum(axis=1))
