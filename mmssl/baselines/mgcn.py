"""MGCN: multi-view graph convolution (Yu et al., MM 2023)."""

from collections.abc import Mapping
from typing import Annotated, Literal, NamedTuple

import scipy.sparse as sp
import torch
from pydantic import Field
from torch import Tensor, nn

from mmssl.baselines.base import EmbeddingBaseline
from mmssl.baselines.media import (
    DenseMediaConfig,
    Projections,
    lightgcn,
    scaled_features,
    xavier,
)
from mmssl.config import Count, Positive, Weight
from mmssl.data.dataset import ModalityFeatures
from mmssl.data.graphs import BipartiteGraph
from mmssl.data.item_graphs import frozen_graph
from mmssl.data.sampling import Batch
from mmssl.data.sparse import SparseMatrix
from mmssl.objectives.bpr import batch_l2, bpr
from mmssl.objectives.cross_view import cross_view


class MGCNConfig(DenseMediaConfig):
    """The settings of MGCN."""

    model: Literal["mgcn"] = "mgcn"
    name: str = "mgcn"
    neighbours: Count = 10
    """K: the items, itself among them, that an item is joined to in each modality."""
    layers: Annotated[int, Field(ge=0)] = 2
    """Hops along the interactions."""
    item_layers: Count = 1
    """Hops along each modality's item graph."""
    contrast_weight: Weight = 0.01
    """lambda_C; 0 leaves the contrast out."""
    temperature: Positive = 0.2
    """tau of the contrast."""
    embedding_l2: Weight = 1e-4
    """lambda_E: weight of half the squared norms of a batch's final vectors, a row."""


class _Views(NamedTuple):
    """Of all users, then all items: (U + I, d) each."""

    behaviour: Tensor
    """E-bar_id."""
    media: Tensor
    """E_mul."""

    @property
    def total(self) -> Tensor:
        """The final vectors."""
        return self.behaviour + self.media


class MGCN(EmbeddingBaseline):
    """Vectors of the ids and of the media, each carried along its own graphs, and their sum.

    Purifier: e'_i,m = W_1m x_i,m + b_1m; e''_i,m = E_i,id * sigma(W_2m e'_i,m + b_2m).
    Encoder: E-bar_id, the mean over LightGCN's layers; E-bar_i,m, what the frozen graph of the K
    items of highest cosine carries of e''; E-bar_u,m, their sum over a user's items, each divided
    by sqrt(d_u d_i).
    Fuser: alpha_m = softmax over m of q . tanh(W_3 E-bar_m + b_3); E_s = sum_m alpha_m E-bar_m; P_m
    = sigma(W_4m E-bar_id + b_4m); E_mul = E_s + 1/M sum_m (E-bar_m - E_s) * P_m.
    The final vectors are E-bar_id + E_mul. In a modality that an item lacks it is joined to no item
    and its E-bar_i,m is zero. (* is the product entry by entry. With one modality E_s is E-bar_m
    whatever q, W_3, b_3, W_4 and b_4 are.)
    """

    config: MGCNConfig

    def build(self, observed: sp.csr_array, features: Mapping[str, ModalityFeatures]) -> None:
        """Xavier-uniform vectors and weights, biases of zero, a frozen graph a modality."""
        config = self.config
        dim, scaling = config.embedding_dim, config.features.scaling
        self.user_id, self.item_id = xavier(self.n_users, dim), xavier(self.n_items, dim)
        self.projections = Projections(features, scaling, dim)
        self.gates = nn.ModuleList(_linear(dim, dim) for _ in features)
        self.attention = _linear(dim, dim)
        self.query = _linear(dim, 1, bias=False)
        self.preferences = nn.ModuleList(_linear(dim, dim) for _ in features)
        self._graph = BipartiteGraph(observed, "symmetric", self.device, self.dtype)
        self._item_graphs = []
        for vectors, present in scaled_features(features, scaling).values():
            on_device = vectors.to(self.device), present.to(self.device)
            graph = frozen_graph(*on_device, config.neighbours, "cosine")
            self._item_graphs.append(SparseMatrix(graph, self.device, self.dtype))

    def _views(self) -> _Views:
        users, items = lightgcn(self.user_id, self.item_id, self._graph, self.config.layers)
        behaviour = torch.cat([users, items])
        views = []
        for projection, gate, graph in zip(
            self.projections, self.gates, self._item_graphs, strict=True
        ):
            carried = self.item_id * gate(projection()).sigmoid()
            for _ in range(self.config.item_layers):
                carried = graph @ carried
            views.append(torch.cat([self._graph.to_users @ carried, carried]))
        media = torch.stack(views)  # m, n, d
        weights = self.query(self.attention(media).tanh()).softmax(dim=0)
        shared = (weights * media).sum(dim=0)
        wanted = torch.stack([preference(behaviour).sigmoid() for preference in self.preferences])
        return _Views(behaviour, shared + ((media - shared) * wanted).mean(dim=0))

    def _sides(self, nodes: Tensor) -> tuple[Tensor, Tensor]:
        return nodes[: self.n_users], nodes[self.n_users :]

    def final(self) -> tuple[Tensor, Tensor]:
        """The sums of both views, of all users (U, d) and items (I, d)."""
        return self._sides(self._views().total)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """``bpr``, ``contrast`` and ``embedding_l2``.

        The contrast tells a node's E-bar_id by its E_mul from those of the batch's other distinct
        users (or items with an interaction in the batch), by cosine; users and items are added.
        """
        config, views = self.config, self._views()
        users, items = self._sides(views.total)
        triple = users[batch.users], items[batch.positives], items[batch.negatives]
        parts = {"bpr": bpr(*triple)}
        if config.contrast_weight:
            sides = torch.unique(batch.users), self.n_users + torch.unique(batch.positives)
            contrasts = [
                cross_view(views.media[rows], views.behaviour[rows], config.temperature)
                for rows in sides
            ]
            parts["contrast"] = config.contrast_weight * torch.stack(contrasts).sum()
        if config.embedding_l2:
            parts["embedding_l2"] = config.embedding_l2 * batch_l2(*triple)
        return parts


def _linear(inputs: int, outputs: int, *, bias: bool = True) -> nn.Linear:
    """Xavier-uniform weights, biases of zero."""
    linear = nn.Linear(inputs, outputs, bias=bias)
    nn.init.xavier_uniform_(linear.weight)
    if bias:
        nn.init.zeros_(linear.bias)
    return linear
