import numpy as np
import pytest

from extract.inspect.overlap import overlap


def test_shared_neighbours_by_hand():
    a = np.array([[1, 2, 3], [4, 5, 6]])
    b = np.array([[3, 9, 1], [7, 8, 9]])
    found = overlap(a, b, items=20)
    assert found.overlap == pytest.approx((2 / 3 + 0) / 2)
    assert found.jaccard == pytest.approx((2 / 4 + 0) / 2)
    same = overlap(a, a[:, ::-1], items=20)
    assert (same.overlap, same.jaccard) == (1, 1)


def test_chance_is_what_random_neighbours_share():
    rng = np.random.default_rng(0)
    draws = [
        np.array([rng.choice(12, size=4, replace=False) for _ in range(20_000)]) for _ in range(2)
    ]
    found = overlap(*draws, items=13)
    assert found.overlap == pytest.approx(found.overlap_by_chance, abs=0.005)
    assert found.jaccard == pytest.approx(found.jaccard_by_chance, abs=0.005)
    assert found.overlap_by_chance == pytest.approx(4 / 12)


def test_where_all_others_are_neighbours_chance_is_one():
    found = overlap(np.array([[1, 2]]), np.array([[2, 1]]), items=3)
    assert found.overlap_by_chance == 1
    assert found.jaccard_by_chance == pytest.approx(1)
