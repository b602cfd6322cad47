"""What one pass over a store's vectors tells: lengths, dead dimensions, concentration."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from extract.inspect.vectors import Vectors

# Relative to the largest number of a vector: what differs by less is the same but for rounding.
_ROUNDING = 1e-6


@dataclass(frozen=True)
class Statistics:
    """Of the n items that have a vector; n is at least 1."""

    norm_min: float
    norm_median: float
    norm_max: float
    zero: int
    """Vectors of nothing but zeros."""
    constant: int
    """Others whose numbers are all the same, but for rounding."""
    dead: NDArray[np.int64]
    """Dimensions in which every item has the same number."""
    mean_cosine: float | None
    """Over all pairs of two items (zero vectors left out), the mean not removed; None below two."""


def statistics(vectors: Vectors) -> Statistics:
    """Read the vectors once; memory: one number an item, and a few vectors.

    The mean cosine needs no pairs: with u_i = x_i / |x_i| it is (|sum u_i|^2 - n) / (n (n - 1)).
    """
    dim = vectors.store.manifest.dim
    norms: list[NDArray[np.float64]] = []
    directions = np.zeros(dim)
    low, high = np.full(dim, np.inf), np.full(dim, -np.inf)
    constant = 0
    for _, block in vectors.blocks():
        exact = block.astype(np.float64)
        norms.append(np.sqrt((exact**2).sum(axis=1)))
        filled = norms[-1] > 0
        directions += (exact[filled] / norms[-1][filled, None]).sum(axis=0)
        if dim > 1:
            spread = exact.max(axis=1) - exact.min(axis=1)
            constant += int((filled & (spread <= _ROUNDING * np.abs(exact).max(axis=1))).sum())
        low, high = np.minimum(low, exact.min(axis=0)), np.maximum(high, exact.max(axis=0))
    lengths = np.concatenate(norms)
    n = int((lengths > 0).sum())
    return Statistics(
        norm_min=float(lengths.min()),
        norm_median=float(np.median(lengths)),
        norm_max=float(lengths.max()),
        zero=len(lengths) - n,
        constant=constant,
        # One item alone varies in nothing.
        dead=np.flatnonzero(low == high) if len(lengths) > 1 else np.empty(0, dtype=np.int64),
        mean_cosine=float((directions @ directions - n) / (n * (n - 1))) if n > 1 else None,
    )
