"""FREEDOM: a frozen item graph and a thinned interaction graph (Zhou and Shen, MM 2023)."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
import scipy.sparse as sp
import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import softplus

from extract.errors import InputError
from mmssl.baselines.base import EmbeddingBaseline
from mmssl.baselines.media import (
    DenseMediaConfig,
    Projections,
    lightgcn,
    scaled_features,
    xavier,
)
from mmssl.config import Count, Rate, Weight
from mmssl.data.dataset import ModalityFeatures
from mmssl.data.graphs import BipartiteGraph, binary
from mmssl.data.item_graphs import frozen_graph, weighted_sum
from mmssl.data.sampling import Batch
from mmssl.data.sparse import SparseMatrix
from mmssl.objectives.bpr import bpr


class FREEDOMConfig(DenseMediaConfig):
    """The settings of FREEDOM."""

    model: Literal["freedom"] = "freedom"
    name: str = "freedom"
    neighbours: Count = 10
    """k: the items, itself among them, that an item is joined to in each modality."""
    modality_weights: dict[str, Weight] | None = None
    """alpha_m: what each modality's graph counts for, as {image: 0.1, text: 0.9}; they are divided
    by their sum. Equal ones when left out."""
    layers: Annotated[int, Field(ge=0)] = 2
    """L_ui: hops along the interactions."""
    item_layers: Count = 1
    """L_ii: hops along the item graph."""
    pruning: Rate = 0.8
    """rho: share of the interactions that an epoch leaves out of the graph; 0 keeps all."""
    feature_weight: Weight = 1e-3
    """lambda: weight of the ranking by each modality's projected features."""


class FREEDOM(EmbeddingBaseline):
    """h_u = u's, h_i = i's mean over LightGCN's layers, h_i plus what the item graph sends.

    The item graph S = sum_m alpha_m D^(-1/2) W^m D^(-1/2), W^m with a one where an item is among
    the k of highest cosine, is made once of the raw embeddings. An epoch trains along
    floor((1 - rho) |E|) of the interactions, drawn without replacement with chances in proportion
    to 1 / sqrt(d_u d_i), and normalised by the degrees that are left; scoring takes all.
    """

    config: FREEDOMConfig

    def build(self, observed: sp.csr_array, features: Mapping[str, ModalityFeatures]) -> None:
        """Xavier-uniform vectors and projections, the item graph, the whole interaction graph."""
        config = self.config
        self.user_id = xavier(self.n_users, config.embedding_dim)
        self.item_id = xavier(self.n_items, config.embedding_dim)
        scaling = config.features.scaling
        # b_m of h_i^m = x_i^m W_m + b_m cancels between the two items of a pair.
        self.projections = Projections(features, scaling, config.embedding_dim, bias=False)
        graphs = [
            frozen_graph(
                vectors.to(self.device), present.to(self.device), config.neighbours, "ones"
            )
            for vectors, present in scaled_features(features, scaling).values()
        ]
        item_graph = weighted_sum(graphs, self._shares())
        self.item_graph_matrix = SparseMatrix(item_graph, self.device, self.dtype)
        self._edges = binary(observed)
        self._whole = self._bipartite(self._edges)
        self._kept = torch.empty(0, dtype=torch.int64)
        self._pruned: BipartiteGraph | None = None

    def _shares(self) -> list[float]:
        """alpha, in the order of the modalities, of sum one."""
        given = self.config.modality_weights
        if given is None:
            return [1 / len(self.modalities)] * len(self.modalities)
        if set(given) != set(self.modalities):
            raise InputError(
                f"modality_weights: weights of {', '.join(given) or 'nothing'}; the modalities are"
                f" {', '.join(self.modalities)}: give each of them one"
            )
        total = sum(given.values())
        if not total:
            raise InputError("modality_weights: all are 0; give at least one modality more")
        return [given[modality] / total for modality in self.modalities]

    def _bipartite(self, edges: sp.csr_array) -> BipartiteGraph:
        return BipartiteGraph(edges, "symmetric", self.device, self.dtype)

    # --- the thinned graph -------------------------------------------------------------------

    def begin_epoch(self, epoch: int) -> None:  # noqa: ARG002
        """Draw the interactions that the epoch is trained along."""
        if self.config.pruning:
            self._train_along(thinned(self._edges, self.config.pruning, self.generator))

    def _train_along(self, kept: Tensor) -> None:
        """Train along these interactions, (n,) int64 places in the order of the matrix."""
        users, items = self._edges.tocoo().coords
        places = kept.numpy()
        ones = np.ones(len(places), dtype=np.float32)
        self._kept = kept
        self._pruned = self._bipartite(
            sp.csr_array((ones, (users[places], items[places])), shape=self._edges.shape)
        )

    def training_state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Which interactions the present epoch is trained along."""
        return {"thinned/kept": self._kept}, {}

    def restore_training_state(
        self,
        tensors: Mapping[str, Tensor],
        facts: Mapping[str, Any],  # noqa: ARG002
    ) -> None:
        """The inverse of ``training_state``."""
        if len(tensors["thinned/kept"]):
            self._train_along(tensors["thinned/kept"])

    # --- vectors and losses ------------------------------------------------------------------

    def final(self) -> tuple[Tensor, Tensor]:
        """h of all users and items; in training along the epoch's interactions."""
        graph = self._pruned if self.training and self._pruned is not None else self._whole
        users, items = lightgcn(self.user_id, self.item_id, graph, self.config.layers)
        sent: Tensor = self.item_id
        for _ in range(self.config.item_layers):
            sent = self.item_graph_matrix @ sent
        return users, items + sent

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """``bpr`` and, weighted, ``feature_bpr``: the same of h_u and each modality's projection.

        A pair of which either item lacks the modality says nothing about it and counts nothing.
        """
        users, items = self.final()
        users, positives, negatives = users[batch.users], batch.positives, batch.negatives
        parts = {"bpr": bpr(users, items[positives], items[negatives])}
        if self.config.feature_weight:
            sums = []
            for projection in self.projections:
                better = projection(positives) - projection(negatives)
                known = projection.present[positives] & projection.present[negatives]
                losses = softplus(-(users * better).sum(dim=1))
                sums.append(torch.where(known, losses, 0.0).mean())
            parts["feature_bpr"] = self.config.feature_weight * torch.stack(sums).sum()
        return parts


def thinned(edges: sp.csr_array, share: float, generator: torch.Generator) -> Tensor:
    """Which edges are kept when a share of them is left out: (n,) int64 places, ascending.

    n = floor((1 - share) |E|), at least 1, drawn one after the other without replacement with
    chances in proportion to 1 / sqrt(d_u d_i). Drawing them so is the same as taking those of the
    n least Exp(1) numbers divided by these chances (Efraimidis and Spirakis, 2006).

    Args:
        edges: (U, I) with one stored entry an edge.
        share: 0 <= share < 1.
        generator: on the CPU.
    """
    users, items = edges.tocoo().coords
    degrees = [
        np.bincount(side, minlength=count)[side].astype(np.float64)
        for side, count in zip((users, items), edges.shape, strict=True)
    ]
    roots = torch.from_numpy(np.sqrt(degrees[0] * degrees[1]))
    uniform = 1 - torch.rand(len(roots), generator=generator, dtype=torch.float64)
    # Exp(1) = -log of a uniform number; divided by 1 / root.
    waits = -uniform.log() * roots
    # What rounding takes from a whole number is given back: (1 - .9) x 10 is one edge.
    count = max(1, int((1 - share) * len(roots) + 1e-9))
    return waits.argsort(stable=True)[:count].sort().values
