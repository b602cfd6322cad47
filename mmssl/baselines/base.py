"""What the baselines have in common."""

from typing import Self

import scipy.sparse as sp
import torch
from torch import Tensor

from mmssl.config import Count, LearnedConfig, OptimiserConfig
from mmssl.contract import TrainableModel
from mmssl.data.sampling import InteractionSampler, Sampler
from mmssl.evaluation.ranking import inner_product


class BatchOptimiserConfig(OptimiserConfig):
    """AdamW on batches of interactions."""

    batch_size: Count = 2048
    """Interactions a step, each with one uniform unobserved item of its user."""


class LearnedBaselineConfig(LearnedConfig):
    """What the baselines that learn vectors have in common."""

    embedding_dim: Count = 64
    optimiser: BatchOptimiserConfig = BatchOptimiserConfig()


class EmbeddingBaseline(TrainableModel):
    """Learns from batches of interactions and scores by inner product."""

    config: LearnedBaselineConfig
    _scoring: tuple[Tensor, Tensor] | None = None

    def sampler(self, observed: sp.csr_array) -> Sampler:
        """Every interaction once an epoch."""
        size = self.config.optimiser.batch_size
        return InteractionSampler(observed, size, self.generator, self.device)

    def final(self) -> tuple[Tensor, Tensor]:
        """The vectors of all users (U, d) and items (I, d) whose products are the scores.

        Called without gradients and in evaluation mode when scoring.
        """
        raise NotImplementedError

    def train(self, mode: bool = True) -> Self:
        """As in torch; forgets the vectors that ``score`` keeps."""
        self._scoring = None
        return super().train(mode)

    @torch.no_grad()
    def embeddings(self) -> tuple[Tensor, Tensor]:
        """The final vectors of users (U, d) and items (I, d), float32, dropout and noise off."""
        if self._scoring is None:
            was_training = self.training
            self.eval()
            users, items = self.final()
            self.train(was_training)
            self._scoring = users.float(), items.float()
        return self._scoring

    def score(self, users: Tensor) -> Tensor:
        """y = h_u . h_i for user rows (b,) int64 and all items: (b, I) float32."""
        return inner_product(*self.embeddings())(users)
