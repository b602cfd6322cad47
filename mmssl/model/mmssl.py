"""MMSSL (Wei et al., WWW 2023) composed of its parts; docs and tests name equations of METHOD."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import scipy.sparse as sp
import torch
from torch import Tensor, nn

from mmssl.config import TrainingConfig
from mmssl.data.dataset import ModalityFeatures
from mmssl.data.graphs import Adjacency, BipartiteGraph
from mmssl.data.sampling import Batch
from mmssl.evaluation.ranking import inner_product
from mmssl.model.attention import CrossModalAttention
from mmssl.model.features import Projection, TwoSided, feature_l2, gather_features, scale
from mmssl.model.propagation import propagate
from mmssl.model.relations import learned_relations, union
from mmssl.objectives.adversarial import (
    Critic,
    critic_losses,
    generated_rows,
    generator_loss,
    real_rows,
)
from mmssl.objectives.bpr import batch_l2, bpr
from mmssl.objectives.info_nce import info_nce
from mmssl.vectors import unit_rows


@dataclass(frozen=True)
class Views:
    """Everything one forward pass computes, for all users (U, d) and items (I, d)."""

    features: dict[str, TwoSided]
    """F of equation 2, a modality."""
    relations: dict[str, TwoSided]
    """H of equation 8, a modality."""
    collaborative: TwoSided
    """c of equation 10."""
    final: TwoSided
    """h of equation 11."""


@dataclass(frozen=True)
class CriticBlock:
    """What the critic sees in one step: B' users x S items and its random draws."""

    users: Tensor
    items: Tensor
    uniform: Tensor
    epsilon: Tensor

    def rows(self, side: TwoSided, observed: Tensor, mask_observed: bool) -> Tensor:
        """Equation 3 of the given vectors on this block: (B', S)."""
        return generated_rows(side.user[self.users], side.item[self.items], observed, mask_observed)


class MMSSL(nn.Module):
    """The recommender; fulfils ``mmssl.contract.EmbeddingModel``.

    A step of training is ``critic_losses(batch)`` (where there is a critic), a step of the critic,
    then ``losses(batch)`` and a step of everything else; both share one forward pass.
    """

    def __init__(
        self,
        config: TrainingConfig,
        observed: sp.csr_array,
        features: Mapping[str, ModalityFeatures],
        generator: torch.Generator,
        *,
        device: torch.device | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """Build the model with fresh parameters.

        Args:
            config: the run's configuration.
            observed: (U, I) training interactions.
            features: raw embeddings by modality, at least one, in the order of the attention.
            generator: CPU generator of the critic's draws.
            device: where parameters and graphs live.
            dtype: of the parameters; float32, or float64 for comparisons.
        """
        super().__init__()
        if not features:
            raise ValueError("MMSSL needs at least one modality")
        device = device or torch.device("cpu")
        self.config = config
        self.modalities = tuple(features)
        self._generator = generator
        self._device, self._dtype = device, dtype
        n_users, n_items = observed.shape
        backbone = config.backbone

        self.user_id = nn.Parameter(torch.empty(n_users, backbone.embedding_dim))
        self.item_id = nn.Parameter(torch.empty(n_items, backbone.embedding_dim))
        nn.init.xavier_uniform_(self.user_id)
        nn.init.xavier_uniform_(self.item_id)
        # A list in the order of `modalities`: a module's name could not hold every modality's.
        self.projections = nn.ModuleList()
        for given in features.values():
            present = torch.as_tensor(given.present)
            vectors = torch.as_tensor(given.vectors, dtype=dtype)
            self.projections.append(
                Projection(
                    scale(vectors, present, config.features.scaling),
                    present,
                    backbone.embedding_dim,
                    config.features.missing,
                    config.features.dropout,
                )
            )
        self.attention = CrossModalAttention(
            backbone.embedding_dim, backbone.heads, backbone.attention
        )
        adversarial = config.adversarial
        self._block_items = (
            n_items if adversarial.critic_items == "all" else min(adversarial.critic_items, n_items)
        )
        self.critic = (
            Critic(
                n_items,
                self._block_items,
                adversarial.critic_hidden,
                adversarial.critic_dropout,
            )
            if adversarial.weight > 0
            else None
        )
        self.to(device=device, dtype=dtype)

        self.observed = Adjacency(observed, device)
        self.graph = self._bipartite(observed)
        self.relation_edges: dict[str, sp.csr_array] = {}
        """The learned graphs as built last; empty until the warm-up has ended."""
        self.relation_graphs = dict.fromkeys(self.modalities, self.graph)
        self._pending: tuple[Batch, Views, CriticBlock] | None = None
        self._scoring: tuple[Tensor, Tensor] | None = None

    def _bipartite(self, edges: sp.csr_array) -> BipartiteGraph:
        return BipartiteGraph(edges, self.config.backbone.normalisation, self._device, self._dtype)

    # --- forward -----------------------------------------------------------------------------

    def forward(self) -> Views:
        """Equations 1, 2 and 8 to 11 for all users and items."""
        backbone = self.config.backbone
        features = gather_features(self._project(), self.graph)
        relations = {
            m: TwoSided(graph.to_users @ self.item_id, graph.to_items @ self.user_id)
            for m, graph in self.relation_graphs.items()
        }
        start = TwoSided(
            self._fuse(self.user_id, [side.user for side in relations.values()]),
            self._fuse(self.item_id, [side.item for side in relations.values()]),
        )
        collaborative = propagate(
            start, self.graph, backbone.layers, backbone.propagation_order, backbone.final_softmax
        )
        rate = backbone.feature_rate
        final = TwoSided(
            collaborative.user + rate * sum_of_units([f.user for f in features.values()]),
            collaborative.item + rate * sum_of_units([f.item for f in features.values()]),
        )
        return Views(features, relations, collaborative, final)

    def _project(self) -> dict[str, Tensor]:
        return {m: p() for m, p in zip(self.modalities, self.projections, strict=True)}

    def _fuse(self, ids: Tensor, relations: list[Tensor]) -> Tensor:
        """e^(0) = E + eta Z/|Z| (equation 10's start)."""
        rate = self.config.backbone.relation_rate
        return ids + rate * unit_rows(self.attention(relations)) if rate else ids

    # --- training ----------------------------------------------------------------------------

    def critic_losses(self, batch: Batch) -> dict[str, Tensor]:
        """The parts of L_D on a fresh block; the forward pass is kept for ``losses(batch)``."""
        assert self.critic is not None
        adversarial = self.config.adversarial
        views, block = self(), self._draw_block(batch)
        self._pending = (batch, views, block)
        with torch.no_grad():
            observed = self._observed_block(block)
            real = real_rows(
                observed,
                block.rows(views.final, observed, adversarial.mask_observed),
                block.uniform,
                gumbel_temperature=adversarial.gumbel_temperature,
                gumbel_scale=adversarial.gumbel_scale,
                prediction_scale=adversarial.prediction_scale,
            )
            fake = [
                block.rows(side, observed, adversarial.mask_observed)
                for side in views.features.values()
            ]
        return critic_losses(
            self.critic, fake, real, block.items, block.epsilon, adversarial.gradient_penalty
        )

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The weighted parts of L (equation 13) by name; their sum is what the model minimises."""
        config = self.config
        block: CriticBlock | None = None
        if self._pending is not None and self._pending[0] is batch:
            _, views, block = self._pending
        else:
            views = self()
        self._pending = None
        users = views.final.user[batch.users]
        positives = views.final.item[batch.positives]
        negatives = views.final.item[batch.negatives]
        parts = {
            "bpr": bpr(users, positives, negatives),
            "embedding_l2": config.optimiser.embedding_l2 * batch_l2(users, positives, negatives),
            "feature_l2": config.optimiser.feature_l2 * feature_l2(views.features),
        }
        if config.contrast.weight > 0:
            final = config.contrast.anchor == "final"
            own = users if final else views.collaborative.user[batch.users]
            parts["contrast"] = (
                config.contrast.weight
                * torch.stack(
                    [
                        info_nce(side.user[batch.users], own, config.contrast.temperature)
                        for side in views.relations.values()
                    ]
                ).sum()
            )
        if self.critic is not None:
            block = block or self._draw_block(batch)
            observed = self._observed_block(block)
            fake = [
                block.rows(side, observed, config.adversarial.mask_observed)
                for side in views.features.values()
            ]
            parts["generator"] = config.adversarial.weight * generator_loss(
                self.critic, fake, block.items
            )
        return parts

    def _observed_block(self, block: CriticBlock) -> Tensor:
        return self.observed.block(block.users, block.items, self._dtype)

    def _draw_block(self, batch: Batch) -> CriticBlock:
        """Some of the batch's users, their positives and uniform other items, ascending."""
        n_items, count = self.item_id.shape[0], len(batch.users)
        chosen = torch.randperm(count, generator=self._generator)
        chosen = chosen[: self.config.adversarial.critic_users].to(batch.users.device)
        if self._block_items == n_items:
            items = torch.arange(n_items)
        else:
            # A random order of all items with the positives moved to the front, cut to size.
            priority = torch.rand(n_items, generator=self._generator)
            priority[batch.positives[chosen].cpu()] -= 1
            items = priority.topk(self._block_items, largest=False).indices.sort().values
        rows = len(chosen)
        uniform = torch.rand(rows, len(items), generator=self._generator)
        epsilon = torch.rand(rows * len(self.modalities), 1, generator=self._generator)
        return CriticBlock(
            batch.users[chosen],
            items.to(self._device),
            uniform.to(self._device, self._dtype),
            epsilon.to(self._device, self._dtype),
        )

    # --- the learned graph -------------------------------------------------------------------

    @torch.no_grad()
    def refresh_relations(self) -> None:
        """Rebuild every modality's relation graph from the present features (equation 7)."""
        config = self.config.relations
        if config.graph == "observed":
            return
        was_training = self.training
        self.eval()
        features = gather_features(self._project(), self.graph)
        self.load_relations(
            {
                m: learned_relations(side, self.graph.edges, config.rate)
                for m, side in features.items()
            }
        )
        self.train(was_training)

    def load_relations(self, edges: Mapping[str, sp.csr_array]) -> None:
        """Use these learned graphs, a (U, I) matrix a modality; an empty mapping: the observed."""
        self.relation_edges = dict(edges)
        joined = self.config.relations.graph == "union"
        self.relation_graphs = {
            m: self._bipartite(union(edges[m], self.graph.edges) if joined else edges[m])
            if m in edges
            else self.graph
            for m in self.modalities
        }
        self._scoring = None

    # --- scoring -----------------------------------------------------------------------------

    def train(self, mode: bool = True) -> Self:
        """As in torch; forgets the vectors that ``score`` keeps."""
        self._scoring = None
        return super().train(mode)

    @torch.no_grad()
    def embeddings(self) -> tuple[Tensor, Tensor]:
        """The final vectors h of users (U, d) and items (I, d), float32, dropout off."""
        if self._scoring is None:
            was_training = self.training
            self.eval()
            final = self().final
            self.train(was_training)
            self._scoring = final.user.float(), final.item.float()
        return self._scoring

    def score(self, users: Tensor) -> Tensor:
        """y = h_u . h_i for user rows (b,) int64 and all items: (b, I) float32."""
        user, item = self.embeddings()
        return inner_product(user, item)(users)


def sum_of_units(vectors: list[Tensor]) -> Tensor:
    """sum_m x^m/|x^m|, row by row."""
    return torch.stack([unit_rows(v) for v in vectors]).sum(dim=0)
