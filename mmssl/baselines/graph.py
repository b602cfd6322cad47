"""What the baselines that propagate along the graph of interactions have in common: LightGCN's."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import scipy.sparse as sp
import torch
from torch import Tensor, nn

from mmssl.baselines.base import EmbeddingBaseline, LearnedBaselineConfig
from mmssl.config import Count, Weight
from mmssl.data.dataset import ModalityFeatures
from mmssl.data.graphs import BipartiteGraph, Graph
from mmssl.data.sampling import Batch
from mmssl.objectives.bpr import batch_l2, bpr

Sides: TypeAlias = tuple[Tensor, Tensor]
"""Vectors of all users (U, d) and of all items (I, d)."""


class GraphBaselineConfig(LearnedBaselineConfig):
    """What the baselines that propagate have in common."""

    layers: Count = 3
    """Hops along the graph, L."""
    embedding_l2: Weight = 1e-4
    """Weight of half the squared norms of the layer-0 vectors of a batch, a row."""


class GraphBaseline(EmbeddingBaseline):
    """A vector a user and an item, carried along the interactions.

    The graph is D_u^(-1/2) R D_i^(-1/2) and its transpose. A degree d enters as (d + 1e-8)^(-1/2)
    (METHOD section 1), which in float32 is d^(-1/2); rows without an interaction stay zero.
    """

    config: GraphBaselineConfig

    def build(self, observed: sp.csr_array, features: Mapping[str, ModalityFeatures]) -> None:  # noqa: ARG002
        """Xavier-uniform vectors and the graph of all training interactions."""
        self.user_id = nn.Parameter(torch.empty(self.n_users, self.config.embedding_dim))
        self.item_id = nn.Parameter(torch.empty(self.n_items, self.config.embedding_dim))
        nn.init.xavier_uniform_(self.user_id)
        nn.init.xavier_uniform_(self.item_id)
        self.graph = self.graph_of(observed)

    def graph_of(self, edges: sp.csr_array) -> BipartiteGraph:
        """Some of the interactions (U, I), normalised by the degrees that they make."""
        return BipartiteGraph(edges, "symmetric", self.device, self.dtype)

    def propagate(
        self, graph: Graph, change: Callable[[Tensor], Tensor] | None = None
    ) -> list[Sides]:
        """Layers 0..L: each side of a layer gathers the other side of the layer below.

        Args:
            graph: what to propagate along.
            change: what is done to each side of layers 1..L, users first, before the next layer
                gathers it; nothing when left out.
        """
        layers: list[Sides] = [(self.user_id, self.item_id)]
        for _ in range(self.config.layers):
            users, items = layers[-1]
            above = graph.to_users @ items, graph.to_items @ users
            layers.append(above if change is None else (change(above[0]), change(above[1])))
        return layers

    def ranking_losses(self, batch: Batch, final: Sides) -> dict[str, Tensor]:
        """``bpr`` on the final vectors and ``embedding_l2`` on those of layer 0."""
        users, items = final
        l2 = batch_l2(
            self.user_id[batch.users],
            self.item_id[batch.positives],
            self.item_id[batch.negatives],
        )
        return {
            "bpr": bpr(users[batch.users], items[batch.positives], items[batch.negatives]),
            "embedding_l2": self.config.embedding_l2 * l2,
        }


def mean_of(layers: Sequence[Sides]) -> Sides:
    """The mean vectors of some layers."""
    users, items = zip(*layers, strict=True)
    return torch.stack(users).mean(dim=0), torch.stack(items).mean(dim=0)
