"""Exact nearest neighbours by cosine, block by block: never a matrix of items by items."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from extract.errors import InputError
from extract.inspect.vectors import BLOCK_ROWS, Vectors, unit

STEPS = 2**20
"""Similarities are compared in steps of 1 / STEPS: what differs by less differs by rounding, which
depends on where in a block a vector stands, and the item that comes first is nearer."""

_NUMBERS = 2**32
_NOTHING = -(2**62)


@dataclass(frozen=True)
class Neighbours:
    """Of each query its k nearest other items, the nearest first."""

    numbers: NDArray[np.int64]
    """(q, k)"""
    similarities: NDArray[np.float32]
    """(q, k) cosine of the vectors less the mean of all, to the nearest 1 / ``STEPS``."""


def similarity_blocks(
    vectors: Vectors, queries: NDArray[np.int64]
) -> Iterator[tuple[int, NDArray[np.int64], torch.Tensor]]:
    """Cosines of queries with all items, the mean of all items removed before.

    The store is read three times: for the mean, for the queries, and once for all comparisons.

    Args:
        vectors: the items.
        queries: (q,) distinct numbers of items.

    Yields:
        The place of the first query in ``queries``, numbers of items (b,), and cosines (c, b)
        float32 of c queries from there on, -2 where an item meets itself. c and b are at most
        ``BLOCK_ROWS``.
    """
    mean = vectors.mean()
    wanted = torch.from_numpy(unit(vectors.take(queries), mean))
    place = np.full(vectors.count, -1, dtype=np.int64)
    place[queries] = np.arange(len(queries))
    for numbers, block in vectors.blocks():
        units = torch.from_numpy(unit(block, mean)).T
        own = place[numbers]
        for start in range(0, len(queries), BLOCK_ROWS):
            cosines = wanted[start : start + BLOCK_ROWS] @ units
            here = np.flatnonzero((own >= start) & (own < start + BLOCK_ROWS))
            cosines[own[here] - start, here] = -2.0
            yield start, numbers, cosines


def nearest(vectors: Vectors, queries: NDArray[np.int64], k: int) -> Neighbours:
    """The k nearest other items of each query; of equally near ones those of lower number.

    Memory: q x (dim + k) numbers, and blocks of a fixed size.

    Args:
        vectors: the items.
        queries: (q,) distinct numbers of items.
        k: at least 1.

    Raises:
        InputError: there are not k other items.
    """
    if k >= vectors.count:
        raise InputError(
            f"{vectors.store.path}: {k} neighbours cannot be found among {vectors.count} items;"
            " ask for fewer"
        )
    best = torch.full((len(queries), k), _NOTHING, dtype=torch.int64)
    for start, numbers, cosines in similarity_blocks(vectors, queries):
        kept = best[start : start + BLOCK_ROWS]
        # Most blocks hold nothing nearer than what a query has already; those rows are passed over.
        floor = kept[:, -1].div(_NUMBERS, rounding_mode="floor")
        rows = torch.nonzero(cosines.amax(dim=1) * STEPS + 1 >= floor).flatten()
        # One whole number holds both, so that the order is total: similarity, then lower number.
        steps = (cosines[rows] * STEPS).round().to(torch.int64)
        keys = steps * _NUMBERS + (_NUMBERS - 1 - torch.from_numpy(numbers))
        kept[rows] = torch.cat([kept[rows], keys], dim=1).topk(k, dim=1).values
    steps = best.div(_NUMBERS, rounding_mode="floor")
    return Neighbours(
        numbers=(_NUMBERS - 1 - (best - steps * _NUMBERS)).numpy(),
        similarities=(steps / STEPS).to(torch.float32).numpy(),
    )
