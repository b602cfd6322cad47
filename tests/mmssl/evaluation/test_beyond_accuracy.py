import math
import tracemalloc
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.spatial.distance import pdist

from mmssl.data.dataset import ModalityFeatures
from mmssl.evaluation import beyond_accuracy as module
from mmssl.evaluation.beyond_accuracy import (
    beyond_accuracy,
    catalogue_coverage,
    gini,
    intra_list_diversity,
    novelty,
    recommendation_counts,
)

LISTS = np.array([[0, 1], [0, 2], [0, -1], [-1, -1]])


@st.composite
def some_lists(draw):
    """Lists of distinct items, short ones among them, and the catalogue's size."""
    n_items, k = draw(st.integers(1, 9)), draw(st.integers(1, 6))
    rows = draw(st.lists(st.permutations(range(n_items)), min_size=1, max_size=7))
    lists = np.full((len(rows), k), -1)
    for row, items in enumerate(rows):
        length = min(draw(st.integers(0, k)), n_items)
        lists[row, :length] = items[:length]
    return lists, n_items


def test_counts_and_coverage_by_hand():
    assert recommendation_counts(LISTS, 4).tolist() == [3, 1, 1, 0]
    assert catalogue_coverage(LISTS, 4) == 0.75
    assert catalogue_coverage(LISTS[3:], 4) == 0.0


@given(some_lists(), st.randoms())
def test_coverage_is_the_share_of_a_set_and_more_lists_never_cover_less(case, random):
    lists, n_items = case
    covered = {item for row in lists.tolist() for item in row if item >= 0}
    assert catalogue_coverage(lists, n_items) == len(covered) / n_items
    assert catalogue_coverage(lists[1:], n_items) <= catalogue_coverage(lists, n_items)
    named_anew = np.array([*random.sample(range(n_items), n_items), -1])
    assert catalogue_coverage(named_anew[lists], n_items) == len(covered) / n_items


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([3, 3, 3], 0.0),
        ([0, 0, 0, 10], 1.0),
        ([1, 3], 0.5),  # (-1 x 1 + 1 x 3) / (1 x 4)
        ([2, 0, 1], 2 / 3),  # (-2 x 0 + 0 x 1 + 2 x 2) / (2 x 3)
        ([7], 0.0),
    ],
)
def test_gini_by_hand(counts, expected):
    assert gini(np.array(counts)) == expected


COUNTS = st.lists(st.integers(0, 10**6), min_size=2, max_size=12).filter(any)


@given(COUNTS, st.integers(1, 1_000), st.randoms())
def test_gini_is_the_mean_absolute_difference_whatever_the_order_and_the_scale(
    counts, factor, random
):
    found = gini(np.array(counts))
    pairs = list(combinations(counts, 2))
    # Another definition: the mean difference of two items over twice the mean count.
    expected = sum(abs(a - b) for a, b in pairs) / len(pairs) / (2 * sum(counts) / len(counts))
    assert found == pytest.approx(expected, abs=1e-12)
    assert 0 <= found <= 1
    shuffled = np.array(random.sample(counts, len(counts)))
    assert gini(shuffled) == found
    assert gini(shuffled * factor) == pytest.approx(found, abs=1e-12)


@given(COUNTS)
def test_gini_falls_when_a_popular_item_gives_to_an_unpopular_one(counts):
    counts = np.sort(counts)
    gift = (counts[-1] - counts[0]) // 2
    after = counts.copy()
    after[0], after[-1] = counts[0] + gift, counts[-1] - gift
    assert gini(after) <= gini(counts) + 1e-12


def test_novelty_by_hand():
    # Of 8 users all, 4, 1 and none have the items: 0, 1, 3 bits, and 3 again, as of a single user.
    users = np.array([8, 4, 1, 0])
    lists = np.array([[0, 1, 2], [3, -1, -1], [1, 3, -1], [-1, -1, -1]])
    found = novelty(lists, users, 8)
    assert found[:3] == pytest.approx([4 / 3, 3, 2], abs=1e-12)
    assert math.isnan(found[3])


@given(some_lists(), st.data())
def test_novelty_agrees_with_plain_python_and_stays_in_its_range(case, data):
    lists, n_items = case
    users = np.array(data.draw(st.lists(st.integers(0, 20), min_size=n_items, max_size=n_items)))
    n_users = data.draw(st.integers(max(1, users.max()), 40))
    for row, found in zip(lists, novelty(lists, users, n_users), strict=True):
        bits = [-math.log2(max(users[item], 1) / n_users) for item in row if item >= 0]
        if not bits:
            assert math.isnan(found)
            continue
        assert found == pytest.approx(sum(bits) / len(bits), abs=1e-12)
        assert -1e-12 <= found <= math.log2(n_users) + 1e-12


def test_diversity_by_hand():
    vectors = np.array([[1, 0], [3, 0], [0, 2], [-1, 0], [0, 0], [5, 5]], dtype=np.float32)
    present = np.array([True] * 5 + [False])
    lists = np.array(
        [
            [0, 1, -1, -1],  # same direction
            [0, 2, -1, -1],  # a right angle
            [0, 3, -1, -1],  # opposite
            [0, 1, 2, 3],  # 0, 1, 2, 1, 2, 1 over six pairs
            [0, 4, 2, 5],  # 4 has no direction, 5 no vector
            [0, -1, -1, -1],
            [4, 5, -1, -1],
        ]
    )
    found = intra_list_diversity(lists, vectors, present)
    assert found[:5] == pytest.approx([0, 1, 2, 7 / 6, 1], abs=1e-12)
    assert np.isnan(found[5:]).all()


@st.composite
def described_lists(draw):
    lists, n_items = draw(some_lists())
    shape = n_items, draw(st.integers(1, 4))
    # Small whole numbers for right angles and zeros, others for everything else.
    numbers = st.integers(-2, 2).map(float) | st.floats(-1e3, 1e3, width=32)
    vectors = draw(hnp.arrays(np.float64, shape, elements=numbers))
    return lists, vectors, draw(hnp.arrays(np.bool_, n_items))


@given(described_lists(), st.integers(1, 40))
def test_diversity_agrees_with_a_loop_over_pairs_in_blocks_of_any_size(case, cells):
    lists, vectors, present = case
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_CELLS_PER_BLOCK", cells)
        found = intra_list_diversity(lists, vectors, present)
    for row, value in zip(lists, found, strict=True):
        rows = [vectors[i] for i in row if i >= 0 and present[i] and vectors[i].any()]
        if len(rows) < 2:
            assert math.isnan(value)
            continue
        # To largest number 1 first, or scipy's squares of tiny ones are zero.
        rows = [row / np.abs(row).max() for row in rows]
        assert value == pytest.approx(pdist(np.array(rows), "cosine").mean(), abs=1e-9)
        assert 0 <= value <= 2


def test_diversity_knows_neither_the_order_of_a_list_nor_the_length_of_a_vector():
    generator = np.random.default_rng(0)
    vectors, present = generator.normal(size=(50, 8)), generator.random(50) < 0.8
    lists = np.stack([generator.permutation(50)[:10] for _ in range(20)])
    found = intra_list_diversity(lists, vectors, present)
    longer = vectors * generator.uniform(0.1, 10, (50, 1))
    assert intra_list_diversity(lists[:, ::-1], longer, present) == pytest.approx(found, abs=1e-12)


def test_rounding_does_not_lead_diversity_below_zero():
    generator = np.random.default_rng(0)
    # Fifty lists of one direction each.
    vectors = generator.normal(size=(50, 1, 7)) * generator.uniform(1, 9, (50, 6, 1))
    lists = np.arange(300).reshape(50, 6)
    found = intra_list_diversity(lists, vectors.reshape(300, 7), np.ones(300, bool))
    assert (found >= 0).all()
    assert found == pytest.approx(np.zeros(50), abs=1e-12)


def test_vectors_whose_squares_are_too_small_for_a_number_keep_their_direction():
    vectors, lists = np.random.default_rng(0).normal(size=(6, 7)), np.arange(6).reshape(2, 3)
    found, tiny = (
        intra_list_diversity(lists, vectors * scale, np.ones(6, bool)) for scale in (1, 1e-200)
    )
    assert tiny == pytest.approx(found, abs=1e-12)


def test_diversity_holds_neither_all_pairs_of_items_nor_all_users_vectors():
    generator = np.random.default_rng(0)
    vectors = generator.normal(size=(20_000, 16)).astype(np.float32)
    lists = generator.integers(0, 20_000, (20_000, 20))
    tracemalloc.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_CELLS_PER_BLOCK", 2**16)
        intra_list_diversity(lists, vectors, np.ones(20_000, bool))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # Users' vectors at once: 51 MB of float64; items x items: 3.2 GB.
    assert peak < 10 * 2**20


def test_the_table_s_figures_leave_undefined_users_out():
    vectors = np.array([[1, 0], [0, 1], [-1, 0], [1, 1]], dtype=np.float32)
    features = {
        "image": ModalityFeatures(vectors, np.array([True, True, True, False]), None, ""),
        "text": ModalityFeatures(vectors, np.zeros(4, bool), None, ""),
    }
    figures = beyond_accuracy(LISTS, np.array([4, 2, 1, 0]), 4, features)
    # Novelty: lists of 0 and 1 bits, 0 and 2, 0; diversity: a right angle, opposite.
    assert figures == {
        "catalogue_coverage": 0.75,
        "gini": pytest.approx((-3 * 0 - 1 * 1 + 1 * 1 + 3 * 3) / (3 * 5)),
        "novelty": pytest.approx((0.5 + 1 + 0) / 3),
        "intra_list_diversity.image": pytest.approx(1.5),
        "intra_list_diversity.text": None,
    }


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: recommendation_counts(np.array([[4]]), 4), "outside 0..3"),
        (lambda: recommendation_counts(np.array([[-2]]), 4), "outside 0..3"),
        (lambda: recommendation_counts(np.array([1]), 4), "(n, K) item rows"),
        (lambda: recommendation_counts(np.array([[1.0]]), 4), "of float64"),
        (lambda: catalogue_coverage(np.empty((0, 2), np.int64), 0), "empty catalogue"),
        (lambda: gini(np.zeros(3, np.int64)), "no list holds an item"),
        (lambda: gini(np.array([3, -1])), "negative"),
        (lambda: novelty(LISTS, np.array([5, 1, 1]), 4), "an item has 5"),
        (lambda: novelty(LISTS, np.array([5, 1]), 5), "outside 0..1"),
        (
            lambda: intra_list_diversity(LISTS, np.full((3, 2), np.nan), np.ones(3, bool)),
            "not finite",
        ),
    ],
)
def test_arguments_that_make_no_sense_are_refused(call, message):
    with pytest.raises(ValueError) as caught:
        call()
    assert message in str(caught.value)
