"""Walk graphs against matrix powers in numpy."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mmssl.data.random_walks import walk_graph


def powers(observed: np.ndarray, steps: int) -> np.ndarray:
    """T + .. + T^n without its diagonal, densely."""

    def shares(matrix):
        sums = matrix.sum(axis=1, keepdims=True)
        return np.divide(matrix, sums, out=np.zeros_like(matrix), where=sums > 0)

    step = shares(observed.T.astype(float)) @ shares(observed.astype(float))
    total = sum(np.linalg.matrix_power(step, n) for n in range(1, steps + 1))
    np.fill_diagonal(total, 0)
    return total


def test_a_walk_takes_each_user_and_each_of_the_users_items_alike():
    # User 0 has items 0 and 1; user 1 has 1, 2 and 3; nobody has 4.
    observed = sp.csr_array(np.array([[1, 1, 0, 0, 0], [0, 1, 1, 1, 0]]))
    found = walk_graph(observed, steps=1, neighbours=5).toarray()
    np.testing.assert_allclose(found[0], [0, 1 / 2, 0, 0, 0])
    np.testing.assert_allclose(found[1], [1 / 4, 0, 1 / 6, 1 / 6, 0], rtol=1e-6)
    np.testing.assert_allclose(found[2], [0, 1 / 3, 0, 1 / 3, 0], rtol=1e-6)
    assert not found[4].any()
    # Two steps from item 0: back to it (which is left out), or on through item 1 to 2 and 3.
    two = walk_graph(observed, steps=2, neighbours=5).toarray()
    np.testing.assert_allclose(two[0, 2], 1 / 2 * 1 / 6, rtol=1e-6)


@given(
    observed=hnp.arrays(np.int8, st.tuples(st.integers(1, 6), st.integers(1, 7)),
                        elements=st.integers(0, 1)),
    steps=st.integers(1, 4),
    neighbours=st.integers(1, 8),
    block=st.integers(1, 8),
)  # fmt: skip
def test_it_is_the_sum_of_the_steps_powers_cut_to_the_largest(observed, steps, neighbours, block):
    found = walk_graph(sp.csr_array(observed), steps, neighbours, block)
    wanted = powers(observed, steps)
    entries = np.diff(found.indptr)
    assert (entries == np.minimum((wanted > 0).sum(axis=1), neighbours)).all()
    assert found.dtype == np.float32
    assert found.has_sorted_indices
    kept = found.toarray()
    np.testing.assert_allclose(kept[kept > 0], wanted[kept > 0], rtol=1e-5)
    for row in range(len(wanted)):
        if entries[row]:
            left_out = wanted[row][kept[row] == 0]
            smallest = kept[row][kept[row] > 0].min()
            assert (left_out <= smallest * (1 + 1e-5)).all()


def test_of_equal_chances_the_lower_item_rows_are_kept():
    everybody = sp.csr_array(np.ones((3, 5)))
    found = walk_graph(everybody, steps=2, neighbours=2)
    assert found.indices.reshape(5, 2).tolist() == [[1, 2], [0, 2], [0, 1], [0, 1], [0, 1]]


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (2, 3)])
def test_without_interactions_nothing_is_reached(shape):
    found = walk_graph(sp.csr_array(shape, dtype=np.float32), steps=2, neighbours=2)
    assert found.shape == (shape[1], shape[1])
    assert found.nnz == 0
