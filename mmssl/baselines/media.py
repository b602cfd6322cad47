"""What the baselines that see the items' media have in common."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mmssl.baselines.base import LearnedBaselineConfig
from mmssl.config import FeatureConfig, MixedPrecisionConfig, TrainingConfig
from mmssl.data.dataset import ModalityFeatures
from mmssl.model.features import Projection, Scaling, scale


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


def projections(
    features: Mapping[str, ModalityFeatures], scaling: Scaling, dim: int
) -> nn.ModuleList:
    """x W_m^T + b_m for each modality, in their order; zero for an item without the modality."""
    return nn.ModuleList(
        Projection(vectors, present, dim, "zero", 0.0)
        for vectors, present in scaled_features(features, scaling).values()
    )


def xavier(rows: int, dim: int) -> nn.Parameter:
    """A table of vectors, (rows, dim), Xavier-uniform."""
    table = nn.Parameter(torch.empty(rows, dim))
    nn.init.xavier_uniform_(table)
    return table
