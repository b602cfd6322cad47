"""MMSSL (Wei et al., WWW 2023) composed of its parts; docs and tests name equations of METHOD."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import embedding

from mmssl.config import TrainingConfig
from mmssl.data.dataset import ModalityFeatures
from mmssl.data.graphs import Adjacency, BipartiteGraph
from mmssl.data.neighbours import TwoSidedNeighbours
from mmssl.data.sampling import Batch
from mmssl.evaluation.ranking import inner_product, top_k_of_block
from mmssl.model.attention import CrossModalAttention
from mmssl.model.critic_block import CriticBlock, draw_block
from mmssl.model.features import Projection, TwoSided, feature_l2, gather_features, scale
from mmssl.model.limits import refuse_what_is_too_large
from mmssl.model.neighbourhood import Neighbourhood, NeighbourhoodSampler
from mmssl.model.official import StepwiseRelations
from mmssl.model.propagation import propagate
from mmssl.model.relations import joined, learned_relations, neighbours_per_user, union
from mmssl.model.views import Graphs, Views, first_rows
from mmssl.objectives.adversarial import (
    Critic,
    critic_losses,
    generated_rows,
    generator_loss,
    real_rows,
)
from mmssl.objectives.bpr import batch_l2, bpr
from mmssl.objectives.info_nce import info_nce
from mmssl.objectives.reconstruction import reconstruction
from mmssl.processes import ONE, Processes
from mmssl.vectors import unit_rows


@dataclass(frozen=True)
class _Step:
    """The forward pass of a step: views, and where in them the step's users and items are.

    Under ``propagation: full`` these places are the rows of the dataset.
    """

    views: Views
    batch: Batch
    """Places in the views."""
    block: CriticBlock | None
    """Places in the views; None without a critic."""
    observed: Tensor | None
    """R on the block."""


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
        processes: Processes = ONE,
    ) -> None:
        """Build the model with fresh parameters.

        Args:
            config: the run's configuration.
            observed: (U, I) training interactions.
            features: raw embeddings by modality, at least one, in the order of the attention.
            generator: CPU generator of the critic's draws.
            device: where parameters and graphs live.
            dtype: of the parameters; float32, or float64 for comparisons.
            processes: those that share the training; of the losses each gets its own part.

        Raises:
            InputError: what the configuration keeps of all items in a step is too large.
        """
        super().__init__()
        if not features:
            raise ValueError("MMSSL needs at least one modality")
        device = device or torch.device("cpu")
        self.config = config
        self.modalities = tuple(features)
        self.processes = processes
        self._generator = generator
        self._device, self._dtype = device, dtype
        n_users, n_items = observed.shape
        refuse_what_is_too_large(config, n_items, len(features))
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
        wanted = config.adversarial.critic_items
        self._block_items = n_items if wanted == "all" else min(wanted, n_items)
        self.critic = self._build_critic(n_items) if config.adversarial.weight > 0 else None
        self.to(device=device, dtype=dtype)

        self.observed = Adjacency(observed, device)
        self.graph = self._bipartite(observed)
        self.relation_edges: dict[str, sp.csr_array] = {}
        """The learned graphs as built last; empty until the warm-up has ended."""
        self.relation_graphs = dict.fromkeys(self.modalities, self.graph)
        self.neighbours = neighbours_per_user(
            config.relations.rate,
            n_items,
            config.relations.rounding,
            config.relations.max_neighbours,
        )
        """k of equation 7."""
        self.stepwise = (
            StepwiseRelations(self.modalities, observed.shape)
            if config.relations.schedule == "steps"
            else None
        )
        """The published graph refresh, where the configuration asks for it."""
        self._sampler: NeighbourhoodSampler | None = None
        if backbone.propagation == "sampled":
            drawn_from = TwoSidedNeighbours(self.graph.edges, backbone.normalisation)
            self._sampler = NeighbourhoodSampler(
                drawn_from,
                backbone.propagation_order,
                backbone.layers,
                backbone.fan_outs,
                generator,
                device,
                dtype,
            )
            self._relation_neighbours = dict.fromkeys(self.modalities, drawn_from)
        self._pending: tuple[Batch, _Step] | None = None
        self._scoring: tuple[Tensor, Tensor] | None = None

    def _build_critic(self, n_items: int) -> Critic:
        adversarial = self.config.adversarial
        hidden = adversarial.critic_hidden
        by_vectors = adversarial.critic_weights == "from_vectors"
        return Critic(
            n_items,
            self._block_items,
            (max(1, n_items // 4), max(1, n_items // 8)) if hidden == "catalogue" else hidden,
            adversarial.critic_dropout,
            vectors_dim=self.config.backbone.embedding_dim if by_vectors else None,
            slope=adversarial.critic_slope,
            batch_norm=adversarial.critic_batch_norm,
            output=adversarial.critic_output,
        )

    def _bipartite(self, edges: sp.csr_array) -> BipartiteGraph:
        return BipartiteGraph(edges, self.config.backbone.normalisation, self._device, self._dtype)

    # --- forward -----------------------------------------------------------------------------

    def forward(self, drawn: Neighbourhood | None = None) -> Views:
        """Equations 1, 2 and 8 to 11 for all users and items, or estimated for those of a step."""
        if drawn is not None:
            # Sparse gradients: of the tables' rows, only those touched have one.
            ids = TwoSided(
                embedding(drawn.touched_users, self.user_id, sparse=True),
                embedding(drawn.touched_items, self.item_id, sparse=True),
            )
            return self._views(drawn.graphs, self._project(drawn.projected_items), ids)
        n_users, n_items = self.graph.edges.shape
        whole = Graphs(
            users=n_users,
            items=n_items,
            start_users=n_users,
            start_items=n_items,
            features=self.graph,
            relations=self.relation_graphs,
            layers=[self.graph] * self.config.backbone.layers,
        )
        return self._views(whole, self._project(), TwoSided(self.user_id, self.item_id))

    def _views(self, graphs: Graphs, projected: Mapping[str, Tensor], ids: TwoSided) -> Views:
        """Equations 2 and 8 to 11 along some graphs, from projections and ids as they need them."""
        backbone = self.config.backbone

        def own(sides: Mapping[str, TwoSided]) -> dict[str, TwoSided]:
            return {
                m: TwoSided(
                    first_rows(side.user, graphs.users), first_rows(side.item, graphs.items)
                )
                for m, side in sides.items()
            }

        features = own(gather_features(projected, graphs.features))
        relations = {
            m: TwoSided(graph.to_users @ ids.item, graph.to_items @ ids.user)
            for m, graph in graphs.relations.items()
        }
        start = TwoSided(
            self._fuse(
                first_rows(ids.user, graphs.start_users),
                [side.user for side in relations.values()],
            ),
            self._fuse(
                first_rows(ids.item, graphs.start_items),
                [side.item for side in relations.values()],
            ),
        )
        collaborative = propagate(
            start,
            graphs.layers,
            backbone.propagation_order,
            backbone.final_softmax,
            (graphs.users, graphs.items),
        )
        relations = own(relations)
        rate = backbone.feature_rate
        final = TwoSided(
            collaborative.user + rate * sum_of_units([f.user for f in features.values()]),
            collaborative.item + rate * sum_of_units([f.item for f in features.values()]),
        )
        return Views(features, relations, collaborative, final)

    def _project(self, items: Tensor | None = None) -> dict[str, Tensor]:
        return {m: p(items) for m, p in zip(self.modalities, self.projections, strict=True)}

    def _fuse(self, ids: Tensor, relations: list[Tensor]) -> Tensor:
        """e^(0) = E + eta Z/|Z| (equation 10's start)."""
        rate = self.config.backbone.relation_rate
        return ids + rate * unit_rows(self.attention(relations)) if rate else ids

    def begin_epoch(self) -> None:
        """To be called before an epoch's first step."""
        if self.stepwise is not None:
            self.stepwise.begin_epoch()

    # --- training ----------------------------------------------------------------------------

    def critic_losses(self, batch: Batch) -> dict[str, Tensor]:
        """The parts of L_D on a fresh block; the forward pass is kept for ``losses(batch)``.

        With several processes the block is common, each has the rows of some of its users, and the
        parts are what these add to the whole. Dropout in the critic is each process's own.
        """
        assert self.critic is not None
        adversarial = self.config.adversarial
        if adversarial.forward == "shared":
            step = self._forward_step(batch)
            self._pending = (batch, step)
        else:
            with torch.no_grad():
                step = self._forward_step(batch)
        views = step.views
        block, observed = self._own_block(step)
        with torch.no_grad():
            real = self._real_rows(block, observed, views.final)
            fake = self._generated(block, observed, views)
        with self.processes.own_draws():
            parts = critic_losses(
                self.critic,
                fake,
                real,
                block.items,
                block.epsilon,
                adversarial.gradient_penalty,
                views.final.item[block.items],
            )
        return self._weighted(parts, step.block)

    def _own_block(self, step: _Step) -> tuple[CriticBlock, Tensor]:
        """This process's users of a step's block, and R on it."""
        assert step.block is not None
        assert step.observed is not None
        own = self.processes.part(len(step.block))
        return step.block.part(own), step.observed[own]

    def _weighted(
        self, parts: dict[str, Tensor], whole: Batch | CriticBlock | None
    ) -> dict[str, Tensor]:
        """Means over this process's part of some users, as parts of the mean over all of them."""
        if self.processes.count == 1 or whole is None:
            return parts
        share = self.processes.share(len(whole.users))
        return {name: share * part for name, part in parts.items()}

    def _real_rows(self, block: CriticBlock, observed: Tensor, final: TwoSided) -> Tensor:
        adversarial = self.config.adversarial
        if adversarial.real_rows == "observed":
            # Every row has an entry: the users' positives are among the block's items.
            return unit_rows(observed)
        return real_rows(
            observed,
            block.rows(final, observed, adversarial.mask_observed),
            block.uniform,
            gumbel_temperature=adversarial.gumbel_temperature,
            gumbel_scale=adversarial.gumbel_scale,
            prediction_scale=adversarial.prediction_scale,
            temperature_on=adversarial.temperature_on,
        )

    def _generated(self, block: CriticBlock, observed: Tensor, views: Views) -> list[Tensor]:
        mask = self.config.adversarial.mask_observed
        return [block.rows(side, observed, mask) for side in views.features.values()]

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The weighted parts of L (equation 13) by name; their sum is what the model minimises.

        With several processes they are what this one's users add to the whole, and of what is not
        a mean over users (the L2 of the features) a share as large. Views of all the batch's users
        are negatives of the contrast. Dropout on the features is common to all processes.
        """
        config = self.config
        if self._pending is not None and self._pending[0] is batch:
            step = self._pending[1]
        else:
            step = self._forward_step(batch)
        self._pending = None
        given, views, batch = batch, step.views, step.batch
        own = batch.part(self.processes.part(len(batch.users)))
        users = views.final.user[own.users]
        positives = views.final.item[own.positives]
        negatives = views.final.item[own.negatives]
        parts = {
            "bpr": bpr(users, positives, negatives),
            "embedding_l2": config.optimiser.embedding_l2 * batch_l2(users, positives, negatives),
            "feature_l2": config.optimiser.feature_l2
            * feature_l2(views.features, self.graph.edges.shape),
        }
        if config.contrast.weight > 0:
            parts["contrast"] = config.contrast.weight * self._contrast(batch, views)
        if config.reconstruction.weight > 0:
            features = views.features.values()
            parts["reconstruction"] = config.reconstruction.weight * reconstruction(
                [side.user[own.users] for side in features],
                [side.item[own.positives] for side in features],
                [side.item[own.negatives] for side in features],
            )
        parts = self._weighted(parts, batch)
        if self.critic is not None:
            parts |= self._weighted({"generator": self._generator_loss(step)}, step.block)
        if self.stepwise is not None:
            self._refresh_stepwise(given, views)
        return parts

    def _generator_loss(self, step: _Step) -> Tensor:
        """lambda_g L_G on this process's part of a step's block."""
        assert self.critic is not None
        block, observed = self._own_block(step)
        fake = self._generated(block, observed, step.views)
        vectors = step.views.final.item[block.items]
        with self.processes.own_draws():
            loss = generator_loss(self.critic, fake, block.items, vectors)
        return self.config.adversarial.weight * loss

    def _forward_step(self, batch: Batch) -> _Step:
        """A forward pass for a batch and a fresh block."""
        block = self._draw_block(batch) if self.critic is not None else None
        observed = (
            self.observed.block(block.users, block.items, self._dtype)
            if block is not None
            else None
        )
        if self._sampler is None:
            return _Step(self(), batch, block, observed)
        backbone = self.config.backbone
        from_relations = backbone.relation_rate > 0
        needed = self._relation_neighbours if from_relations or self.config.contrast.weight else {}
        blocks = [block] if block is not None else []
        drawn = self._sampler.draw(
            [batch.users, *(b.users for b in blocks)],
            [batch.positives, batch.negatives, *(b.items for b in blocks)],
            needed,
            relations_at_start=from_relations,
        )
        return _Step(
            self(drawn),
            Batch(drawn.user_rows[0], *drawn.item_rows[:2]),
            block and replace(block, users=drawn.user_rows[1], items=drawn.item_rows[2]),
            observed,
        )

    def _contrast(self, batch: Batch, views: Views) -> Tensor:
        """Equation 12, summed over modalities."""
        contrast = self.config.contrast
        side = views.final if contrast.anchor == "final" else views.collaborative
        anchors = side.user[batch.users]
        own = self.processes.part(len(anchors))
        if contrast.stop_gradient == "anchor":
            anchors = anchors.detach()
        parts = []
        for side in views.relations.values():
            relation = side.user[batch.users]
            if contrast.stop_gradient == "relation":
                relation = relation.detach()
            parts.append(info_nce(relation, anchors, contrast.temperature, own))
        return torch.stack(parts).sum()

    def _draw_block(self, batch: Batch) -> CriticBlock:
        return draw_block(
            batch,
            n_items=self.item_id.shape[0],
            users=self.config.adversarial.critic_users,
            items=self._block_items,
            modalities=len(self.modalities),
            generator=self._generator,
            dtype=self._dtype,
        )

    # --- the learned graph -------------------------------------------------------------------

    @torch.no_grad()
    def refresh_relations(self) -> None:
        """Rebuild every modality's relation graph from the present features (equation 7)."""
        config = self.config.relations
        if config.graph == "observed" or config.schedule == "steps":
            return
        self.load_relations(self.learn_relations())

    @torch.no_grad()
    def learn_relations(self, users: NDArray[np.int64] | None = None) -> dict[str, sp.csr_array]:
        """The graphs of equation 7 from the present features, a (U, I) matrix a modality.

        Args:
            users: (n,) rows of users with history, distinct; all who have any, when left out.
        """
        was_training = self.training
        self.eval()
        relations = self.config.relations
        learned = {}
        for m, side in gather_features(self._project(), self.graph).items():
            alike = (
                TwoSided(side.user, unit_rows(side.item))
                if relations.similarity == "cosine"
                else side
            )
            learned[m] = learned_relations(
                alike,
                self.graph.edges,
                self.neighbours,
                relations.pairing,
                users,
                self.processes,
            )
        self.train(was_training)
        return learned

    @torch.no_grad()
    def _refresh_stepwise(self, batch: Batch, views: Views) -> None:
        """The published refresh, from the rows of equation 3 of the step's batch on all items."""
        assert self.stepwise is not None
        relations = self.config.relations
        if relations.graph == "observed":
            return
        graphs = self.stepwise.after_step(lambda: self._batch_relations(batch, views))
        if graphs is not None:
            self.load_relations(graphs)

    def _batch_relations(self, batch: Batch, views: Views) -> dict[str, sp.csr_array]:
        """The graphs of a batch's users alone, from equation 3 on all items as just computed."""
        items = torch.arange(self.item_id.shape[0], device=self._device)
        own = self.processes.part(len(batch.users))
        observed = self.observed.block(batch.users[own], items, self._dtype)
        users = batch.users.cpu().numpy()
        shape = self.graph.edges.shape
        graphs = {}
        for m, side in views.features.items():
            if not self.neighbours:
                graphs[m] = sp.csr_array(shape, dtype=np.float32)
                continue
            rows = generated_rows(side.user[batch.users[own]], side.item, observed)
            best, _ = top_k_of_block(rows, self.neighbours)
            lists = np.zeros((len(users), best.shape[1]), dtype=np.int64)
            lists[own] = best.cpu().numpy()
            lists = self.processes.summed(lists)
            graphs[m] = joined(users, lists, shape, self.config.relations.pairing)
        return graphs

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
        if self._sampler is not None:
            normalisation = self.config.backbone.normalisation
            # Modalities without a learned graph share the observed one.
            neighbours = {
                id(graph): TwoSidedNeighbours(graph.edges, normalisation)
                for graph in self.relation_graphs.values()
            }
            self._relation_neighbours = {
                m: neighbours[id(graph)] for m, graph in self.relation_graphs.items()
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
