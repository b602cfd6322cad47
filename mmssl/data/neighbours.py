"""Neighbours drawn at random, in time that depends on how many are drawn and not on the graph."""

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray

from mmssl.data.graphs import Normalisation

Rows: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True)
class DrawnNeighbours:
    """Some neighbours of some nodes, and what each counts for; node after node.

    ``neighbours[offsets[j] : offsets[j + 1]]`` are those of the j-th node, distinct. Weighted sums
    over them are unbiased estimates of the sums over all neighbours: a weight is the normalised
    entry of the graph times (degree / neighbours drawn), hence exact where all were drawn.
    """

    offsets: Rows
    """(n + 1,)"""
    neighbours: Rows
    """(e,) rows of the other side."""
    weights: NDArray[np.float64]
    """(e,)"""

    def __add__(self, other: "DrawnNeighbours") -> "DrawnNeighbours":
        """These, then the other's."""
        return DrawnNeighbours(
            np.concatenate([self.offsets, self.offsets[-1] + other.offsets[1:]]),
            np.concatenate([self.neighbours, other.neighbours]),
            np.concatenate([self.weights, other.weights]),
        )

    def matrix(self, columns: NDArray[Any], n_columns: int) -> sp.csr_array:
        """The weights as a sparse (n, n_columns) matrix, ``columns`` (e,) in place of the rows."""
        n_rows = len(self.offsets) - 1
        # Copies of the structure: sorting is in place.
        matrix = sp.csr_array(
            (self.weights.copy(), columns.astype(np.int32), self.offsets.astype(np.int32)),
            shape=(n_rows, n_columns),
        )
        matrix.sort_indices()
        return matrix


class Neighbours:
    """One direction of a bipartite graph: the nodes of the rows gather from those of the columns.

    METHOD section 1: an entry is (d_row + 1e-8)^(-1/2), under ``symmetric`` times
    (d_column + 1e-8)^(-1/2).
    """

    def __init__(self, edges: sp.csr_array, normalisation: Normalisation) -> None:
        """Keep the index arrays of ``edges``, (n, m) with one stored entry an edge."""
        self.shape = edges.shape
        self._starts, self._columns = edges.indptr, edges.indices
        self.degrees = np.diff(edges.indptr)
        self._row_weights = (self.degrees + 1e-8) ** -0.5
        self._column_weights = None
        if normalisation == "symmetric":
            counts = np.bincount(edges.indices, minlength=edges.shape[1])
            self._column_weights = (counts + 1e-8) ** -0.5

    def draw(self, nodes: Rows, fan_out: int, generator: torch.Generator) -> DrawnNeighbours:
        """At most ``fan_out`` neighbours of each node, uniform and without replacement.

        Args:
            nodes: (n,) rows; a node that stands there twice is drawn for twice, independently.
            fan_out: neighbours a node, at least 1; a node of no higher degree gets all of its own.
            generator: on the CPU.
        """
        degrees = self.degrees[nodes].astype(np.int64)
        counts = np.minimum(degrees, fan_out)
        offsets = np.concatenate([[0], np.cumsum(counts)])
        # Within each node's neighbours: all of them in order, unless there are too many.
        choice = np.arange(offsets[-1]) - np.repeat(offsets[:-1], counts)
        many = degrees > fan_out
        chosen = distinct_below(degrees[many], fan_out, generator)
        choice[np.repeat(many, counts)] = chosen.ravel()
        at = np.repeat(self._starts[nodes].astype(np.int64), counts) + choice
        neighbours = self._columns[at].astype(np.int64)
        share = degrees / np.maximum(counts, 1)
        weights = np.repeat(self._row_weights[nodes] * share, counts)
        if self._column_weights is not None:
            weights *= self._column_weights[neighbours]
        return DrawnNeighbours(offsets, neighbours, weights)


class TwoSidedNeighbours:
    """Both directions of a graph of users and items."""

    def __init__(self, edges: sp.csr_array, normalisation: Normalisation) -> None:
        """From (U, I) with one stored entry an edge."""
        self.of_users = Neighbours(edges, normalisation)
        self.of_items = Neighbours(sp.csr_array(edges.T), normalisation)


def distinct_below(limits: Rows, count: int, generator: torch.Generator) -> Rows:
    """``count`` distinct numbers of 0..limit-1 for every limit, each subset as likely.

    Robert Floyd's algorithm, for all limits side by side: for j = limit - count .. limit - 1 take a
    uniform number of 0..j, or j itself where that number is taken. Cost: limits x count^2.

    Args:
        limits: (n,) int64, each at least ``count``.
        count: how many.
        generator: on the CPU.

    Returns:
        (n, count) int64.
    """
    shape = (len(limits), count)
    if not len(limits):
        return np.empty(shape, dtype=np.int64)
    fractions = torch.rand(shape, generator=generator, dtype=torch.float64).numpy()
    chosen = np.empty(shape, dtype=np.int64)
    for k in range(count):
        last = limits - count + k
        # A float64 below 1 times a number below 2^52 stays below that number.
        drawn = (fractions[:, k] * (last + 1)).astype(np.int64)
        taken = (chosen[:, :k] == drawn[:, None]).any(axis=1)
        chosen[:, k] = np.where(taken, last, drawn)
    return chosen


class Renumbering:
    """Gives the nodes of one side small numbers, anew for every set of them.

    It keeps one array over all nodes and never clears it, so that a call costs what it is given.
    """

    def __init__(self, n_nodes: int) -> None:
        self._number = np.empty(n_nodes, dtype=np.int64)

    def __call__(self, *nodes: Rows) -> tuple[Rows, list[Rows]]:
        """The distinct nodes in the order of their first occurrence, and each array renumbered.

        ``distinct[numbers]`` is what was given. An array that leads and holds no node twice is
        numbered 0, 1, 2, ...: its nodes are the first of ``distinct``.
        """
        together = np.concatenate(nodes)
        places = np.arange(len(together))
        # Written from the back, so that what stays is a node's first place.
        self._number[together[::-1]] = places[::-1]
        distinct = together[self._number[together] == places]
        self._number[distinct] = np.arange(len(distinct))
        ends = np.cumsum([len(part) for part in nodes])[:-1]
        return distinct, np.split(self._number[together], ends)
