"""Frozen graphs within one side: what the nearest items, or users, add in propagation."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import scipy.sparse as sp
import torch

from mmssl.data.co_occurrence import cosine_neighbours
from mmssl.data.dataset import ModalityFeatures
from mmssl.data.item_graphs import frozen_graph, weighted_sum
from mmssl.data.sparse import SparseMatrix
from mmssl.model.config import NeighbourConfig


@dataclass(frozen=True)
class SideGraphs:
    """What ``propagate`` adds to each layer's users and items; None: nothing."""

    users: SparseMatrix | None
    """(U, U), the rate included."""
    items: SparseMatrix | None
    """(I, I), the rate included."""
    item_graphs: Mapping[str, sp.csr_array] = field(default_factory=dict)
    """What each modality adds to ``items``: (I, I), the rate included."""


def build_side_graphs(
    config: NeighbourConfig,
    observed: sp.csr_array,
    features: Mapping[str, ModalityFeatures],
    device: torch.device,
    dtype: torch.dtype,
) -> SideGraphs:
    """The graphs that the configuration asks for, made once.

    Items: the mean over modalities of D^(-1/2) W D^(-1/2), W the k nearest items by the cosine of
    centred raw features, an item among its own. Users: the same form of the k users of the highest
    cosine of their interactions, a user among its own where it has any.

    Args:
        config: rates and numbers of neighbours.
        observed: (U, I) training interactions.
        features: raw embeddings by modality.
        device, dtype: of the graphs.
    """
    items = users = None
    graphs: dict[str, sp.csr_array] = {}
    if config.item_rate > 0:
        rate = config.item_rate / len(features)
        for modality, given in features.items():
            present = torch.as_tensor(given.present)
            vectors = torch.as_tensor(given.vectors).float()
            centred = (vectors - vectors[present].mean(dim=0)) * present[:, None]
            graph = frozen_graph(centred, present, config.items, "ones")
            graphs[modality] = sp.csr_array(rate * graph)
        total = weighted_sum(list(graphs.values()), [1.0] * len(graphs))
        items = SparseMatrix(total, device, dtype)
    if config.user_rate > 0:
        nearest = cosine_neighbours(sp.csr_array(observed.T), config.users)
        active = (np.diff(observed.indptr) > 0).astype(np.float32)
        graph = config.user_rate * _symmetric(nearest + sp.diags_array(active))
        users = SparseMatrix(sp.csr_array(graph), device, dtype)
    return SideGraphs(users, items, graphs)


def _symmetric(weights: sp.csr_array) -> sp.csr_array:
    """D^(-1/2) W D^(-1/2), D the diagonal of W's row sums; empty rows stay so."""
    sums = np.asarray(weights.sum(axis=1), dtype=np.float64)
    roots = np.divide(1, np.sqrt(sums), out=np.zeros_like(sums), where=sums > 0)
    scale = sp.diags_array(roots)
    return sp.csr_array((scale @ weights @ scale).astype(np.float32))
