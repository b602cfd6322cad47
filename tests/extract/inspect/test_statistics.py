import numpy as np
import pytest

from extract.inspect import vectors as vectors_module
from extract.inspect.statistics import statistics
from extract.inspect.vectors import ok_items


def test_figures_equal_those_of_the_whole_matrix(make_store, monkeypatch):
    monkeypatch.setattr(vectors_module, "BLOCK_ROWS", 4)
    values = np.random.default_rng(0).normal(size=(23, 5)).astype(np.float32) + 0.5
    values[:, 3] = 0.1
    values[7] = 0
    values[11] = 0.1
    found = statistics(ok_items(make_store(values, reasons={2: "bad"}, rows_per_part=6)))
    kept = np.delete(values, 2, axis=0).astype(np.float64)
    norms = np.linalg.norm(kept, axis=1)
    assert found.norm_min == 0
    assert found.norm_median == pytest.approx(np.median(norms))
    assert found.norm_max == pytest.approx(norms.max())
    assert (found.zero, found.constant) == (1, 1)
    assert found.dead.tolist() == []  # the zero vector has another number in dimension 3
    units = kept[norms > 0] / norms[norms > 0, None]
    similar = units @ units.T
    off_diagonal = similar[~np.eye(len(similar), dtype=bool)]
    assert found.mean_cosine == pytest.approx(off_diagonal.mean())


def test_dimensions_that_never_vary(make_store):
    values = np.array([[0.1, 1, 0], [0.1, 2, 0], [0.1, 3, 0], [0.1, 4, 1e-30]])
    found = statistics(ok_items(make_store(values)))
    assert found.dead.tolist() == [0]
    assert statistics(ok_items(make_store(values, name="b", reasons={3: "x"}))).dead.tolist() == [
        0,
        2,
    ]


def test_one_item_has_no_pairs(make_store):
    found = statistics(ok_items(make_store([[3.0, 4.0]])))
    assert (found.norm_min, found.mean_cosine, found.dead.tolist()) == (5, None, [])


def test_vectors_of_one_number_are_not_called_constant(make_store):
    found = statistics(ok_items(make_store([[1.0], [2.0]])))
    assert (found.zero, found.constant) == (0, 0)
