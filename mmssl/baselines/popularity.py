"""Popularity: every user is given the items with the most training users."""

from collections.abc import Mapping
from typing import Literal

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor

from mmssl.config import TrainingConfig
from mmssl.contract import TrainableModel
from mmssl.data.dataset import ModalityFeatures
from mmssl.evaluation.ranking import InnerProduct, Score


class PopularityConfig(TrainingConfig):
    """There is nothing to set."""

    model: Literal["popularity"] = "popularity"
    name: str = "popularity"


class Popularity(TrainableModel):
    """The recommender that every other one has to beat; it knows no user and learns nothing."""

    counts: Tensor

    def build(self, observed: csr_array, features: Mapping[str, ModalityFeatures]) -> None:  # noqa: ARG002
        """Count the training users of each item."""
        self.register_buffer("counts", training_users(observed))

    def embeddings(self) -> tuple[Tensor, Tensor]:
        """(U, 1) ones and (I, 1) counts, whose product is the count."""
        counts = self.counts[:, None].float()
        return counts.new_ones(self.n_users, 1), counts

    def score(self) -> Score:
        """The counts, the same for everybody."""
        return InnerProduct(*self.embeddings())


def training_users(train: csr_array) -> Tensor:
    """(I,) float32: the training users of each item; each stored interaction counts once."""
    counts = np.bincount(train.indices, minlength=train.shape[1])
    return torch.from_numpy(counts.astype(np.float32))


def popularity_score(train: csr_array, device: torch.device | None = None) -> Score:
    """Popularity as a score of (b,) user rows, on a device."""
    counts = training_users(train).to(device or "cpu")[:, None]
    return InnerProduct(counts.new_ones(train.shape[0], 1), counts)
