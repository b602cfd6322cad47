import numpy as np
import pytest
import scipy.sparse as sp
import torch
from sklearn.preprocessing import StandardScaler

from mmssl.data.graphs import BipartiteGraph
from mmssl.model.features import Projection, feature_l2, gather_features, scale
from mmssl.vectors import TwoSided

VECTORS = torch.tensor([[1.0, 10.0], [3.0, 10.0], [0.0, 0.0], [5.0, 40.0]])
PRESENT = torch.tensor([True, True, False, True])


def test_standardise_uses_only_the_items_that_have_the_modality():
    ours = scale(VECTORS, PRESENT, "standardise")
    theirs = StandardScaler().fit_transform(VECTORS[PRESENT].numpy())
    np.testing.assert_allclose(ours[PRESENT], theirs, rtol=1e-5)
    assert ours[2].tolist() == [0, 0]


@pytest.mark.parametrize("constant", [7.0, 0.1, 1.7, 123.456, 0.0])
def test_a_constant_column_becomes_zero_not_rounding_blown_up(constant):
    vectors = torch.full((6710, 2), constant)
    vectors[:, 0] = torch.linspace(-1, 1, 6710)
    ours = scale(vectors, torch.ones(6710, dtype=torch.bool), "standardise")
    assert ours[:, 1].abs().max() == 0
    np.testing.assert_allclose(ours[:, 0].std(correction=0), 1, rtol=1e-4)


def test_unit_takes_vectors_of_any_size():
    ours = scale(VECTORS * 1e30, PRESENT, "unit")
    torch.testing.assert_close(ours, scale(VECTORS, PRESENT, "unit"))


def test_unit_removes_the_mean_and_gives_rows_of_length_one():
    ours = scale(VECTORS, PRESENT, "unit")
    centred = VECTORS[PRESENT] - torch.tensor([3.0, 20.0])
    np.testing.assert_allclose(
        ours[PRESENT], centred / centred.norm(dim=1, keepdim=True), rtol=1e-6
    )
    assert ours[2].tolist() == [0, 0]


def test_none_leaves_vectors_alone_and_absent_rows_zero():
    odd = torch.where(PRESENT[:, None], VECTORS, 99.0)
    assert torch.equal(scale(odd, PRESENT, "none"), VECTORS)


@pytest.mark.parametrize("missing", ["zero", "mean", "learned"])
def test_what_stands_for_a_missing_modality(missing):
    torch.manual_seed(0)
    projection = Projection(VECTORS, PRESENT, 3, missing, dropout=0.0)
    with torch.no_grad():
        projection.linear.bias.fill_(0.5)
        if projection.absent is not None:
            projection.absent.copy_(torch.tensor([1.0, 2.0, 3.0]))
    rows = projection().detach()
    expected = {
        "zero": torch.zeros(3),
        "mean": projection.linear(VECTORS[PRESENT].mean(dim=0)).detach(),
        "learned": torch.tensor([1.0, 2.0, 3.0]),
    }[missing]
    torch.testing.assert_close(rows[2], expected)
    torch.testing.assert_close(rows[PRESENT], projection.linear(VECTORS[PRESENT]).detach())


def test_the_learned_vector_is_trained_and_a_zero_one_sends_no_gradient():
    projection = Projection(VECTORS, PRESENT, 3, "learned", dropout=0.0)
    projection()[2].sum().backward()
    assert projection.absent.grad.tolist() == [1, 1, 1]
    assert projection.linear.weight.grad.abs().sum() == 0


def test_features_are_gathered_from_items_to_users_and_back():
    observed = np.array([[1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]])
    graph = BipartiteGraph(sp.csr_array(observed), dtype=torch.float64)
    sides = gather_features({"image": VECTORS.double()}, graph)["image"]
    to_users = np.diag([2**-0.5, 1, 0]) @ observed
    to_items = np.diag([1, 2**-0.5, 0, 0]) @ observed.T
    np.testing.assert_allclose(sides.user, to_users @ VECTORS.numpy(), atol=1e-6)
    np.testing.assert_allclose(sides.item, to_items @ to_users @ VECTORS.numpy(), atol=1e-6)


def test_feature_l2_by_hand():
    sides = {"a": TwoSided(torch.ones(2, 2), torch.full((4, 2), 2.0))}
    assert feature_l2(sides).item() == 0.5 * (4 + 32) / 4
