"""Items that are the same, by content or nearly so by vector."""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

from extract.inspect.neighbours import similarity_blocks
from extract.inspect.vectors import Vectors
from extract.store import FeatureStore

# Pairs that are held before they are folded into the groups found so far.
_HELD_PAIRS = 2**22


@dataclass(frozen=True)
class Duplicates:
    """Pairs of like items, and the groups that they tie together."""

    pairs: int
    same_content: int
    """Those of ``pairs`` whose raw content is the same, byte by byte."""
    groups: list[NDArray[np.int64]]
    """Numbers of items tied by pairs, directly or through others; the largest group first."""


class _Groups:
    """Connected components of pairs that come in blocks; n numbers, for any number of pairs."""

    def __init__(self, n: int) -> None:
        self._labels = np.arange(n)
        self._held: list[NDArray[np.int64]] = []
        self._count = 0

    def add(self, pairs: NDArray[np.int64]) -> None:
        """Tie (m, 2) pairs of items together."""
        if len(pairs):
            self._held.append(pairs)
            self._count += len(pairs)
        if self._count > _HELD_PAIRS:
            self._fold()

    def _fold(self) -> None:
        n = len(self._labels)
        # An item and the first of its group are a pair too: all that is left of earlier pairs.
        ties = np.concatenate([np.stack([np.arange(n), self._labels], axis=1), *self._held])
        graph = sp.coo_array((np.ones(len(ties), dtype=np.int8), (ties[:, 0], ties[:, 1])), (n, n))
        components = connected_components(graph, directed=False)[1]
        first = np.full(n, n)
        np.minimum.at(first, components, np.arange(n))
        self._labels = first[components]
        self._held, self._count = [], 0

    def found(self) -> list[NDArray[np.int64]]:
        """The groups of two or more, the largest first."""
        self._fold()
        return groups_of(self._labels)


def groups_of(labels: NDArray[np.generic]) -> list[NDArray[np.int64]]:
    """Positions that bear the same label, where two or more do; the largest group first."""
    _, group, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    # Of a million items nearly all are alone: they are left out before anything is cut.
    shared = np.flatnonzero(sizes[group] > 1)
    order = shared[np.argsort(group[shared], kind="stable")]
    ends = np.flatnonzero(np.diff(group[order])) + 1
    pieces = np.split(order, ends) if len(order) else []
    return sorted(pieces, key=lambda piece: (-len(piece), piece[0]))


def content_codes(store: FeatureStore) -> NDArray[np.uint64]:
    """A number for each row's raw content, the first 64 bits of its SHA-256; 0 where none was read.

    Two of a million different contents share a number with a probability of 3e-8.
    """
    codes = np.zeros(store.item_count, dtype=np.uint64)
    for part in range(store.part_count):
        rows = store.part_rows(part)
        digests = store.part_statuses(part)["digest"].str.slice(0, 16)
        codes[rows.start : rows.stop] = [int(digest or "0", 16) for digest in digests]
    return codes


def same_content(codes: NDArray[np.uint64]) -> list[NDArray[np.int64]]:
    """Groups of items whose raw content is the same; ``codes`` (n,) by item, 0: unknown."""
    known = np.flatnonzero(codes)
    return [known[group] for group in groups_of(codes[known])]


def near_duplicates(
    vectors: Vectors, queries: NDArray[np.int64], threshold: float, codes: NDArray[np.uint64]
) -> Duplicates:
    """Pairs of a query and any other item whose cosine is at least ``threshold``.

    Args:
        vectors: the items.
        queries: (q,) distinct numbers; all of them make the search complete.
        threshold: of the cosine after the mean of all items is removed.
        codes: (n,) by item, as ``content_codes``.
    """
    asked = np.zeros(vectors.count, dtype=np.bool_)
    asked[queries] = True
    groups = _Groups(vectors.count)
    pairs = same = 0
    for start, numbers, cosines in similarity_blocks(vectors, queries):
        rows, columns = (cosines >= threshold).nonzero(as_tuple=True)
        left, right = queries[start + rows.numpy()], numbers[columns.numpy()]
        # Two queries meet twice.
        once = (left < right) | ~asked[right]
        found = np.stack([left[once], right[once]], axis=1)
        pairs += len(found)
        same += int(((codes[found[:, 0]] == codes[found[:, 1]]) & (codes[found[:, 0]] > 0)).sum())
        groups.add(found)
    return Duplicates(pairs, same, groups.found())
