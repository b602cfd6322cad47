"""BM3: bootstrapped multi-modal vectors, without negatives (Zhou et al., WWW 2023)."""

from collections.abc import Mapping
from typing import Annotated, Literal

import scipy.sparse as sp
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import dropout

from mmssl.baselines.base import EmbeddingBaseline
from mmssl.baselines.media import DenseMediaConfig, Projections, lightgcn, xavier
from mmssl.config import Rate, Weight
from mmssl.data.dataset import ModalityFeatures
from mmssl.data.graphs import BipartiteGraph
from mmssl.data.sampling import Batch
from mmssl.vectors import unit_rows


class BM3Config(DenseMediaConfig):
    """The settings of BM3."""

    model: Literal["bm3"] = "bm3"
    name: str = "bm3"
    layers: Annotated[int, Field(ge=0)] = 1
    """Hops along the interactions."""
    dropout: Rate = 0.3
    """p: share of the entries of the views to be predicted that are set to zero."""
    alignment_weight: Weight = 1.0
    """Weight of an item's prediction from its modalities. The paper adds its losses; 0 leaves it
    out."""
    mask_weight: Weight = 1.0
    """Weight of a modality's prediction from itself; as above."""
    embedding_l2: Weight = 0.01
    """lambda: weight of the squared norms of a batch's vectors h_u and h_i, a row."""


class BM3(EmbeddingBaseline):
    """h_u = mean of LightGCN's layers, h_i = that + its layer 0, h_i^m = x_i^m W_m + b_m.

    Of each vector h there is a prediction h~ = h W_p + b_p and a target h. = dropout(h), through
    which no gradient flows. C(a, b) = - cosine. The score is h~_u . h~_i.
    """

    config: BM3Config

    def build(self, observed: sp.csr_array, features: Mapping[str, ModalityFeatures]) -> None:
        """Xavier-uniform vectors and weights; the predictor is one for all."""
        config = self.config
        dim = config.embedding_dim
        self.user_id, self.item_id = xavier(self.n_users, dim), xavier(self.n_items, dim)
        self.projections = Projections(features, config.features.scaling, dim)
        self.predictor = nn.Linear(dim, dim)
        nn.init.xavier_uniform_(self.predictor.weight)
        nn.init.zeros_(self.predictor.bias)
        self._graph = BipartiteGraph(observed, "symmetric", self.device, self.dtype)

    def _vectors(self) -> tuple[Tensor, Tensor]:
        """h of all users (U, d) and items (I, d)."""
        users, items = lightgcn(self.user_id, self.item_id, self._graph, self.config.layers)
        return users, items + self.item_id

    def final(self) -> tuple[Tensor, Tensor]:
        """h~ of all users and items."""
        users, items = self._vectors()
        return self.predictor(users), self.predictor(items)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The paper's parts on the batch's users and their items; its negatives are not looked at.

        ``reconstruction``: C(h~_u, h._i) + C(h~_i, h._u); ``alignment``: sum_m C(h~_i^m, h._i);
        ``mask``: sum_m C(h~_i^m, h._i^m), both over the items that have the modality;
        ``embedding_l2``.
        """
        config = self.config
        all_users, all_items = self._vectors()
        users, items = all_users[batch.users], all_items[batch.positives]
        user_target, item_target = self._target(users), self._target(items)
        parts = {
            "reconstruction": _apart(self.predictor(users), item_target).mean()
            + _apart(self.predictor(items), user_target).mean()
        }
        alignment, mask = [], []
        for projection in self.projections:
            present = projection.present[batch.positives]
            own = projection(batch.positives)
            predicted = self.predictor(own)
            alignment.append(_mean_of(_apart(predicted, item_target), present))
            mask.append(_mean_of(_apart(predicted, self._target(own)), present))
        if config.alignment_weight:
            parts["alignment"] = config.alignment_weight * torch.stack(alignment).sum()
        if config.mask_weight:
            parts["mask"] = config.mask_weight * torch.stack(mask).sum()
        if config.embedding_l2:
            squares = users.square().sum() + items.square().sum()
            parts["embedding_l2"] = config.embedding_l2 * squares / len(users)
        return parts

    def _target(self, vectors: Tensor) -> Tensor:
        return dropout(vectors.detach(), self.config.dropout, self.training)


def _apart(predictions: Tensor, targets: Tensor) -> Tensor:
    """C of each row: minus the cosine, (n,) of (n, d) each."""
    return -(unit_rows(predictions) * unit_rows(targets)).sum(dim=1)


def _mean_of(losses: Tensor, there: Tensor) -> Tensor:
    """The mean of (n,) losses over the rows that are there; 0 where none is."""
    return torch.where(there, losses, 0.0).sum() / there.sum().clamp(min=1)
