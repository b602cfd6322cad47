"""Frozen graphs within one side, and what propagation makes of them."""

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from mmssl.data.dataset import ModalityFeatures
from mmssl.data.graphs import BipartiteGraph
from mmssl.data.sparse import SparseMatrix
from mmssl.model.config import NeighbourConfig
from mmssl.model.propagation import propagate
from mmssl.model.side_graphs import SideGraphs, build_side_graphs
from mmssl.vectors import TwoSided

CPU = torch.device("cpu")
# Users 0 and 1 share two items, 2 shares one with 1, and 3 has none.
OBSERVED = sp.csr_array(
    np.array([[1, 1, 0, 0], [1, 1, 1, 0], [0, 0, 1, 0], [0, 0, 0, 0]], dtype=np.float32)
)


def features(vectors, present=(True,) * 4) -> ModalityFeatures:
    present = np.array(present)
    return ModalityFeatures(
        np.array(vectors, dtype=np.float32) * present[:, None], present, None, ""
    )


def dense(matrix: SparseMatrix) -> np.ndarray:
    return (matrix @ torch.eye(matrix.shape[1], dtype=torch.float64)).numpy()


def built(features, **settings) -> SideGraphs:
    return build_side_graphs(NeighbourConfig(**settings), OBSERVED, features, CPU, torch.float64)


def test_by_default_there_are_none():
    graphs = built({"image": features(np.eye(4))})
    assert graphs.users is None
    assert graphs.items is None


def test_users_are_joined_by_what_they_have_in_common():
    found = dense(built({}, user_rate=0.5, users=1).users)
    # cos(0, 1) = 2 / sqrt(2 * 3); cos(2, 1) = 1 / sqrt(3); one neighbour each, and oneself.
    near, far = 2 / np.sqrt(6), 1 / np.sqrt(3)
    weights = np.array([[1, near, 0, 0], [near, 1, 0, 0], [0, far, 1, 0], [0, 0, 0, 0]])
    sums = weights.sum(axis=1)
    roots = np.array([s**-0.5 if s else 0 for s in sums])
    np.testing.assert_allclose(found, 0.5 * roots[:, None] * weights * roots, rtol=1e-6)


def test_items_are_joined_by_each_modality_with_equal_weight():
    image = features([[1, 0], [1, 0.1], [-1, 0], [-1, 0.1]])
    sound = features([[1, 0], [-1, 0], [1, 0.1], [5, 5]], (True, True, True, False))
    found = dense(built({"image": image, "sound": sound}, item_rate=2.0, items=2).items)
    # An item is the first of its own two; ones, row sums of two: every entry is a half.
    of_image = np.array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]]) / 2
    alone = dense(built({"sound": sound}, item_rate=1.0, items=2).items)
    assert not alone[3].any()
    assert not alone[:, 3].any()
    np.testing.assert_allclose(alone[:3].sum(axis=1), 1, rtol=1e-6)
    assert alone[0, 2] == alone[2, 0] == pytest.approx(0.5)
    np.testing.assert_allclose(found, 2.0 * (of_image + alone) / 2, rtol=1e-6)


def test_propagation_adds_them_in_every_layer():
    draw = torch.Generator().manual_seed(0)
    start = TwoSided(*(torch.randn(4, 3, dtype=torch.float64, generator=draw) for _ in range(2)))
    graphs = built(
        {"image": features(np.eye(4) + 1)}, user_rate=0.5, users=2, item_rate=0.25, items=2
    )
    joint = BipartiteGraph(OBSERVED, "symmetric", dtype=torch.float64)
    adjacency = np.zeros((8, 8))
    adjacency[:4, 4:] = (joint.to_users @ torch.eye(4, dtype=torch.float64)).numpy()
    adjacency[4:, :4] = (joint.to_items @ torch.eye(4, dtype=torch.float64)).numpy()
    adjacency[:4, :4], adjacency[4:, 4:] = dense(graphs.users), dense(graphs.items)
    layer = np.concatenate([start.user, start.item])
    layers = [np.linalg.matrix_power(adjacency, n) @ layer for n in range(3)]
    ours = propagate(start, [joint] * 2, "simultaneous", beside=graphs)
    np.testing.assert_allclose(
        np.concatenate([ours.user, ours.item]), np.mean(layers, axis=0), atol=1e-6
    )
