import tracemalloc
from collections import Counter
from itertools import chain, combinations

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mmssl.data.neighbours import Neighbours, Renumbering, TwoSidedNeighbours, distinct_below

edges = st.tuples(st.integers(1, 7), st.integers(1, 7)).flatmap(
    lambda shape: arrays(np.int8, shape, elements=st.integers(0, 1))
)
NORMALISATIONS = ("row", "symmetric")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normalised(observed: np.ndarray, normalisation: str) -> np.ndarray:
    rows = (observed.sum(1, keepdims=True) + 1e-8) ** -0.5
    columns = (observed.sum(0, keepdims=True) + 1e-8) ** -0.5
    return observed * rows * (columns if normalisation == "symmetric" else 1)


@given(edges, st.sampled_from(NORMALISATIONS), st.integers(1, 8), st.integers(0, 99))
def test_drawn_neighbours_are_distinct_neighbours_as_many_as_allowed(
    observed, normalisation, fan_out, seed
):
    drawn = Neighbours(sp.csr_array(observed), normalisation)
    nodes = np.arange(len(observed))[::-1].copy()
    got = drawn.draw(nodes, fan_out, seeded(seed))
    for j, node in enumerate(nodes):
        mine = got.neighbours[got.offsets[j] : got.offsets[j + 1]].tolist()
        assert len(mine) == len(set(mine)) == min(fan_out, observed[node].sum())
        assert observed[node, mine].all()
        scale = observed[node].sum() / max(len(mine), 1)
        np.testing.assert_allclose(
            got.weights[got.offsets[j] : got.offsets[j + 1]],
            normalised(observed, normalisation)[node, mine] * scale,
        )


@given(edges, st.sampled_from(NORMALISATIONS))
def test_with_a_fan_out_of_the_degree_the_matrix_is_the_normalised_graph(observed, normalisation):
    both = TwoSidedNeighbours(sp.csr_array(observed), normalisation)
    for side, whole in ((both.of_users, observed), (both.of_items, observed.T)):
        got = side.draw(np.arange(len(whole)), 7, seeded())
        dense = got.matrix(got.neighbours, whole.shape[1]).toarray()
        np.testing.assert_allclose(dense, normalised(whole, normalisation))


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
def test_the_mean_over_many_draws_is_the_normalised_graph(normalisation):
    observed = (np.random.default_rng(0).random((5, 9)) < 0.7).astype(np.int8)
    neighbours = Neighbours(sp.csr_array(observed), normalisation)
    generator, draws = seeded(), 6000
    # All draws at once: a node that is asked for often is drawn for often.
    nodes = np.tile(np.arange(5), draws)
    got = neighbours.draw(nodes, 2, generator)
    dense = got.matrix(got.neighbours, 9).toarray().reshape(draws, 5, 9)
    deviation = dense.std(axis=0) / draws**0.5
    error = abs(dense.mean(axis=0) - normalised(observed, normalisation))
    assert (error <= 5 * deviation + 1e-12).all()


def test_every_subset_is_as_likely():
    chosen = distinct_below(np.full(20_000, 5), 3, seeded(1))
    counts = Counter(tuple(sorted(row)) for row in chosen.tolist())
    assert set(counts) == set(combinations(range(5), 3))
    # 2000 expected of each of the ten; five standard deviations are 212.
    assert all(abs(count - 2000) < 212 for count in counts.values())


def test_a_node_of_a_million_neighbours_costs_no_more_than_its_fan_out():
    """No array as long as the degree is made: a draw must not read a popular item's users."""
    degree = 1_000_000
    edges = sp.csr_array(np.ones((1, degree), dtype=np.int8))
    neighbours = Neighbours(edges, "row")
    tracemalloc.start()
    got = neighbours.draw(np.zeros(10, dtype=np.int64), 5, seeded())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(got.neighbours) == 50
    assert peak < 100_000


def test_the_same_seed_draws_the_same_neighbours_and_another_does_not():
    neighbours = Neighbours(sp.csr_array(np.ones((3, 50), dtype=np.int8)), "row")
    first, again, other = (
        neighbours.draw(np.arange(3), 10, seeded(seed)).neighbours.tolist() for seed in (1, 1, 2)
    )
    assert first == again != other


@given(st.lists(st.lists(st.integers(0, 9)), min_size=1, max_size=4))
def test_renumbering_keeps_the_order_of_first_occurrence(parts):
    renumber = Renumbering(10)
    for _ in range(2):  # what an earlier call left behind does not matter
        distinct, numbers = renumber(*(np.array(part, dtype=np.int64) for part in parts))
        assert distinct.tolist() == list(dict.fromkeys(chain(*parts)))
        assert [distinct[n].tolist() for n in numbers] == parts


def test_two_draws_one_after_the_other_are_the_rows_of_both():
    observed = np.tril(np.ones((6, 8), dtype=np.int8), 1)
    neighbours = Neighbours(sp.csr_array(observed), "symmetric")
    first, second = (
        neighbours.draw(np.array(nodes, dtype=np.int64), fan_out, seeded())
        for nodes, fan_out in (([5, 0], 2), ([4, 4, 1], 1))
    )
    both = (first + second).matrix((first + second).neighbours, 8).toarray()
    apart = [drawn.matrix(drawn.neighbours, 8).toarray() for drawn in (first, second)]
    np.testing.assert_array_equal(both, np.concatenate(apart))


def test_a_huge_fan_out_costs_nothing_where_nobody_has_so_many_neighbours():
    nobody = np.empty(0, dtype=np.int64)
    assert distinct_below(nobody, 10**12, torch.Generator()).shape == (0, 10**12)
