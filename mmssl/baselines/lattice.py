"""LATTICE: item graphs learned from the media (Zhang et al., MM 2021)."""

from collections.abc import Mapping
from typing import Annotated, Literal

import scipy.sparse as sp
import torch
from pydantic import Field
from torch import Tensor, nn

from mmssl.baselines.base import EmbeddingBaseline
from mmssl.baselines.media import (
    LearnedMediaConfig,
    Projections,
    lightgcn,
    scaled_features,
    xavier,
)
from mmssl.config import Count, Weight
from mmssl.data.dataset import ModalityFeatures
from mmssl.data.graphs import BipartiteGraph
from mmssl.data.item_graphs import (
    cosines_of,
    frozen_graph,
    nearest_items,
    neighbour_matrix,
    symmetric,
    weighted_sum,
)
from mmssl.data.sampling import Batch
from mmssl.data.sparse import SparseMatrix
from mmssl.objectives.bpr import batch_l2, bpr
from mmssl.vectors import unit_rows


class LATTICEConfig(LearnedMediaConfig):
    """The settings of LATTICE. There is no mixed precision: an epoch has one dense product."""

    model: Literal["lattice"] = "lattice"
    name: str = "lattice"
    feature_dim: Count = 64
    """Dimensions of the projected features."""
    neighbours: Count = 10
    """k: the items, itself among them, that an item is joined to in each modality."""
    skip_weight: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """lambda: share of the graph of the raw embeddings beside that of the projected ones."""
    layers: Annotated[int, Field(ge=0)] = 2
    """Hops of LightGCN along the interactions; 0 is plain matrix factorisation."""
    item_layers: Count = 1
    """L: hops along the item graph."""
    embedding_l2: Weight = 1e-4
    """Weight of half the squared norms of a batch's final vectors, a row."""


class LATTICE(EmbeddingBaseline):
    """h_u of a collaborative model, h_i of it plus the unit vector of what the item graph carries.

    S~^m and A~^m are the graphs of the k items of highest cosine, as D^(-1/2) W D^(-1/2), on the
    raw embeddings and on their projections W_m x + b_m. The item graph is A = sum_m alpha_m (lambda
    S~^m + (1 - lambda) A~^m), alpha a softmax over the modalities of learned numbers; it carries
    the item ids.

    The neighbours are found again at every epoch's end, and from there on that graph scores. An
    epoch's first step makes the same graph with a gradient, which is what projections and alpha
    learn from; for the other steps it is a constant, as published.
    """

    config: LATTICEConfig
    neighbours: Tensor
    """(M, I, w) int64: those of the projections, -1 behind a short list."""
    weights: Tensor
    """(M, I, w): the entries of A~^m there."""
    shares: Tensor
    """(M,) alpha."""

    def build(self, observed: sp.csr_array, features: Mapping[str, ModalityFeatures]) -> None:
        """Xavier-uniform vectors and projections, equal alpha; the graphs as they are then."""
        config = self.config
        dim, scaling = config.embedding_dim, config.features.scaling
        self.user_id, self.item_id = xavier(self.n_users, dim), xavier(self.n_items, dim)
        self.projections = Projections(features, scaling, config.feature_dim)
        self.importance = nn.Parameter(torch.zeros(len(features)))
        self._raw_graphs = []
        for vectors, present in scaled_features(features, scaling).values():
            on_device = vectors.to(self.device), present.to(self.device)
            self._raw_graphs.append(frozen_graph(*on_device, config.neighbours, "cosine"))
        self._graph = BipartiteGraph(observed, "symmetric", self.device, self.dtype)
        lists = len(features), self.n_items, min(config.neighbours, self.n_items)
        self.register_buffer("neighbours", torch.full(lists, -1))
        self.register_buffer("weights", torch.zeros(lists))
        self.register_buffer("shares", torch.zeros(len(features)))
        self._item_graph: SparseMatrix | None = None
        self._learns_graph = False
        self.to(device=self.device, dtype=self.dtype)
        self.find_neighbours()

    # --- the item graph ----------------------------------------------------------------------

    @torch.no_grad()
    def find_neighbours(self) -> None:
        """Make the graph anew from the present projections."""
        for lists, projection in zip(self.neighbours, self.projections, strict=True):
            width = lists.shape[1]
            found = nearest_items(projection(), projection.present, width, itself=True)
            lists.copy_(found.items)
        self._keep(*self._learned())

    def _learned(self) -> tuple[Tensor, Tensor]:
        """The entries of A~^m (M, I, w) at the neighbours that are kept, and alpha (M,)."""
        weights = [
            symmetric(lists, cosines_of(projection(), lists))
            for lists, projection in zip(self.neighbours, self.projections, strict=True)
        ]
        return torch.stack(weights), self.importance.softmax(dim=0)

    def _keep(self, weights: Tensor, shares: Tensor) -> None:
        self.weights.copy_(weights.detach())
        self.shares.copy_(shares.detach())
        self._item_graph = None

    def _kept_graph(self) -> SparseMatrix:
        """A of what is kept, as a constant."""
        if self._item_graph is None:
            rate, alpha = self.config.skip_weight, self.shares.tolist()
            learned = [
                neighbour_matrix(lists, weights)
                for lists, weights in zip(self.neighbours, self.weights, strict=True)
            ]
            graph = weighted_sum(
                [*self._raw_graphs, *learned],
                [rate * share for share in alpha] + [(1 - rate) * share for share in alpha],
            )
            self._item_graph = SparseMatrix(graph, self.device, self.dtype)
        return self._item_graph

    def _carry_with_gradient(
        self, weights: Tensor, shares: Tensor, vectors: Tensor, hops: int
    ) -> Tensor:
        """A^hops @ vectors, (I, d), through which gradients reach the graph too."""
        rate = self.config.skip_weight
        raw = [SparseMatrix(graph, self.device, self.dtype) for graph in self._raw_graphs]
        for _ in range(hops):
            total = torch.zeros_like(vectors)
            for lists, own, frozen, share in zip(
                self.neighbours, weights, raw, shares, strict=True
            ):
                sent = torch.einsum("iw,iwd->id", own, vectors[lists.clamp(min=0)])
                total = total + share * (rate * (frozen @ vectors) + (1 - rate) * sent)
            vectors = total
        return vectors

    # --- training ----------------------------------------------------------------------------

    def begin_epoch(self, epoch: int) -> None:  # noqa: ARG002
        """The next step learns the graph."""
        self._learns_graph = True

    def end_epoch(self, epoch: int) -> None:  # noqa: ARG002
        """The graph of what the epoch has learned: it scores, and the next epoch learns by it."""
        self.find_neighbours()

    def load_scoring_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """As in ``TrainableModel``; the graph comes with them."""
        super().load_scoring_tensors(tensors)
        self._item_graph = None

    def final(self) -> tuple[Tensor, Tensor]:
        """h of all users and items along the graph that is kept."""
        carried: Tensor = self.item_id
        for _ in range(self.config.item_layers):
            carried = self._kept_graph() @ carried
        return self._with(carried)

    def _with(self, carried: Tensor) -> tuple[Tensor, Tensor]:
        users, items = lightgcn(self.user_id, self.item_id, self._graph, self.config.layers)
        return users, items + unit_rows(carried)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """``bpr`` and ``embedding_l2``."""
        if self._learns_graph:
            self._learns_graph = False
            weights, shares = self._learned()
            self._keep(weights, shares)
            hops = self.config.item_layers
            carried = self._carry_with_gradient(weights, shares, self.item_id, hops)
            users, items = self._with(carried)
        else:
            users, items = self.final()
        triple = users[batch.users], items[batch.positives], items[batch.negatives]
        parts = {"bpr": bpr(*triple)}
        if self.config.embedding_l2:
            parts["embedding_l2"] = self.config.embedding_l2 * batch_l2(*triple)
        return parts
