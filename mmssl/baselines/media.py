"""What the baselines that see the items' media have in common."""

from collections.abc import Iterator, Mapping
from typing import cast

import torch
from torch import Tensor, nn

from mmssl.baselines.base import LearnedBaselineConfig
from mmssl.config import FeatureConfig, MixedPrecisionConfig, TrainingConfig
from mmssl.data.dataset import ModalityFeatures
from mmssl.data.graphs import Graph
from mmssl.model.features import Projection, Scaling, scale
from mmssl.model.propagation import propagate
from mmssl.vectors import TwoSided


class MediaConfig(TrainingConfig):
    """A model that takes raw embeddings."""

    features: FeatureConfig = FeatureConfig()

    @property
    def modalities(self) -> tuple[str, ...] | None:
        """Those to use; None for all that the dataset has."""
        return self.features.modalities


class LearnedMediaConfig(MediaConfig, LearnedBaselineConfig):
    """One that learns vectors besides."""


class DenseMediaConfig(LearnedMediaConfig, MixedPrecisionConfig):
    """One that multiplies raw embeddings by weights in every step."""


def scaled_features(
    features: Mapping[str, ModalityFeatures], scaling: Scaling
) -> dict[str, tuple[Tensor, Tensor]]:
    """By modality: raw embeddings (I, d_m) float32, scaled, and which items have them, (I,) bool.

    Rows of items without the modality are zero.
    """
    found = {}
    for modality, given in features.items():
        present = torch.as_tensor(given.present)
        vectors = torch.as_tensor(given.vectors, dtype=torch.float32)
        found[modality] = scale(vectors, present, scaling), present
    return found


class Projections(nn.ModuleList):
    """x W_m^T + b_m for each modality, in their order; zero for an item without the modality."""

    def __init__(
        self,
        features: Mapping[str, ModalityFeatures],
        scaling: Scaling,
        dim: int,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(
            Projection(vectors, present, dim, "zero", 0.0)
            for vectors, present in scaled_features(features, scaling).values()
        )
        if not bias:
            for projection in self:
                projection.linear.register_parameter("bias", None)

    def __iter__(self) -> Iterator[Projection]:
        """Projection by projection."""
        return cast("Iterator[Projection]", super().__iter__())


def xavier(rows: int, dim: int) -> nn.Parameter:
    """A table of vectors, (rows, dim), Xavier-uniform."""
    table = nn.Parameter(torch.empty(rows, dim))
    nn.init.xavier_uniform_(table)
    return table


def lightgcn(users: Tensor, items: Tensor, graph: Graph, layers: int) -> tuple[Tensor, Tensor]:
    """The means of layers 0..L of LightGCN (He et al., SIGIR 2020) from layer 0 of both sides.

    Args:
        users, items: (U, d) and (I, d).
        graph: along which each side of a layer gathers the other side of the layer below.
        layers: L; with 0 the vectors stay what they are.
    """
    mean = propagate(TwoSided(users, items), [graph] * layers, "simultaneous")
    return mean.user, mean.item
