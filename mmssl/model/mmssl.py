"""MMSSL (Wei et al., WWW 2023) composed of its parts; docs and tests name equations of METHOD."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self

import scipy.sparse as sp
import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, embedding

from mmssl.contract import TrainableModel
from mmssl.data.dataset import ModalityFeatures
from mmssl.data.graphs import Adjacency, BipartiteGraph, binary, csr_arrays, csr_tensors
from mmssl.data.neighbours import TwoSidedNeighbours
from mmssl.data.sampling import Batch, BatchSampler, InteractionSampler, Sampler
from mmssl.evaluation.ranking import InnerProduct, Score, added, item_graph_score
from mmssl.model.attention import CrossModalAttention
from mmssl.model.config import MMSSLConfig
from mmssl.model.features import Projection, gather_features, scale
from mmssl.model.limits import (
    refuse_what_is_too_large,
    refuse_what_needs_one_process,
    refuse_what_one_user_cannot_do,
)
from mmssl.model.neighbourhood import Neighbourhood
from mmssl.model.objective import Objective, build_critic
from mmssl.model.parts import modality_parts
from mmssl.model.propagation import propagate
from mmssl.model.relation_graphs import RelationGraphs
from mmssl.model.side_graphs import build_side_graphs
from mmssl.model.step import Step, StepSampler
from mmssl.model.views import Graphs, Views, first_rows
from mmssl.model.walks import Walks
from mmssl.optimisers import Adam
from mmssl.vectors import TwoSided, perturb, unit_rows


class MMSSL(TrainableModel):
    """The recommender; fulfils ``mmssl.contract.EmbeddingModel`` and ``ItemGraphModel``.

    A step of training is ``critic_losses(batch)`` (where there is a critic), a step of the critic,
    then ``losses(batch)`` and a step of everything else; both share one forward pass.
    """

    what_to_lower: ClassVar[Mapping[str, str]] = {
        "contrast": "contrast.weight (or raise contrast.temperature)",
        "noise_contrast_user": "noise_contrast.weight (or raise noise_contrast.temperature)",
        "noise_contrast_item": "noise_contrast.weight (or raise noise_contrast.temperature)",
        "generator": "adversarial.weight",
        "reconstruction": "reconstruction.weight",
        "wasserstein": "adversarial.critic_learning_rate",
        "gradient_penalty": "adversarial.gradient_penalty or adversarial.critic_learning_rate",
    }
    critic_parts = ("wasserstein", "gradient_penalty")

    config: MMSSLConfig

    def build(self, observed: sp.csr_array, features: Mapping[str, ModalityFeatures]) -> None:
        """As ``TrainableModel``; ``features`` holds at least one modality.

        Raises:
            InputError: what the configuration keeps of all items in a step is too large.
        """
        if not features:
            raise ValueError("MMSSL needs at least one modality")
        config, device, dtype = self.config, self.device, self.dtype
        n_users, n_items = self.n_users, self.n_items
        refuse_what_is_too_large(config, n_users, n_items, len(features))
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
        self.critic = build_critic(config, n_items)

        normalisation = backbone.normalisation
        self.observed = Adjacency(observed, device)
        self.graph = BipartiteGraph(observed, normalisation, device, dtype)
        self.side_graphs = build_side_graphs(config.neighbours, observed, features, device, dtype)
        self._history = binary(observed)
        self._walks = Walks(config.walks, self._history) if config.walks.weight else None
        neighbours = (
            TwoSidedNeighbours(self.graph.edges, normalisation)
            if backbone.propagation == "sampled"
            else None
        )
        self.relations = RelationGraphs(
            config,
            self.modalities,
            self.graph,
            self.observed,
            neighbours=neighbours,
            device=device,
            dtype=dtype,
            processes=self.processes,
        )
        self.step_sampler = StepSampler(
            config,
            self.observed,
            self.relations,
            neighbours=neighbours,
            generator=self.generator,
            device=device,
            dtype=dtype,
        )
        self.objective = Objective(config, self.observed, self.critic, self.processes)
        self._pending: tuple[Batch, Step, Views] | None = None
        self._scoring: tuple[Tensor, Tensor] | None = None
        self._score: Score | None = None
        self._scored_along: Mapping[str, BipartiteGraph] | None = None

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
            relations=self.relations.graphs,
            joined_users=self.relations.joined_users,
            joined_items=self.relations.joined_items,
            layers=[self.graph] * self.config.backbone.layers,
        )
        return self._views(whole, self._project(), self._ids())

    def _ids(self) -> TwoSided:
        return TwoSided(self.user_id, self.item_id)

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

        features, relations = {}, {}
        # Steps are many, and these products a good part of one.
        if self.config.learns_from_features or not self.training:
            features = own(gather_features(projected, graphs.features))
        if self.config.learns_from_relations or not self.training:
            relations = {
                m: TwoSided(graph.to_users @ ids.item, graph.to_items @ ids.user)
                for m, graph in graphs.relations.items()
            }
        start = TwoSided(
            self._fuse(
                first_rows(ids.user, graphs.start_users),
                [side.user for side in relations.values()],
                graphs.joined_users,
            ),
            self._fuse(
                first_rows(ids.item, graphs.start_items),
                [side.item for side in relations.values()],
                graphs.joined_items,
            ),
        )
        collaborative = self._propagate(start, graphs)
        relations = own(relations)
        final, rate = collaborative, backbone.feature_rate
        if rate:
            final = TwoSided(
                torch.add(
                    final.user, sum_of_units([f.user for f in features.values()]), alpha=rate
                ),
                torch.add(
                    final.item, sum_of_units([f.item for f in features.values()]), alpha=rate
                ),
            )
        perturbed = None
        contrasted = self.training and torch.is_grad_enabled()
        if contrasted and self.config.noise_contrast.weight > 0:
            perturbed = (
                self._propagate(start, graphs, self._perturb),
                self._propagate(start, graphs, self._perturb),
            )
        return Views(features, relations, collaborative, final, perturbed)

    def _propagate(
        self,
        start: TwoSided,
        graphs: Graphs,
        perturb: Callable[[Tensor], Tensor] | None = None,
    ) -> TwoSided:
        """c of equation 10 from e^(0), of which dropout leaves out other numbers every time."""
        backbone = self.config.backbone
        if backbone.dropout and self.training:
            start = TwoSided(
                dropout(start.user, backbone.dropout), dropout(start.item, backbone.dropout)
            )
        return propagate(
            start,
            graphs.layers,
            backbone.propagation_order,
            backbone.final_softmax,
            (graphs.users, graphs.items),
            self.side_graphs,
            perturb,
        )

    def _perturb(self, vectors: Tensor) -> Tensor:
        return perturb(vectors, torch.rand_like(vectors), self.config.noise_contrast.noise)

    def _project(self, items: Tensor | None = None) -> dict[str, Tensor]:
        return {m: p(items) for m, p in zip(self.modalities, self.projections, strict=True)}

    def _fuse(self, ids: Tensor, relations: list[Tensor], joined: Tensor | None) -> Tensor:
        """e^(0) = E + eta Z/|Z| (equation 10's start); ``joined``: the rows with a relation."""
        rate = self.config.backbone.relation_rate
        if not rate:
            return ids
        if joined is None or not self.attention.is_by_row:
            return torch.add(ids, unit_rows(self.attention(relations)), alpha=rate)
        # A learned graph may reach a tenth of the items, and this is most of a forward pass.
        fused = self.attention([relation.index_select(0, joined) for relation in relations])
        return ids.index_add(0, joined, unit_rows(fused).to(ids.dtype), alpha=rate)

    # --- training ----------------------------------------------------------------------------

    def critic_losses(self, batch: Batch) -> dict[str, Tensor]:
        """The parts of L_D on a fresh block; the forward pass is kept for ``losses(batch)``.

        With several processes these, as those of ``losses``, are what this one's users add to the
        whole.
        """
        if self.config.adversarial.forward == "shared":
            step, views = self._forward_step(batch)
            self._pending = (batch, step, views)
        else:
            with torch.no_grad():
                step, views = self._forward_step(batch)
        return self.objective.critic_losses(step, views)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The weighted parts of L (equation 13) by name; their sum is what the model minimises."""
        if self._pending is not None and self._pending[0] is batch:
            _, step, views = self._pending
        else:
            step, views = self._forward_step(batch)
        self._pending = None
        parts = self.objective.losses(step, views, self._ids())
        self.relations.after_step(batch, views.features)
        return parts

    def _forward_step(self, batch: Batch) -> tuple[Step, Views]:
        """A fresh draw for a batch, and the forward pass on it."""
        step = self.step_sampler.draw(batch)
        return step, self(step.neighbourhood)

    def sampler(self, observed: sp.csr_array) -> Sampler:
        """The published batches, or those of every interaction once an epoch."""
        optimiser = self.config.optimiser
        kind = BatchSampler if optimiser.batches == "users" else InteractionSampler
        return kind(observed, optimiser.batch_users, self.generator, self.device)

    def check_batches(self, batch_size: int, processes: int) -> None:
        """As in ``TrainableModel``; what several processes cannot share is refused."""
        refuse_what_one_user_cannot_do(self.config, batch_size)
        refuse_what_needs_one_process(self.config, batch_size, processes)

    def critic_optimiser(self) -> torch.optim.Optimizer:
        """Adam of METHOD equation 6."""
        assert self.critic is not None
        rate = self.config.adversarial.critic_learning_rate
        return Adam(self.critic.parameters(), lr=rate, betas=(0.5, 0.9))

    def lazy_tables(self) -> list[nn.Parameter]:
        """Both id tables under sampled propagation: a step touches few of their rows."""
        sampled = self.config.backbone.propagation == "sampled"
        return [self.user_id, self.item_id] if sampled else []

    @property
    def first_whole_epoch(self) -> int:
        """The first that sees the learned graph."""
        return self.config.relations.warm_up + 1

    def begin_epoch(self, epoch: int) -> None:
        """Without a warm-up the first epoch sees a learned graph already."""
        if epoch == 1 and self.config.relations.warm_up == 0:
            self.refresh_relations()
        self.relations.begin_epoch()

    def end_epoch(self, epoch: int) -> None:
        """Equation 7, when it is due."""
        after = epoch - self.config.relations.warm_up
        if after >= 0 and after % self.config.relations.refresh == 0:
            self.refresh_relations()

    def epoch_facts(self) -> dict[str, Any]:
        """``relation_edges``: how many the learned graph of each modality has."""
        return {"relation_edges": {m: edges.nnz for m, edges in self.relations.edges.items()}}

    @torch.no_grad()
    def refresh_relations(self) -> None:
        """Rebuild every modality's relation graph from the present features (equation 7)."""
        if self.relations.learned_by_epochs and self.config.learns_from_relations:
            self.relations.load(self.relations.learned(self.features()))

    # --- scoring -----------------------------------------------------------------------------

    def train(self, mode: bool = True) -> Self:
        """As in torch; forgets the vectors that ``score`` keeps."""
        self._scoring = self._score = None
        return super().train(mode)

    @torch.no_grad()
    def features(self) -> dict[str, TwoSided]:
        """F of equation 2 of all users and items, a modality, dropout off."""
        was_training = self.training
        self.eval()
        features = gather_features(self._project(), self.graph)
        self.train(was_training)
        return features

    @torch.no_grad()
    def embeddings(self) -> tuple[Tensor, Tensor]:
        """The final vectors h of users (U, d) and items (I, d), float32, dropout off."""
        # Other relation graphs give other vectors.
        if self._scoring is None or self._scored_along is not self.relations.graphs:
            was_training = self.training
            self.eval()
            final = self().final
            self.train(was_training)
            self._scoring = final.user.float(), final.item.float()
            self._score = None
            self._scored_along = self.relations.graphs
        return self._scoring

    def item_graph(self) -> sp.csr_array | None:
        """What the walks add to the score, (I, I) float32; None without walks."""
        return None if self._walks is None else self._walks.beside(*self.embeddings())

    def score(self) -> Score:
        """y = h_u . h_i, float32, and what walks add."""
        vectors = self.embeddings()
        if self._score is None:
            graph = self.item_graph()
            parts: list[Score] = [InnerProduct(*vectors)]
            if graph is not None:
                parts.append(item_graph_score(self._history, graph, self.device))
            self._score = added(parts)
        return self._score

    # --- what is kept ------------------------------------------------------------------------

    def scoring_tensors(self) -> dict[str, Tensor]:
        """Parameters and learned graphs."""
        graphs = {f"graphs/{m}": edges for m, edges in self.relations.edges.items()}
        return super().scoring_tensors() | csr_tensors(graphs)

    def load_scoring_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """The inverse of ``scoring_tensors``."""
        super().load_scoring_tensors(tensors)
        self.relations.load(self._graphs_among(tensors, "graphs/"))

    def training_state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """What the published graph refresh has collected, where that is at work."""
        stepwise = self.relations.stepwise
        if stepwise is None:
            return {}, {}
        collected = {f"collected/{m}": edges for m, edges in stepwise.collected.items()}
        return csr_tensors(collected), {"stepwise_step": stepwise.step}

    def restore_training_state(
        self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]
    ) -> None:
        """The inverse of ``training_state``."""
        stepwise = self.relations.stepwise
        if stepwise is not None:
            stepwise.step = facts["stepwise_step"]
            stepwise.collected = self._graphs_among(tensors, "collected/")

    def _graphs_among(self, tensors: Mapping[str, Tensor], prefix: str) -> dict[str, sp.csr_array]:
        own = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
        return csr_arrays(own, (self.n_users, self.n_items))

    @torch.no_grad()
    def modality_parts(self) -> dict[str, TwoSided]:
        """As in ``TrainableModel``, by ``mmssl.model.parts``; float32."""
        was_training = self.training
        self.eval()
        parts = modality_parts(
            self(),
            self._ids(),
            self.attention,
            [self.graph] * self.config.backbone.layers,
            self.side_graphs,
            self.config.backbone,
        )
        self.train(was_training)
        return {m: TwoSided(part.user.float(), part.item.float()) for m, part in parts.items()}

    def relation_graphs(self) -> dict[str, sp.csr_array]:
        """Those that scoring uses; before the warm-up ends, the observed one for all."""
        return {m: self.relations.graphs[m].edges for m in self.modalities}


def sum_of_units(vectors: list[Tensor]) -> Tensor:
    """sum_m x^m/|x^m|, row by row."""
    total = unit_rows(vectors[0])
    for others in vectors[1:]:
        total = total + unit_rows(others)
    return total
