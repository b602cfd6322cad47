import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmssl.report.item_map import PICTURE_HEIGHT, PICTURE_WIDTH, principal_plane, spread_out


def test_the_plane_is_that_of_a_singular_value_decomposition():
    draw = np.random.default_rng(0)
    vectors = (draw.normal(size=(300, 6)) * [9, 5, 1, 1, 0.5, 0.1] + 40).astype(np.float32)
    places, shares = principal_plane(vectors)
    centred = vectors - vectors.mean(axis=0, dtype=np.float64)
    left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    expected = left[:, :2] * sizes[:2]
    expected *= np.sign((expected * places).sum(axis=0))
    assert places == pytest.approx(expected, abs=1e-4)
    assert shares == pytest.approx(sizes[:2] ** 2 / (sizes**2).sum(), abs=1e-9)


@pytest.mark.parametrize(
    "vectors",
    [np.ones((5, 3)), np.arange(6.0)[:, None], np.outer(np.arange(9.0), [1, 2, 3]), np.eye(2)],
)
def test_there_is_no_plane_of_fewer_than_two_directions(vectors):
    assert principal_plane(vectors.astype(np.float32)) is None


@given(st.integers(0, 2**32 - 1), st.integers(1, 200), st.integers(1, 60))
def test_pictures_do_not_cover_each_other_and_no_other_would_fit(seed, count, most):
    places = np.random.default_rng(seed).random((count, 2))
    taken = spread_out(places, range(count), most)
    assert taken[0] == 0
    assert len(taken) <= most

    def covered(a, b) -> bool:
        across, down = np.abs(places[a] - places[b])
        return across < PICTURE_WIDTH and down < PICTURE_HEIGHT

    assert not any(covered(a, b) for a in taken for b in taken if a < b)
    if len(taken) < most:
        assert all(row in taken or any(covered(row, t) for t in taken) for row in range(count))
