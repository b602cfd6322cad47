"""Item kNN on interactions (Sarwar et al., WWW 2001; Deshpande and Karypis, TOIS 2004)."""

from collections.abc import Mapping
from typing import Literal

import scipy.sparse as sp

from mmssl.baselines.base import ItemGraphBaseline
from mmssl.config import Count, TrainingConfig, Weight
from mmssl.data.co_occurrence import cosine_neighbours
from mmssl.data.dataset import ModalityFeatures


class ItemKNNConfig(TrainingConfig):
    """The settings of item kNN on interactions."""

    model: Literal["item_knn"] = "item_knn"
    name: str = "item_knn"
    neighbours: Count = 50
    """Items that an item sends to, at most: those with the highest cosine above zero."""
    shrinkage: Weight = 0.0
    """Added to the cosine's denominator: it lowers similarities that rest on few users."""


class ItemKNN(ItemGraphBaseline):
    """A user's items send their similarity to their nearest neighbours; nothing is learned."""

    config: ItemKNNConfig

    def make_graph(
        self,
        observed: sp.csr_array,
        features: Mapping[str, ModalityFeatures],  # noqa: ARG002
    ) -> sp.csr_array:
        """Row i: the similarities of item i's neighbours."""
        return cosine_neighbours(observed, self.config.neighbours, self.config.shrinkage)
