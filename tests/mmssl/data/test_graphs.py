import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mmssl.data.graphs import (
    Adjacency,
    BipartiteGraph,
    binary,
    csr_arrays,
    csr_tensors,
)
from mmssl.data.sparse import SparseMatrix

CPU = torch.device("cpu")
edges = st.tuples(st.integers(1, 7), st.integers(1, 7)).flatmap(
    lambda shape: arrays(np.int8, shape, elements=st.integers(0, 1))
)


def dense(matrix: SparseMatrix) -> np.ndarray:
    identity = torch.eye(matrix.shape[1], dtype=torch.float64)
    return (matrix @ identity).numpy()


@given(edges)
def test_row_normalisation_divides_each_row_by_the_root_of_its_own_degree(observed):
    graph = BipartiteGraph(sp.csr_array(observed), "row", dtype=torch.float64)
    users = observed * ((observed.sum(1, keepdims=True) + 1e-8) ** -0.5)
    items = observed.T * ((observed.T.sum(1, keepdims=True) + 1e-8) ** -0.5)
    np.testing.assert_allclose(dense(graph.to_users), users, atol=1e-12)
    np.testing.assert_allclose(dense(graph.to_items), items, atol=1e-12)


@given(edges)
def test_symmetric_normalisation_divides_by_both_roots(observed):
    graph = BipartiteGraph(sp.csr_array(observed), "symmetric", dtype=torch.float64)
    by_user = (observed.sum(1, keepdims=True) + 1e-8) ** -0.5
    by_item = (observed.sum(0, keepdims=True) + 1e-8) ** -0.5
    np.testing.assert_allclose(dense(graph.to_users), observed * by_user * by_item, atol=1e-12)
    np.testing.assert_allclose(dense(graph.to_items), dense(graph.to_users).T, atol=1e-12)


@given(edges)
def test_membership_and_blocks_are_those_of_the_matrix(observed):
    adjacency = Adjacency(sp.csr_array(observed), CPU)
    n_users, n_items = observed.shape
    users, items = (torch.as_tensor(x.ravel()) for x in np.indices(observed.shape))
    assert (
        adjacency.contains(users, items).numpy().tolist() == observed.ravel().astype(bool).tolist()
    )
    some_users = torch.arange(n_users - 1, -1, -1)
    some_items = torch.arange(0, n_items, 2)
    block = adjacency.block(some_users, some_items, torch.float32)
    np.testing.assert_array_equal(block, observed[::-1, ::2])


@pytest.mark.parametrize("stored", [np.array([[2.0, 0.0], [0.0, 5.0]])])
def test_binary_sets_stored_entries_to_one_and_leaves_its_argument_alone(stored):
    matrix = sp.csr_array(stored)
    assert binary(matrix).toarray().tolist() == [[1, 0], [0, 1]]
    assert matrix.toarray().tolist() == stored.tolist()


@given(edges)
def test_patterns_survive_as_tensors_with_their_names_and_order(observed):
    graphs = {"image/large": sp.csr_array(observed), "audio": sp.csr_array(observed.shape)}
    back = csr_arrays(csr_tensors(graphs), observed.shape)
    assert list(back) == ["image/large", "audio"]
    for name, graph in graphs.items():
        np.testing.assert_array_equal(back[name].toarray(), graph.toarray())


@pytest.mark.parametrize(
    ("crow", "col"), [([0, 1], [0]), ([0, 2, 1], [0]), ([0, 1, 2], [0, 3]), ([0, 1, 2], [0, -1])]
)
def test_a_pattern_that_does_not_fit_is_refused(crow, col):
    with pytest.raises(ValueError, match=r"^g: "):
        csr_arrays({"g.crow": torch.tensor(crow), "g.col": torch.tensor(col)}, (2, 3))
