import numpy as np
import pytest
import scipy.sparse as sp
import torch

from mmssl.data.graphs import BipartiteGraph
from mmssl.model.propagation import propagate
from mmssl.vectors import TwoSided

OBSERVED = np.array([[1, 1, 0], [0, 1, 1]])


@pytest.fixture
def start() -> TwoSided:
    draw = torch.Generator().manual_seed(0)
    sides = [torch.randn(n, 2, dtype=torch.float64, generator=draw) for n in (2, 3)]
    return TwoSided(*sides)


def symmetric() -> BipartiteGraph:
    return BipartiteGraph(sp.csr_array(OBSERVED), "symmetric", dtype=torch.float64)


def test_simultaneous_is_the_power_series_of_the_joint_adjacency(start):
    """LightGCN: the mean of A^l E over layers, A the symmetric adjacency of users and items."""
    adjacency = np.zeros((5, 5))
    adjacency[:2, 2:], adjacency[2:, :2] = OBSERVED, OBSERVED.T
    roots = np.diag((adjacency.sum(1) + 1e-8) ** -0.5)
    normalised = roots @ adjacency @ roots
    joint = np.concatenate([start.user, start.item])
    layers = [np.linalg.matrix_power(normalised, n) @ joint for n in range(4)]
    ours = propagate(start, [symmetric()] * 3, "simultaneous")
    np.testing.assert_allclose(
        np.concatenate([ours.user, ours.item]), np.mean(layers, axis=0), atol=1e-9
    )


def test_alternating_never_carries_user_embeddings_to_items(start):
    other_users = TwoSided(start.user + 1, start.item)
    graph = symmetric()
    ours = propagate(start, [graph] * 2, "alternating")
    moved = propagate(other_users, [graph] * 2, "alternating")
    torch.testing.assert_close(ours.item, moved.item)
    reached = propagate(other_users, [graph] * 2, "simultaneous").item
    assert not torch.allclose(propagate(start, [graph] * 2, "simultaneous").item, reached)


def test_no_layers_gives_the_start(start):
    ours = propagate(start, [], "alternating")
    torch.testing.assert_close(ours.user, start.user)


def test_the_final_softmax_squashes_the_last_layer_only(start):
    graph = symmetric()
    ours = propagate(start, [graph], "alternating", final_softmax=True)
    user = (graph.to_users @ start.item).softmax(dim=1)
    item = (graph.to_items @ user).softmax(dim=1)
    torch.testing.assert_close(ours.user, (start.user + user) / 2)
    torch.testing.assert_close(ours.item, (start.item + item) / 2)


def test_what_perturbs_a_layer_reaches_the_next_and_the_mean_but_not_the_start(start):
    graph = symmetric()
    ours = propagate(start, [graph] * 2, "simultaneous", perturb=lambda vectors: vectors + 1)
    user_1, item_1 = graph.to_users @ start.item + 1, graph.to_items @ start.user + 1
    user_2, item_2 = graph.to_users @ item_1 + 1, graph.to_items @ user_1 + 1
    torch.testing.assert_close(ours.user, (start.user + user_1 + user_2) / 3)
    torch.testing.assert_close(ours.item, (start.item + item_1 + item_2) / 3)
