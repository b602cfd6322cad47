import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from extract.inspect import duplicates as module
from extract.inspect.duplicates import content_codes, groups_of, near_duplicates, same_content
from extract.inspect.vectors import ok_items


def lists(groups):
    return [group.tolist() for group in groups]


def by_hand(similar, threshold):
    """Pairs, and groups by following them, the largest first."""
    n = len(similar)
    pairs = [(a, b) for a in range(n) for b in range(a + 1, n) if similar[a, b] >= threshold]
    group = {a: {a} for a in range(n)}
    for a, b in pairs:
        joined = group[a] | group[b]
        for member in joined:
            group[member] = joined
    distinct = {tuple(sorted(members)) for members in group.values() if len(members) > 1}
    return pairs, sorted(map(list, distinct), key=lambda members: (-len(members), members[0]))


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**31), n=st.integers(2, 30), held=st.sampled_from([1, 5, 10**6]))
def test_pairs_and_groups_are_those_of_all_cosines(
    seed, n, held, make_store, cosines, tmp_path_factory
):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(n, 3)).astype(np.float32)
    name = tmp_path_factory.mktemp("store").as_posix()
    vectors = ok_items(make_store(values, name=name, rows_per_part=4))
    pairs, groups = by_hand(cosines(values), 0.9)
    # Folding pairs into groups after every block, or only at the end, gives the same.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_HELD_PAIRS", held)
        found = near_duplicates(vectors, np.arange(n), 0.9, np.arange(1, n + 1, dtype=np.uint64))
    assert (found.pairs, lists(found.groups), found.same_content) == (len(pairs), groups, 0)


def test_a_sample_finds_its_own_pairs_and_counts_none_twice(make_store):
    values = np.array([[1, 0], [1, 0], [1, 0], [-1, 0], [-1, 0], [-1, 0.0]])
    vectors = ok_items(make_store(values))
    codes = np.arange(1, 7, dtype=np.uint64)
    found = near_duplicates(vectors, np.array([0, 1]), 0.99, codes)
    # (0, 1) once, (0, 2), (1, 2); the other side was not asked about.
    assert (found.pairs, lists(found.groups)) == (3, [[0, 1, 2]])
    every = near_duplicates(vectors, np.arange(6), 0.99, codes)
    assert (every.pairs, lists(every.groups)) == (6, [[0, 1, 2], [3, 4, 5]])


def test_pairs_of_the_same_content_are_counted(make_store):
    values = np.array([[1, 0], [1, 0], [1, 0], [-1, 1], [-2, 1]])
    store = make_store(values, contents=["a", "a", "b", "c", "d"])
    found = near_duplicates(ok_items(store), np.arange(5), 0.99, content_codes(store))
    assert (found.pairs, found.same_content) == (3, 1)


def test_content_codes_are_those_of_the_digests_and_zero_where_nothing_was_read(make_store):
    store = make_store(np.eye(5), contents=["x", "y", "x", "z", "y"], reasons={3: None})
    codes = content_codes(store)
    digest = store.statuses()["digest"][0]
    assert codes[0] == codes[2] == int(digest[:16], 16)
    assert codes[3] == 0
    assert lists(same_content(codes)) == [[0, 2], [1, 4]]
    assert same_content(np.zeros(3, dtype=np.uint64)) == []


def test_groups_are_sorted_by_size_then_by_their_first():
    assert lists(groups_of(np.array([5, 9, 9, 1, 5, 9, 7]))) == [[1, 2, 5], [0, 4]]
    assert groups_of(np.array([])) == []
