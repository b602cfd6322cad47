"""The relation graphs that a model works on: which they are, and what takes their place when."""

from collections.abc import Mapping, Sequence

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray

from mmssl.data.graphs import Adjacency, BipartiteGraph
from mmssl.data.neighbours import TwoSidedNeighbours
from mmssl.data.sampling import Batch
from mmssl.data.sparse import rows_with_entries
from mmssl.evaluation.ranking import top_k_of_block
from mmssl.model.config import MMSSLConfig
from mmssl.model.official import StepwiseRelations
from mmssl.model.relations import joined, learned_relations, neighbours_per_user, union
from mmssl.objectives.adversarial import generated_rows
from mmssl.processes import Processes
from mmssl.vectors import TwoSided, unit_rows


class RelationGraphs:
    """A graph a modality, along which equation 8 gathers: the observed one, later a learned one."""

    def __init__(
        self,
        config: MMSSLConfig,
        modalities: Sequence[str],
        observed: BipartiteGraph,
        interactions: Adjacency,
        *,
        neighbours: TwoSidedNeighbours | None,
        device: torch.device,
        dtype: torch.dtype,
        processes: Processes,
    ) -> None:
        """Begin with the observed graph for every modality.

        Args:
            config: the run's configuration.
            modalities: in the order of the attention.
            observed: the graph of equations 2 and 10.
            interactions: the same edges, for the rows of a batch.
            neighbours: what steps draw from of ``observed``; None where none are drawn.
            device, dtype: of the graphs.
            processes: those among which the making of a graph is dealt out.
        """
        self._config, self._normalisation = config.relations, config.backbone.normalisation
        self._modalities = tuple(modalities)
        self._observed, self._observed_neighbours = observed, neighbours
        self._interactions = interactions
        self._device, self._dtype, self._processes = device, dtype, processes
        self.k = neighbours_per_user(
            config.relations.rate,
            observed.edges.shape[1],
            config.relations.rounding,
            config.relations.max_neighbours,
        )
        """k of equation 7."""
        self.stepwise = (
            StepwiseRelations(modalities, observed.edges.shape)
            if config.relations.schedule == "steps"
            else None
        )
        """The published graph refresh, where the configuration asks for it."""
        self.load({})

    def load(self, edges: Mapping[str, sp.csr_array]) -> None:
        """Use these learned graphs, a (U, I) matrix a modality; an empty mapping: the observed."""
        self.edges = dict(edges)
        """The learned graphs as built last; empty until the warm-up has ended."""
        together = self._config.graph == "union"
        self.graphs = {
            m: self._bipartite(union(edges[m], self._observed.edges) if together else edges[m])
            if m in edges
            else self._observed
            for m in self._modalities
        }
        """What equation 8 gathers along, a modality; a new mapping at every load."""
        graphs, device = self.graphs.values(), self._device
        self.joined_users = rows_with_entries((graph.to_users for graph in graphs), device)
        """As in ``Graphs``."""
        self.joined_items = rows_with_entries((graph.to_items for graph in graphs), device)
        """As in ``Graphs``."""
        self.neighbours: dict[str, TwoSidedNeighbours] = {}
        """What steps draw from of ``graphs``; empty where none are drawn."""
        if self._observed_neighbours is not None:
            self.neighbours = {
                m: TwoSidedNeighbours(graph.edges, self._normalisation)
                if m in edges
                else self._observed_neighbours
                for m, graph in self.graphs.items()
            }

    def _bipartite(self, edges: sp.csr_array) -> BipartiteGraph:
        return BipartiteGraph(edges, self._normalisation, self._device, self._dtype)

    # --- learned from everybody's features ---------------------------------------------------

    @property
    def learned_by_epochs(self) -> bool:
        """Whether they are learned between epochs: not where they stay observed or go by steps."""
        return self._config.graph != "observed" and self._config.schedule != "steps"

    @torch.no_grad()
    def learned(
        self, features: Mapping[str, TwoSided], users: NDArray[np.int64] | None = None
    ) -> dict[str, sp.csr_array]:
        """The graphs of equation 7, a (U, I) matrix a modality.

        Args:
            features: F of equation 2 of all users and items, a modality, dropout off.
            users: (n,) rows of users with history, distinct; all who have any, when left out.
        """
        cosine = self._config.similarity == "cosine"
        return {
            m: learned_relations(
                TwoSided(side.user, unit_rows(side.item)) if cosine else side,
                self._observed.edges,
                self.k,
                self._config.pairing,
                users,
                self._processes,
            )
            for m, side in features.items()
        }

    # --- the published schedule --------------------------------------------------------------

    def begin_epoch(self) -> None:
        """To be called before an epoch's first step."""
        if self.stepwise is not None:
            self.stepwise.begin_epoch()

    @torch.no_grad()
    def after_step(self, batch: Batch, features: Mapping[str, TwoSided]) -> None:
        """Under ``schedule: steps`` the published refresh, from the batch's rows on all items.

        Args:
            batch: the step's.
            features: F of equation 2 of all users and items, as the step has computed it.
        """
        if self.stepwise is None or self._config.graph == "observed":
            return
        graphs = self.stepwise.after_step(lambda: self._of_batch(batch, features))
        if graphs is not None:
            self.load(graphs)

    def _of_batch(self, batch: Batch, features: Mapping[str, TwoSided]) -> dict[str, sp.csr_array]:
        """The graphs of a batch's users alone, from equation 3 on all items."""
        shape = self._observed.edges.shape
        items = torch.arange(shape[1], device=self._device)
        own = self._processes.part(len(batch.users))
        observed = self._interactions.block(batch.users[own], items, self._dtype)
        users = batch.users.cpu().numpy()
        graphs = {}
        for m, side in features.items():
            if not self.k:
                graphs[m] = sp.csr_array(shape, dtype=np.float32)
                continue
            rows = generated_rows(side.user[batch.users[own]], side.item, observed)
            best, _ = top_k_of_block(rows, self.k)
            lists = np.zeros((len(users), best.shape[1]), dtype=np.int64)
            lists[own] = best.cpu().numpy()
            lists = self._processes.summed(lists)
            graphs[m] = joined(users, lists, shape, self._config.pairing)
        return graphs
