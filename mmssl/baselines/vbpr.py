"""VBPR: matrix factorisation that sees the items (He and McAuley, AAAI 2016)."""

from collections.abc import Mapping
from typing import Literal

import scipy.sparse as sp
import torch
from torch import Tensor, nn

from mmssl.baselines.base import EmbeddingBaseline
from mmssl.baselines.media import DenseMediaConfig, scaled_features, xavier
from mmssl.config import Count, Weight
from mmssl.data.dataset import ModalityFeatures
from mmssl.data.sampling import Batch
from mmssl.objectives.bpr import batch_l2, bpr


class VBPRConfig(DenseMediaConfig):
    """The settings of VBPR."""

    model: Literal["vbpr"] = "vbpr"
    name: str = "vbpr"
    feature_dim: Count = 64
    """D: dimensions of the visual space, beside the K = ``embedding_dim`` of the latent one."""
    embedding_l2: Weight = 1e-4
    """lambda_Theta: weight of half the squared norms of a batch's gamma, theta and beta, a row."""
    projection_l2: Weight = 0.0
    """lambda_E: weight of half the squared norms of E and beta'. The paper found 0 best."""


class VBPR(EmbeddingBaseline):
    """x_ui = beta_i + gamma_u . gamma_i + theta_u . (E f_i) + beta' . f_i (equation 4).

    f_i are the embeddings of all modalities, one behind the other, zero where an item has none.
    The offset alpha and the user bias beta_u change no user's order of items and are left out, as
    they are from the paper's objective. The two biases become one more dimension, in which every
    user has a 1, so that the score is an inner product.
    """

    config: VBPRConfig
    vectors: Tensor

    def build(self, observed: sp.csr_array, features: Mapping[str, ModalityFeatures]) -> None:  # noqa: ARG002
        """Xavier-uniform vectors and E, biases of zero."""
        config = self.config
        given = scaled_features(features, config.features.scaling).values()
        self.register_buffer(
            "vectors", torch.cat([vectors for vectors, _ in given], dim=1), persistent=False
        )
        self.user_id = xavier(self.n_users, config.embedding_dim)
        self.item_id = xavier(self.n_items, config.embedding_dim)
        self.user_taste = xavier(self.n_users, config.feature_dim)
        self.item_bias = nn.Parameter(torch.zeros(self.n_items))
        self.projection = nn.Linear(self.vectors.shape[1], config.feature_dim, bias=False)
        nn.init.xavier_uniform_(self.projection.weight)
        self.feature_bias = nn.Linear(self.vectors.shape[1], 1, bias=False)
        nn.init.zeros_(self.feature_bias.weight)

    def _users(self, rows: Tensor | slice) -> Tensor:
        """[gamma_u, theta_u, 1]: (n, K + D + 1)."""
        latent, taste = self.user_id[rows], self.user_taste[rows]
        return torch.cat([latent, taste, latent.new_ones(len(latent), 1)], dim=1)

    def _items(self, rows: Tensor | slice) -> Tensor:
        """[gamma_i, E f_i, beta_i + beta' . f_i]: (n, K + D + 1)."""
        vectors = self.vectors[rows]
        bias = self.item_bias[rows, None] + self.feature_bias(vectors)
        return torch.cat([self.item_id[rows], self.projection(vectors), bias], dim=1)

    def final(self) -> tuple[Tensor, Tensor]:
        """The vectors of all users and items, (U, K + D + 1) and (I, K + D + 1)."""
        return self._users(slice(None)), self._items(slice(None))

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """``bpr``, ``embedding_l2`` and ``projection_l2``."""
        positives, negatives = batch.positives, batch.negatives
        users = self._users(batch.users)
        parts = {"bpr": bpr(users, self._items(positives), self._items(negatives))}
        if self.config.embedding_l2:
            own = torch.cat([self.user_id[batch.users], self.user_taste[batch.users]], dim=1)
            items = [
                torch.cat([self.item_id[rows], self.item_bias[rows, None]], dim=1)
                for rows in (positives, negatives)
            ]
            parts["embedding_l2"] = self.config.embedding_l2 * batch_l2(own, *items)
        if self.config.projection_l2:
            squares = self.projection.weight.square().sum()
            squares = squares + self.feature_bias.weight.square().sum()
            parts["projection_l2"] = 0.5 * self.config.projection_l2 * squares
        return parts
