"""The part of the graphs that a step needs: what its users and items gather from, drawn at random.

The estimate is that of neighbour sampling (Hamilton et al., GraphSAGE, NeurIPS 2017): of every
node that is needed, some neighbours stand for all. Each product with a graph (METHOD equations 2, 8
and 10) has draws of its own and is unbiased given its operand; what is not linear (softmax, unit
length) is taken of the estimates.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from mmssl.data.neighbours import (
    DrawnNeighbours,
    Neighbours,
    Renumbering,
    Rows,
    TwoSidedNeighbours,
)
from mmssl.data.sparse import SparseMatrix, rows_with_entries
from mmssl.model.views import Graphs


@dataclass(frozen=True)
class SampledGraph:
    """Both directions of a graph between some nodes and some others, as ``BipartiteGraph`` is."""

    to_users: SparseMatrix
    to_items: SparseMatrix


@dataclass(frozen=True)
class Neighbourhood:
    """What one step's users and items are computed from.

    Every set of nodes begins with the step's own, in their order: of what is computed for a set,
    the first rows are theirs.
    """

    graphs: Graphs
    """Features from the projections to users and from these users' features to the step's items;
    relation embeddings from the touched ids to the nodes that need them (those of layer 0, or the
    step's own); each layer from the nodes of the layer before to its own."""
    projected_items: Tensor
    """(p,) int64: the items whose projections (equation 1) the features are gathered from."""
    touched_users: Tensor
    """(a,) int64: the users whose id embeddings take part; those of layer 0 come first."""
    touched_items: Tensor
    """(b,) int64, likewise."""
    user_rows: list[Tensor]
    """For each tensor of users that was given, their rows in what is computed."""
    item_rows: list[Tensor]
    """Likewise, of items."""


class NeighbourhoodSampler:
    """Draws neighbourhoods; cost and memory of a draw depend on the step and the fan-outs only."""

    def __init__(
        self,
        observed: TwoSidedNeighbours,
        order: Literal["alternating", "simultaneous"],
        layers: int,
        fan_outs: Sequence[int],
        generator: torch.Generator,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        """Prepare to draw.

        Args:
            observed: the graph of equations 2 and 10.
            order, layers: of equation 10.
            fan_outs: neighbours a node at the first hop away from the step's nodes, the second,
                ...; the last holds for all hops beyond.
            generator: on the CPU.
            device, dtype: of the sparse matrices.
        """
        self._observed = observed
        self._order, self._layers, self._fan_outs = order, layers, tuple(fan_outs)
        self._generator, self._device, self._dtype = generator, device, dtype
        n_users, n_items = observed.of_users.shape
        self._number_users, self._number_items = Renumbering(n_users), Renumbering(n_items)

    def draw(
        self,
        users: Sequence[Tensor],
        items: Sequence[Tensor],
        relations: Mapping[str, TwoSidedNeighbours],
        relations_at_start: bool,
    ) -> Neighbourhood:
        """The neighbourhood of some users and items.

        Args:
            users, items: what final vectors and features are needed for: int64 rows on any device.
            relations: the relation graph of each modality; empty where no relation embedding is
                needed.
            relations_at_start: whether all nodes of layer 0 need relation embeddings, or the step's
                own alone.
        """
        own_users, user_rows = self._number_users(*(rows.cpu().numpy() for rows in users))
        own_items, item_rows = self._number_items(*(rows.cpu().numpy() for rows in items))
        projected, features = self._feature_hops(own_users, own_items)
        start_users, start_items, layers, hop = self._propagation_hops(own_users, own_items)
        joined = start_users if relations_at_start else own_users
        joined_items = start_items if relations_at_start else own_items
        hop = hop if relations_at_start else 0
        drawn = {
            m: (
                self._draw_own(graph.of_users, joined, len(own_users), hop),
                graph.of_items.draw(joined_items, self._fan_out(hop), self._generator),
            )
            for m, graph in relations.items()
        }
        touched_users, user_numbers = self._number_users(
            start_users, *(of_items.neighbours for _, of_items in drawn.values())
        )
        touched_items, item_numbers = self._number_items(
            start_items, *(of_users.neighbours for of_users, _ in drawn.values())
        )
        related = {
            m: SampledGraph(
                self._matrix(of_users, item_numbers[j], touched_items),
                self._matrix(of_items, user_numbers[j], touched_users),
            )
            for j, (m, (of_users, of_items)) in enumerate(drawn.items(), start=1)
        }
        graphs = Graphs(
            users=len(own_users),
            items=len(own_items),
            start_users=len(start_users),
            start_items=len(start_items),
            features=features,
            relations=related,
            joined_users=rows_with_entries((g.to_users for g in related.values()), self._device),
            joined_items=rows_with_entries((g.to_items for g in related.values()), self._device),
            layers=layers,
        )
        return Neighbourhood(
            graphs,
            projected_items=self._tensor(projected),
            touched_users=self._tensor(touched_users),
            touched_items=self._tensor(touched_items),
            user_rows=[self._tensor(rows) for rows in user_rows],
            item_rows=[self._tensor(rows) for rows in item_rows],
        )

    def _feature_hops(self, users: Rows, items: Rows) -> tuple[Rows, SampledGraph]:
        """Equation 2, from its end: F of items from F of users, F of users from projections."""
        of_items = self._observed.of_items.draw(items, self._fan_out(0), self._generator)
        needed, numbers = self._number_users(users, of_items.neighbours)
        of_users = self._draw_own(self._observed.of_users, needed, len(users), 1)
        projected, item_numbers = self._number_items(of_users.neighbours)
        return projected, SampledGraph(
            self._matrix(of_users, item_numbers[0], projected),
            self._matrix(of_items, numbers[1], needed),
        )

    def _propagation_hops(
        self, own_users: Rows, own_items: Rows
    ) -> tuple[Rows, Rows, list[SampledGraph], int]:
        """Equation 10, from its last layer down; layer 0's users and items, and the hops made."""
        users, items = own_users, own_items
        graphs: list[SampledGraph] = []
        hop = 0
        for _ in range(self._layers):
            of_items = self._observed.of_items.draw(items, self._fan_out(hop), self._generator)
            sources, user_numbers = self._number_users(own_users, of_items.neighbours)
            to_items = self._matrix(of_items, user_numbers[1], sources)
            if self._order == "alternating":
                # Items gather from the users of the same layer, which gather in turn.
                users, hop = sources, hop + 1
            of_users = self._observed.of_users.draw(users, self._fan_out(hop), self._generator)
            items, item_numbers = self._number_items(own_items, of_users.neighbours)
            graphs.append(SampledGraph(self._matrix(of_users, item_numbers[1], items), to_items))
            # Of the user side, the layer before needs what gathers from it: nothing but the step's
            # own where items took the users just computed.
            users = own_users if self._order == "alternating" else sources
            hop += 1
        return users, items, graphs[::-1], hop

    def _draw_own(self, neighbours: Neighbours, nodes: Rows, own: int, hop: int) -> DrawnNeighbours:
        """As many as at the first hop for the step's own users, which the objectives compare.

        Their features and relation embeddings are one product away, wherever others' are.
        """
        return neighbours.draw(nodes[:own], self._fan_out(0), self._generator) + neighbours.draw(
            nodes[own:], self._fan_out(hop), self._generator
        )

    def _fan_out(self, hop: int) -> int:
        return self._fan_outs[min(hop, len(self._fan_outs) - 1)]

    def _matrix(self, drawn: DrawnNeighbours, numbers: Rows, sources: Rows) -> SparseMatrix:
        return SparseMatrix(drawn.matrix(numbers, len(sources)), self._device, self._dtype)

    def _tensor(self, rows: Rows) -> Tensor:
        return torch.from_numpy(rows).to(self._device)
