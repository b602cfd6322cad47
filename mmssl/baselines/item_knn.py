"""Item kNN on interactions (Sarwar et al., WWW 2001; Deshpande and Karypis, TOIS 2004)."""

from collections.abc import Mapping
from typing import Literal

import scipy.sparse as sp
from torch import Tensor

from mmssl.config import Count, TrainingConfig, Weight
from mmssl.contract import TrainableModel
from mmssl.data.co_occurrence import cosine_neighbours
from mmssl.data.dataset import ModalityFeatures
from mmssl.data.graphs import binary
from mmssl.evaluation.ranking import item_graph_score


class ItemKNNConfig(TrainingConfig):
    """The settings of item kNN on interactions."""

    model: Literal["item_knn"] = "item_knn"
    name: str = "item_knn"
    neighbours: Count = 50
    """Items that an item sends to, at most: those with the highest cosine above zero."""
    shrinkage: Weight = 0.0
    """Added to the cosine's denominator: it lowers similarities that rest on few users."""


class ItemKNN(TrainableModel):
    """A user's items send their similarity to their nearest neighbours; nothing is learned."""

    config: ItemKNNConfig

    def build(self, observed: sp.csr_array, features: Mapping[str, ModalityFeatures]) -> None:  # noqa: ARG002
        """Find every item's neighbours."""
        graph = cosine_neighbours(observed, self.config.neighbours, self.config.shrinkage)
        self._graph = graph
        self._score = item_graph_score(binary(observed), graph, self.device)

    def item_graph(self) -> sp.csr_array:
        """S (I, I) float32: row i holds the similarities of item i's neighbours."""
        return self._graph

    def score(self, users: Tensor) -> Tensor:
        """(b,) user rows -> (b, I) rows of R S, float32."""
        return self._score(users)
