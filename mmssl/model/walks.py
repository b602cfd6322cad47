"""Random walks beside the learned vectors in the score."""

import numpy as np
import scipy.sparse as sp
from torch import Tensor

from mmssl.data.random_walks import walk_graph
from mmssl.evaluation.ranking import product_deviation
from mmssl.model.config import WalkConfig

# Users whose scores are held at once, sparse: their interactions times the graph's neighbours.
_USERS_PER_BLOCK = 1024


class Walks:
    """The walk graph of the training interactions, made once, and its weight beside vectors."""

    def __init__(self, config: WalkConfig, history: sp.csr_array) -> None:
        """Walk from every item.

        Args:
            config: with a weight above 0.
            history: (U, I) of ones, training interactions.
        """
        self._weight = config.weight
        self.graph = walk_graph(history, config.steps, config.neighbours)
        """(I, I) W: w_ui is row u of R W."""
        self.deviation = _deviation(history, self.graph)
        """Of w_ui over all users and items."""

    def beside(self, users: Tensor, items: Tensor) -> sp.csr_array:
        """W so scaled that w_ui varies ``weight`` times as much as h_u . h_i.

        Args:
            users, items: h of all users (U, d) and items (I, d).
        """
        scale = 0.0
        if self.deviation > 0:
            scale = self._weight * product_deviation(users, items) / self.deviation
        scaled = (self.graph.data * scale).astype(np.float32)
        return sp.csr_array((scaled, self.graph.indices, self.graph.indptr), self.graph.shape)


def _deviation(history: sp.csr_array, graph: sp.csr_array) -> float:
    """The standard deviation over all entries of R W, a block of users at a time."""
    entries = history.shape[0] * graph.shape[1]
    if not entries:
        return 0.0
    total = squares = 0.0
    for start in range(0, history.shape[0], _USERS_PER_BLOCK):
        sent = (history[start : start + _USERS_PER_BLOCK] @ graph).data.astype(np.float64)
        total += float(sent.sum())
        squares += float(np.square(sent).sum())
    return float(np.sqrt(max(0.0, squares / entries - (total / entries) ** 2)))
