"""SGL: LightGCN with a contrast of two graphs that lack some edges (Wu et al., SIGIR 2021)."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from mmssl.baselines.graph import GraphBaseline, GraphBaselineConfig, mean_of
from mmssl.config import MixedPrecisionConfig, Positive, Rate, Weight
from mmssl.data.graphs import BipartiteGraph
from mmssl.data.sampling import Batch
from mmssl.objectives.cross_view import cross_view


class SGLConfig(GraphBaselineConfig, MixedPrecisionConfig):
    """The settings of SGL with edge dropout (SGL-ED)."""

    model: Literal["sgl"] = "sgl"
    name: str = "sgl"
    edge_dropout: Rate = 0.1
    """The chance of an interaction to be missing from a view, rho."""
    contrast_weight: Weight = 0.1
    """lambda_1, of the users' contrast and of the items' alike."""
    temperature: Positive = 0.2
    """tau of both contrasts."""
    contrast_negatives: Literal["all", "batch"] = "all"
    """Which nodes of the other view a node is told from: all of its side, or those of the batch
    (the paper's SGL-ED-batch), whose similarities need batch x batch numbers in memory instead of
    batch x (users or items)."""


class SGL(GraphBaseline):
    """BPR on the whole graph; two views, drawn anew every epoch, agree on who is who.

    The paper's sections 3.1 (edge dropout; the views are normalised by their own degrees), 3.2
    (contrast) and 3.3 (the sum). Its sums over nodes are means over the batch's distinct users, and
    over its distinct positive items, as BPR's sum over interactions is a mean over the batch.
    """

    config: SGLConfig
    what_to_lower: ClassVar[Mapping[str, str]] = {
        "user_contrast": "contrast_weight (or raise temperature)",
        "item_contrast": "contrast_weight (or raise temperature)",
    }
    _views: tuple[BipartiteGraph, ...] = ()
    _views_seed: int | None = None

    def begin_epoch(self, epoch: int) -> None:  # noqa: ARG002
        """Draw the epoch's two views."""
        self._make_views(int(torch.randint(2**62, (), generator=self.generator)))

    def _make_views(self, seed: int) -> None:
        draws = torch.Generator().manual_seed(seed)
        rate, edges = self.config.edge_dropout, self.graph.edges
        self._views = tuple(self.graph_of(drop_edges(edges, rate, draws)) for _ in range(2))
        self._views_seed = seed

    def training_state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The seed of the epoch's views."""
        return {}, {"views_seed": self._views_seed}

    def restore_training_state(
        self,
        tensors: Mapping[str, Tensor],  # noqa: ARG002
        facts: Mapping[str, Any],
    ) -> None:
        """Make the epoch's views again."""
        if facts["views_seed"] is not None:
            self._make_views(facts["views_seed"])

    def final(self) -> tuple[Tensor, Tensor]:
        """The mean of layers 0..L on the whole graph."""
        return mean_of(self.propagate(self.graph))

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """``bpr``, ``embedding_l2``, ``user_contrast`` and ``item_contrast``."""
        first, second = (mean_of(self.propagate(view)) for view in self._views)
        sides = ("user", batch.users), ("item", batch.positives)
        contrasts = {
            f"{side}_contrast": self.config.contrast_weight * self._contrast(one, other, nodes)
            for (side, nodes), one, other in zip(sides, first, second, strict=True)
        }
        return self.ranking_losses(batch, self.final()) | contrasts

    def _contrast(self, one: Tensor, other: Tensor, nodes: Tensor) -> Tensor:
        """Of the distinct ones of some nodes (n,) of a side, whose two views are given."""
        nodes, temperature = torch.unique(nodes), self.config.temperature
        if self.config.contrast_negatives == "batch":
            return cross_view(one[nodes], other[nodes], temperature)
        return cross_view(one[nodes], other, temperature, places=nodes)


def drop_edges(edges: sp.csr_array, rate: float, generator: torch.Generator) -> sp.csr_array:
    """(U, I) without about a share ``rate`` of its stored entries, each left out independently."""
    kept = (torch.rand(edges.nnz, generator=generator, dtype=torch.float64) >= rate).numpy()
    users = np.repeat(np.arange(edges.shape[0]), np.diff(edges.indptr))
    pairs = users[kept], edges.indices[kept]
    return sp.csr_array((edges.data[kept], pairs), shape=edges.shape)
