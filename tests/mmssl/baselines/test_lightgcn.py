from math import exp, log, sqrt

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from mmssl.baselines.lightgcn import LightGCN, LightGCNConfig
from mmssl.data.sampling import Batch


def model(observed, **settings) -> LightGCN:
    config = LightGCNConfig.model_validate(settings)
    edges = csr_array(np.array(observed, dtype=np.float32))
    torch.manual_seed(0)
    return LightGCN(config, edges, {}, torch.Generator(), dtype=torch.float64)


def given(model: LightGCN, users, items) -> LightGCN:
    with torch.no_grad():
        model.user_id[:] = torch.tensor(users)
        model.item_id[:] = torch.tensor(items)
    return model


def test_one_layer_by_hand():
    # Users 0 and 1 have 2 and 1 items, items 0 and 1 have 1 and 2 users.
    two = given(model([[1, 1], [0, 1]], layers=1, embedding_dim=1), [[2.0], [4.0]], [[6.0], [8.0]])
    users, items = two.final()
    up = [6 / sqrt(2 * 1) + 8 / sqrt(2 * 2), 8 / sqrt(1 * 2)]
    down = [2 / sqrt(1 * 2), 2 / sqrt(2 * 2) + 4 / sqrt(2 * 1)]
    assert users.flatten().tolist() == pytest.approx([(2 + up[0]) / 2, (4 + up[1]) / 2])
    assert items.flatten().tolist() == pytest.approx([(6 + down[0]) / 2, (8 + down[1]) / 2])


def test_vectors_are_the_mean_of_powers_of_the_normalised_adjacency():
    # The last user and the last item have no interaction: they keep a share of their own vectors.
    observed = np.array([[1, 1, 0, 0], [0, 1, 1, 0], [1, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0]])
    gcn = model(observed, layers=3, embedding_dim=6)
    adjacency = np.zeros((9, 9))
    adjacency[:5, 5:], adjacency[5:, :5] = observed, observed.T
    degrees = adjacency.sum(axis=1)
    root = np.diag(np.where(degrees > 0, np.maximum(degrees, 1) ** -0.5, 0))
    normalised = root @ adjacency @ root
    start = torch.cat([gcn.user_id, gcn.item_id]).detach().numpy()
    wanted = sum(np.linalg.matrix_power(normalised, power) @ start for power in range(4)) / 4
    found = torch.cat(gcn.final()).detach().numpy()
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(found[4], start[4] / 4)
    users, items = gcn.embeddings()
    np.testing.assert_allclose(torch.cat([users, items]).numpy(), wanted, rtol=1e-5, atol=1e-6)


def test_its_objective_by_hand():
    gcn = given(
        model([[1, 1], [0, 1], [0, 1]], layers=1, embedding_dim=1, embedding_l2=0.5),
        [[1.0], [-2.0], [9.0]],
        [[3.0], [0.5]],
    )
    users, items = (side.flatten().tolist() for side in gcn.final())
    parts = gcn.losses(Batch(torch.tensor([0, 1]), torch.tensor([0, 1]), torch.tensor([1, 0])))
    margins = users[0] * (items[0] - items[1]), users[1] * (items[1] - items[0])
    assert parts["bpr"].item() == pytest.approx(sum(log(1 + exp(-m)) for m in margins) / 2)
    # Layer 0, of the batch alone: two users, and each of the items twice.
    squares = 1 + 4 + 2 * (9 + 0.25)
    assert parts["embedding_l2"].item() == pytest.approx(0.5 * 0.5 * squares / 2)
    assert set(parts) == {"bpr", "embedding_l2"}
