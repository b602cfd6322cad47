import numpy as np
import pytest
import torch

from mmssl.data.item_graphs import (
    cosines_of,
    frozen_graph,
    nearest_items,
    neighbour_matrix,
    symmetric,
    weighted_sum,
)
from tests.mmssl.baselines.by_hand import neighbours_by_hand, symmetric_by_hand


def drawn(n=23, dim=5, absent=(3, 17)):
    vectors = torch.randn(n, dim, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    present = torch.ones(n, dtype=torch.bool)
    present[list(absent)] = False
    return vectors, present


@pytest.mark.parametrize("itself", [True, False])
@pytest.mark.parametrize("block", [None, 1, 7])
def test_neighbours_are_those_of_all_cosines_whatever_the_block(itself, block):
    vectors, present = drawn()
    found = nearest_items(vectors, present, 4, itself=itself, block=block)
    graph = neighbour_matrix(found.items, found.similarities.clamp(min=0)).toarray()
    wanted = neighbours_by_hand(vectors.numpy(), present.numpy(), 4, itself=itself)
    np.testing.assert_allclose(graph, wanted, rtol=1e-12)
    assert (found.items[~present] == -1).all()
    assert not np.isin(found.items, [3, 17]).any()


def test_a_short_catalogue_gives_short_lists():
    vectors, present = drawn(n=4, absent=(3,))
    found = nearest_items(vectors, present, 10, itself=False)
    assert found.items.shape == (4, 4)
    assert ((found.items >= 0).sum(dim=1) == torch.tensor([2, 2, 2, 0])).all()
    assert (found.similarities[found.items < 0] == 0).all()


def test_equal_cosines_go_to_the_lower_row_and_lengths_do_not_matter():
    vectors = torch.tensor([[1.0, 0], [0, 1], [2, 0], [0, 3], [1e30, 0], [0, 1e-30]])
    found = nearest_items(vectors, torch.ones(6, dtype=torch.bool), 2, itself=False)
    assert found.items.tolist() == [[2, 4], [3, 5], [0, 4], [1, 5], [0, 2], [1, 3]]
    torch.testing.assert_close(found.similarities, torch.ones(6, 2))


@pytest.mark.parametrize("broken", [torch.nan, torch.inf])
def test_broken_vectors_have_no_neighbours_to_be_found(broken):
    vectors, present = drawn()
    vectors[5, 1] = broken
    with pytest.raises(FloatingPointError, match="diverged"):
        nearest_items(vectors, present, 4, itself=True)


@pytest.mark.parametrize("weights", ["cosine", "ones"])
def test_the_frozen_graph_is_normalised_on_both_sides(weights):
    vectors, present = drawn()
    graph = frozen_graph(vectors, present, 3, weights)
    ones = weights == "ones"
    by_hand = neighbours_by_hand(vectors.numpy(), present.numpy(), 3, itself=True, ones=ones)
    np.testing.assert_allclose(graph.toarray(), symmetric_by_hand(by_hand), rtol=1e-12)


def test_gradients_flow_through_cosines_and_normalisation():
    vectors, present = drawn(n=6, dim=3, absent=(2,))
    items = nearest_items(vectors, present, 3, itself=True).items
    vectors.requires_grad_()
    # Clamped entries have no derivative to compare at zero; none is that near to it.
    assert torch.autograd.gradcheck(lambda v: symmetric(items, cosines_of(v, items)), [vectors])


def test_graphs_add_up_by_weight():
    vectors, present = drawn()
    one, two = (frozen_graph(vectors, present, k, "cosine") for k in (2, 5))
    total = weighted_sum([one, two], [0.25, 2.0])
    np.testing.assert_allclose(total.toarray(), 0.25 * one.toarray() + 2 * two.toarray())
