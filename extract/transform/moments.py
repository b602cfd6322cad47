"""Mean and covariance of a store's vectors, gathered part by part."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from extract.blocks import blocks
from extract.store import FeatureStore

# Rows that are turned into float64 at once: 4096 x 1024 of them are 32 MiB.
_ROWS = 4096


@dataclass(frozen=True)
class Moments:
    """Of the vectors of all ok items.

    ``mean``: float64 (dim,). ``scatter``: float64 (dim, dim), sum of the outer products of the
    centred vectors, so that scatter / (count - 1) is the covariance; None where it was not wanted.
    """

    count: int
    mean: NDArray[np.float64]
    scatter: NDArray[np.float64] | None


def moments(store: FeatureStore, *, scatter: bool) -> Moments:
    """One pass over the store; memory is one part and dim x dim, whatever the number of items.

    Blocks are joined by the pairwise update of Chan, Golub and LeVeque ("Updating formulae and a
    pairwise algorithm for computing sample variances", 1979), which does not lose the variance of
    vectors that are far from the origin as sums of squares would.

    Raises:
        InputError: a part is absent or damaged, or an ok vector is not finite.
    """
    dim, count = store.manifest.dim, 0
    mean = np.zeros(dim)
    total = np.zeros((dim, dim)) if scatter else None
    for block in blocks(store):
        vectors = block.ok_vectors
        for start in range(0, len(vectors), _ROWS):
            rows = vectors[start : start + _ROWS].astype(np.float64)
            here = rows.mean(axis=0)
            difference, after = here - mean, count + len(rows)
            if total is not None:
                rows -= here
                total += rows.T @ rows
                total += np.outer(difference, difference * (count * len(rows) / after))
            mean += difference * (len(rows) / after)
            count = after
    return Moments(count, mean, total)
