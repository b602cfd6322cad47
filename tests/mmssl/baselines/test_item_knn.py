import tracemalloc
from math import sqrt

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from scipy.sparse import random_array as random_sparse
from sklearn.metrics.pairwise import cosine_similarity

from mmssl.baselines.item_knn import ItemKNN, ItemKNNConfig
from mmssl.contract import ItemGraphModel
from mmssl.data.co_occurrence import cosine_neighbours

# Items 0 and 1 share users 0 and 1, items 1 and 2 user 2; item 3 has no user.
TRAIN = csr_array(np.array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 1, 1, 0]], dtype=np.float32))


def dense_neighbours(observed: np.ndarray, count: int, shrinkage: float) -> np.ndarray:
    """The same, all at once: cosines by scikit-learn, shrunk, each row sorted."""
    lengths = np.sqrt(observed.sum(axis=0))
    norms = np.outer(lengths, lengths)
    cosines = cosine_similarity(observed.T.astype(np.float64))
    similarities = cosines * norms / np.maximum(norms + shrinkage, 1e-12)
    np.fill_diagonal(similarities, 0)
    for row in similarities:
        # Rounded, since scikit-learn's equal cosines differ in their last bits.
        order = np.argsort(-np.round(row, 9), kind="stable")
        row[order[count:]] = 0
    return similarities


def test_similarities_and_scores_by_hand():
    model = ItemKNN(ItemKNNConfig(), TRAIN, {}, torch.Generator())
    s01, s12 = 2 / sqrt(2 * 3), 1 / sqrt(3 * 1)
    wanted = [[0, s01, 0, 0], [s01, 0, s12, 0], [0, s12, 0, 0], [0, 0, 0, 0]]
    np.testing.assert_allclose(model.item_graph().toarray(), wanted, rtol=1e-6)
    assert model.item_graph().dtype == np.float32
    # User 2 has items 1 and 2, user 0 items 0 and 1.
    scores = model.score()(torch.tensor([2, 0]))
    np.testing.assert_allclose(scores.numpy(), [[s01, s12, s12, 0], [s01, s01, s12, 0]], rtol=1e-6)
    assert isinstance(model, ItemGraphModel)


def test_shrinkage_is_added_to_the_denominator():
    found = cosine_neighbours(TRAIN, 4, shrinkage=2.0).toarray()
    assert found[0, 1] == pytest.approx(2 / (sqrt(6) + 2))
    assert found[1, 2] == pytest.approx(1 / (sqrt(3) + 2))


def test_an_item_keeps_its_nearest_only():
    found = cosine_neighbours(TRAIN, 1).toarray()
    # Item 1 keeps item 0 (.82) and not item 2 (.58), which keeps item 1 all the same.
    assert found.astype(bool).tolist() == [
        [False, True, False, False],
        [True, False, False, False],
        [False, True, False, False],
        [False, False, False, False],
    ]


def test_of_equal_similarities_the_lower_rows_come_first():
    everyone = csr_array(np.ones((3, 6), dtype=np.float32))
    found = cosine_neighbours(everyone, 2).toarray()
    assert [row.nonzero()[0].tolist() for row in found] == [
        *([1, 2], [0, 2], [0, 1]),
        *([0, 1], [0, 1], [0, 1]),
    ]


def test_cosines_that_differ_by_rounding_alone_are_equal():
    # Item 0 has n users. Of the others' m users c are among them, c^2 = m: c / sqrt(n m) is
    # 1 / sqrt(n), whose last bit depends on c and m.
    for n in range(50, 120):
        sizes = (9, 3), (1, 1), (25, 5), (49, 7)
        users = n + sum(size for size, _ in sizes)
        observed = np.zeros((users, 5), dtype=np.float32)
        observed[:n, 0] = 1
        outside = n
        for item, (size, common) in enumerate(sizes, start=1):
            observed[:common, item] = 1
            observed[outside : outside + size - common, item] = 1
            outside += size - common
        kept = cosine_neighbours(csr_array(observed), 2)[[0]]
        assert kept.indices.tolist() == [1, 2], n


def test_a_stored_zero_is_no_interaction_and_a_count_is_one():
    # User 0 has items 0 and 1, as often as it may be, and not item 2; user 2 has item 2.
    counts = csr_array((np.float32([3, 5, 0, 2]), [0, 1, 2, 2], [0, 3, 3, 4]), shape=(3, 3))
    wanted = [[0, 1, 0], [1, 0, 0], [0, 0, 0]]
    assert cosine_neighbours(counts, 4).toarray().tolist() == wanted


@settings(max_examples=40, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 20), st.integers(1, 25)),
    density=st.floats(0, 1),
    count=st.integers(1, 30),
    shrinkage=st.sampled_from([0.0, 0.5, 10.0]),
    block=st.sampled_from([1, 17, 2**21]),
    seed=st.integers(0, 2**32 - 1),
)
def test_equals_sorting_all_cosines_whatever_the_blocks(
    shape, density, count, shrinkage, block, seed
):
    observed = (np.random.default_rng(seed).random(shape) < density).astype(np.float32)
    found = cosine_neighbours(csr_array(observed), count, shrinkage, pairs_per_block=block)
    assert found.has_sorted_indices
    assert np.diff(found.indptr).max() <= count
    wanted = dense_neighbours(observed, count, shrinkage)
    np.testing.assert_allclose(found.toarray(), wanted, rtol=1e-5)


def test_memory_follows_the_blocks_and_not_items_by_items():
    # 20,000 items make 400 million pairs, 1.6 GB as float32. The first user has 2,000 items, hence
    # 4 million pairs share a user.
    draw = np.random.default_rng(0)
    others = random_sparse((2000, 20_000), density=5e-4, rng=draw, format="lil")
    others[0, draw.choice(20_000, 2000, replace=False)] = 1
    observed = csr_array(others.tocsr())
    tracemalloc.start()
    try:
        graph = cosine_neighbours(observed, 10, pairs_per_block=2**16)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert graph.shape == (20_000, 20_000)
    assert np.diff(graph.indptr).max() == 10
    assert peak < 40 * 2**20
