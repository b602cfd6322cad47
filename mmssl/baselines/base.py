"""What the baselines have in common."""

from collections.abc import Mapping
from typing import Self

import scipy.sparse as sp
import torch
from torch import Tensor

from mmssl.config import Count, LearnedConfig, OptimiserConfig
from mmssl.contract import TrainableModel
from mmssl.data.dataset import ModalityFeatures
from mmssl.data.graphs import binary
from mmssl.data.sampling import InteractionSampler, Sampler
from mmssl.evaluation.ranking import InnerProduct, Score, item_graph_score


class ItemGraphBaseline(TrainableModel):
    """Learns nothing: a user's items send along a graph that is made once."""

    def build(self, observed: sp.csr_array, features: Mapping[str, ModalityFeatures]) -> None:
        """Make the graph."""
        self._graph = self.make_graph(observed, features)
        self._score = item_graph_score(binary(observed), self._graph, self.device)

    def make_graph(
        self, observed: sp.csr_array, features: Mapping[str, ModalityFeatures]
    ) -> sp.csr_array:
        """S (I, I) float32: what an item sends to others stands in its row."""
        raise NotImplementedError

    def item_graph(self) -> sp.csr_array:
        """S (I, I) float32."""
        return self._graph

    def score(self) -> Score:
        """Rows of R S, float32."""
        return self._score


class BatchOptimiserConfig(OptimiserConfig):
    """AdamW on batches of interactions."""

    batch_size: Count = 2048
    """Interactions a step, each with one uniform unobserved item of its user."""


class LearnedBaselineConfig(LearnedConfig):
    """What the baselines that learn vectors have in common."""

    embedding_dim: Count = 64
    """d: numbers in a vector of a user or an item."""
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

    def score(self) -> Score:
        """y = h_u . h_i, float32."""
        return InnerProduct(*self.embeddings())
