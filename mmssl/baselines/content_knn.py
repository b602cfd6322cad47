"""Content kNN: a user is given the items whose media are most like those of the user's items."""

from collections.abc import Mapping
from typing import Literal

import numpy as np
import scipy.sparse as sp

from mmssl.baselines.base import ItemGraphBaseline
from mmssl.baselines.media import MediaConfig, scaled_features
from mmssl.config import Count, FeatureConfig
from mmssl.data.dataset import ModalityFeatures
from mmssl.data.item_graphs import nearest_items, neighbour_matrix, weighted_sum


class ContentKNNConfig(MediaConfig):
    """The settings of content kNN."""

    model: Literal["content_knn"] = "content_knn"
    name: str = "content_knn"
    features: FeatureConfig = FeatureConfig(scaling="unit")
    """With ``scaling: unit`` the modality's mean vector is removed before cosines are taken; with
    ``none`` they are those of the raw embeddings."""
    neighbours: Count = 20
    """How many items an item is alike to, in each modality."""


class ContentKNN(ItemGraphBaseline):
    """Item-based top-N recommendation (Deshpande and Karypis, TOIS 2004) on media.

    y_ui = sum over the user's items j of S_ji, S the mean over modalities of S^m; S^m_ji is the
    cosine where i is among the k items most alike to j and it is above zero, else 0. What the
    neighbours of an item without the modality would be nobody knows: it has none in it.
    """

    config: ContentKNNConfig

    def make_graph(
        self,
        observed: sp.csr_array,  # noqa: ARG002
        features: Mapping[str, ModalityFeatures],
    ) -> sp.csr_array:
        """Row j: the similarities of item j's neighbours, the mean over modalities."""
        graphs = []
        for vectors, present in scaled_features(features, self.config.features.scaling).values():
            on_device = vectors.to(self.device), present.to(self.device)
            found = nearest_items(*on_device, self.config.neighbours, itself=False)
            graphs.append(neighbour_matrix(found.items, found.similarities.clamp(min=0)))
        mean = weighted_sum(graphs, [1 / len(graphs)] * len(graphs))
        return sp.csr_array(mean.astype(np.float32))
