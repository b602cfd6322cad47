"""BPR-MF: matrix factorisation by pairwise ranking (Rendle et al., UAI 2009)."""

from collections.abc import Mapping
from typing import Literal

import scipy.sparse as sp
import torch
from torch import Tensor, nn

from mmssl.baselines.base import EmbeddingBaseline, LearnedBaselineConfig
from mmssl.config import Weight
from mmssl.data.dataset import ModalityFeatures
from mmssl.data.sampling import Batch
from mmssl.objectives.bpr import batch_l2, bpr


class BPRMFConfig(LearnedBaselineConfig):
    """The settings of BPR-MF."""

    model: Literal["bpr_mf"] = "bpr_mf"
    name: str = "bpr_mf"
    embedding_l2: Weight = 1e-4
    """Weight of half the squared norms of a batch's vectors, a row."""


class BPRMF(EmbeddingBaseline):
    """A vector a user and an item, nothing else."""

    config: BPRMFConfig

    def build(self, observed: sp.csr_array, features: Mapping[str, ModalityFeatures]) -> None:  # noqa: ARG002
        """Xavier-uniform vectors."""
        self.user_id = nn.Parameter(torch.empty(self.n_users, self.config.embedding_dim))
        self.item_id = nn.Parameter(torch.empty(self.n_items, self.config.embedding_dim))
        nn.init.xavier_uniform_(self.user_id)
        nn.init.xavier_uniform_(self.item_id)

    def final(self) -> tuple[Tensor, Tensor]:
        """The vectors themselves."""
        return self.user_id, self.item_id

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """``bpr`` and ``embedding_l2``."""
        users = self.user_id[batch.users]
        positives, negatives = self.item_id[batch.positives], self.item_id[batch.negatives]
        return {
            "bpr": bpr(users, positives, negatives),
            "embedding_l2": self.config.embedding_l2 * batch_l2(users, positives, negatives),
        }
