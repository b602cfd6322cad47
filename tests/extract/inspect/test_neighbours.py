import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors

from extract.errors import InputError
from extract.inspect import neighbours as module
from extract.inspect import vectors as vectors_module
from extract.inspect.neighbours import nearest, similarity_blocks
from extract.inspect.vectors import ok_items


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of three rows, so that a dozen items already take several."""
    monkeypatch.setattr(module, "BLOCK_ROWS", 3)
    monkeypatch.setattr(vectors_module, "BLOCK_ROWS", 3)


def test_neighbours_are_those_of_scikit_learn(make_store, small_blocks):
    values = np.random.default_rng(1).normal(size=(40, 6)).astype(np.float32) + 2
    queries = np.array([30, 2, 17, 0, 39])
    found = nearest(ok_items(make_store(values, rows_per_part=7)), queries, 8)
    centred = values - values.mean(axis=0)
    search = NearestNeighbors(n_neighbors=9, metric="cosine", algorithm="brute").fit(centred)
    distances, numbers = search.kneighbors(centred[queries])
    np.testing.assert_array_equal(found.numbers, numbers[:, 1:])  # the first is the query itself
    np.testing.assert_allclose(found.similarities, 1 - distances[:, 1:], atol=2e-6)


def test_the_mean_is_removed(make_store):
    # Far from the origin all directions are alike; around the mean they are not.
    values = np.array([[100, 1], [100, 2], [100, -1], [100, -2]])
    found = nearest(ok_items(make_store(values)), np.arange(4), 1)
    assert found.numbers.ravel().tolist() == [1, 0, 3, 2]
    np.testing.assert_allclose(found.similarities, 1)


def test_of_equally_near_items_the_first_comes_first(make_store, small_blocks):
    values = np.array([[1, 0], [-1, 0], [1, 0], [-1, 0], [1, 0], [1, 0], [-1, 0], [-1, 0]])
    found = nearest(ok_items(make_store(values)), np.array([5, 0]), 3)
    assert found.numbers.tolist() == [[0, 2, 4], [2, 4, 5]]


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_neighbours_equal_sorting_all_cosines(
    data, make_store, cosines, small_blocks, tmp_path_factory
):
    n = data.draw(st.integers(2, 14), label="n")
    k = data.draw(st.integers(1, n - 1), label="k")
    # Few distinct whole numbers make many ties.
    rows = st.lists(st.integers(-2, 2), min_size=3, max_size=3)
    values = np.array(data.draw(st.lists(rows, min_size=n, max_size=n)), dtype=np.float32)
    size = data.draw(st.integers(1, 6), label="rows_per_part")
    name = tmp_path_factory.mktemp("store").as_posix()
    vectors = ok_items(make_store(values, name=name, rows_per_part=size))
    found = nearest(vectors, np.arange(n), k)
    steps = np.round(np.where(np.isinf(cosines(values)), -9, cosines(values)) * 2**10)
    wanted = np.argsort(-steps, axis=1, kind="stable")[:, :k]
    # Equal but for rounding: what is compared is how near, and the numbers where nothing ties.
    near = np.take_along_axis(cosines(values), found.numbers, axis=1)
    np.testing.assert_allclose(near, np.take_along_axis(cosines(values), wanted, axis=1), atol=1e-3)
    assert all(len(set(row)) == k for row in found.numbers.tolist())


def test_no_block_is_larger_than_the_limit_whatever_the_part(make_store, small_blocks):
    values = np.random.default_rng(2).normal(size=(20, 3))
    vectors = ok_items(make_store(values, rows_per_part=20))
    shapes = [cosines.shape for _, _, cosines in similarity_blocks(vectors, np.arange(20))]
    assert len(shapes) == 7 * 7
    assert max(max(shape) for shape in shapes) == 3


def test_too_many_neighbours_are_refused(make_store):
    vectors = ok_items(make_store(np.eye(3)))
    assert nearest(vectors, np.arange(3), 2).numbers.shape == (3, 2)
    with pytest.raises(InputError, match="3 neighbours cannot be found among 3 items"):
        nearest(vectors, np.arange(3), 3)
