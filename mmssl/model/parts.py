"""What of the final vectors each modality's media brought; what is left came from interactions."""

from collections.abc import Mapping, Sequence

import scipy.sparse as sp
import torch
from torch import Tensor

from mmssl.data.graphs import Graph
from mmssl.data.sparse import SparseMatrix
from mmssl.model.attention import CrossModalAttention
from mmssl.model.config import BackboneConfig
from mmssl.model.side_graphs import SideGraphs
from mmssl.model.views import Views
from mmssl.vectors import TwoSided, unit_rows


def modality_parts(
    views: Views,
    ids: TwoSided,
    attention: CrossModalAttention,
    layers: Sequence[Graph],
    beside: SideGraphs,
    backbone: BackboneConfig,
) -> dict[str, TwoSided]:
    """The part of h (METHOD equations 8 to 11) that came by each modality.

    Three ways lead from a modality to h: omega F^m/|F^m| of equation 11; its share of eta Z/|Z| in
    layer 0, carried along the graph; and the frozen graph of its nearest items, where all that an
    item gets from its neighbours counts as the modality's, whatever the neighbours had it from.
    Propagation is linear, so that these add up. Under ``final_softmax`` it is not: then the first
    way alone is told, and the rest counts as collaborative.

    Args:
        views: of all users and items, dropout and noise off.
        ids: E of both sides.
        attention: equation 9.
        layers: the graphs of equation 10, layer 1 first.
        beside: the frozen graphs.
        backbone: eta, omega, and how layers follow each other.

    Returns:
        By modality: users (U, d), items (I, d).
    """
    parts = {
        m: TwoSided(torch.zeros_like(ids.user), torch.zeros_like(ids.item)) for m in views.features
    }
    if not backbone.final_softmax:
        start = _starts(views.relations, attention, backbone.relation_rate) or parts
        parts = _propagated(start, ids, layers, beside, backbone)
    if backbone.feature_rate:
        parts = {
            m: TwoSided(
                part.user + backbone.feature_rate * unit_rows(views.features[m].user),
                part.item + backbone.feature_rate * unit_rows(views.features[m].item),
            )
            for m, part in parts.items()
        }
    return parts


def _starts(
    relations: Mapping[str, TwoSided], attention: CrossModalAttention, rate: float
) -> dict[str, TwoSided]:
    """Each modality's share of eta Z/|Z|; none where eta is 0."""
    if not rate:
        return {}

    def shares(sides: list[Tensor]) -> list[Tensor]:
        by_modality = attention.by_modality(sides)
        length = torch.stack(by_modality).sum(dim=0).norm(dim=1, keepdim=True)
        there = length > 1e-12
        scale = torch.where(there, rate / torch.where(there, length, 1.0), 0.0)
        return [scale * share for share in by_modality]

    users = shares([side.user for side in relations.values()])
    items = shares([side.item for side in relations.values()])
    return {m: TwoSided(u, i) for m, u, i in zip(relations, users, items, strict=True)}


def _propagated(
    start: Mapping[str, TwoSided],
    ids: TwoSided,
    layers: Sequence[Graph],
    beside: SideGraphs,
    backbone: BackboneConfig,
) -> dict[str, TwoSided]:
    """The parts of c: the same recursion as ``propagate``, for the parts and for their total."""
    parts = dict(start)
    whole = TwoSided(
        ids.user + torch.stack([part.user for part in parts.values()]).sum(dim=0),
        ids.item + torch.stack([part.item for part in parts.values()]).sum(dim=0),
    )
    sums = dict(parts)

    def step(graph: Graph, side: TwoSided, beside_items: Tensor | None) -> TwoSided:
        """A layer's sides from those below, and what its items get besides from items."""
        next_user = graph.to_users @ side.item
        if beside.users is not None:
            next_user = next_user + beside.users @ side.user
        alternating = backbone.propagation_order == "alternating"
        next_item = graph.to_items @ (next_user if alternating else side.user)
        return TwoSided(next_user, next_item if beside_items is None else next_item + beside_items)

    own, media = _own_and_media(beside, whole.item)
    for graph in layers:
        following = {}
        for m, part in parts.items():
            # An item among its own neighbours: what it keeps stays of the kind that it was.
            kept = None if own is None else own[:, None] * part.item + media[m] @ whole.item
            following[m] = step(graph, part, kept)
        whole = step(graph, whole, None if beside.items is None else beside.items @ whole.item)
        parts = following
        sums = {
            m: TwoSided(sums[m].user + part.user, sums[m].item + part.item)
            for m, part in parts.items()
        }
    count = len(layers) + 1
    return {m: TwoSided(part.user / count, part.item / count) for m, part in sums.items()}


def _own_and_media(
    beside: SideGraphs, like: Tensor
) -> tuple[Tensor | None, dict[str, SparseMatrix]]:
    """What an item sends itself along all frozen graphs, (I,), and the rest of each of them."""
    if not beside.item_graphs:
        return None, {}
    diagonals = {m: graph.diagonal() for m, graph in beside.item_graphs.items()}
    media = {
        m: SparseMatrix(sp.csr_array(graph - sp.diags_array(diagonals[m])), like.device, like.dtype)
        for m, graph in beside.item_graphs.items()
    }
    own = torch.as_tensor(sum(diagonals.values()), dtype=like.dtype, device=like.device)
    return own, media
