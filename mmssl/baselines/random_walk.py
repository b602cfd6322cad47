"""Random walks over the interactions (P3; Cooper et al., WWW 2014), longer ones added."""

from collections.abc import Mapping
from typing import Literal

import scipy.sparse as sp
from torch import Tensor

from mmssl.config import Count, TrainingConfig
from mmssl.contract import TrainableModel
from mmssl.data.dataset import ModalityFeatures
from mmssl.data.graphs import binary
from mmssl.data.random_walks import walk_graph
from mmssl.evaluation.ranking import item_graph_score


class RandomWalkConfig(TrainingConfig):
    """The settings of random walks."""

    model: Literal["random_walk"] = "random_walk"
    name: str = "random_walk"
    steps: Count = 3
    """The longest walks, in steps from item to item; the chances of all are added. 1: P3."""
    neighbours: Count = 100
    """Items that an item sends to, at most: those that its walks reach most."""


class RandomWalk(TrainableModel):
    """A user's items send to where walks from them end; nothing is learned."""

    config: RandomWalkConfig

    def build(self, observed: sp.csr_array, features: Mapping[str, ModalityFeatures]) -> None:  # noqa: ARG002
        """Walk from every item."""
        self._graph = walk_graph(observed, self.config.steps, self.config.neighbours)
        self._score = item_graph_score(binary(observed), self._graph, self.device)

    def item_graph(self) -> sp.csr_array:
        """S (I, I) float32: row i holds the chances of walks from item i."""
        return self._graph

    def score(self, users: Tensor) -> Tensor:
        """(b,) user rows -> (b, I) rows of R S, float32."""
        return self._score(users)
