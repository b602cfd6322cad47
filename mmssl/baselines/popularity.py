"""Popularity: every user is given the items with the most training users."""

from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor

from mmssl.contract import RecommenderModel


class Popularity(RecommenderModel):
    """The recommender that every other one has to beat; it knows no user and learns nothing."""

    def __init__(self, train: csr_array, device: torch.device | None = None) -> None:
        """Count the training users of each item.

        Args:
            train: U x I training interactions; each one stored counts once.
            device: where ``score`` answers; the CPU by default.
        """
        counts = np.bincount(train.indices, minlength=train.shape[1])
        self.counts: Tensor = torch.from_numpy(counts.astype(np.float32)).to(device or "cpu")
        """(I,) float32: training users of each item."""

    def losses(self, batch: Any) -> dict[str, Tensor]:  # noqa: ARG002 - the contract's argument
        """No parts: there is nothing to learn."""
        return {}

    def score(self, users: Tensor) -> Tensor:
        """(b,) user rows -> (b, I) counts, the same in each row."""
        return self.counts.repeat(len(users), 1)
