import numpy as np
import pytest

from extract.errors import InputError
from extract.inspect import cka as module
from extract.inspect.cka import linear_cka


def unbiased_hsic(k, ell):
    """Song et al. 2012, equation 5, with whole Gram matrices."""
    n = len(k)
    k, ell = k - np.diag(np.diag(k)), ell - np.diag(np.diag(ell))
    ones = np.ones(n)
    total = np.trace(k @ ell)
    total += (ones @ k @ ones) * (ones @ ell @ ones) / ((n - 1) * (n - 2))
    total -= 2 / (n - 2) * (ones @ k @ ell @ ones)
    return total / (n * (n - 3))


@pytest.mark.parametrize("n", [4, 9, 50])
def test_equals_the_unbiased_estimate_with_gram_matrices(n, monkeypatch):
    monkeypatch.setattr(module, "BLOCK_ROWS", 7)
    rng = np.random.default_rng(n)
    x = rng.normal(size=(n, 6)) + 5
    y = np.hstack([x[:, :3] * 2, rng.normal(size=(n, 5))])
    # Not centred: HSIC does not see the mean.
    k, ell = x @ x.T, y @ y.T
    wanted = unbiased_hsic(k, ell) / np.sqrt(unbiased_hsic(k, k) * unbiased_hsic(ell, ell))
    assert linear_cka(x, y) == pytest.approx(wanted, rel=1e-6)


def test_rotation_scale_and_shift_change_nothing():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 5))
    rotation = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    assert linear_cka(x, x) == pytest.approx(1)
    assert linear_cka(x, 3 * x @ rotation + 7) == pytest.approx(1)


def test_unrelated_vectors_of_many_dimensions_have_none():
    # The usual, biased estimate is near 1 here: there are far fewer items than dimensions.
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 800)), rng.normal(size=(40, 800))
    left, right = x - x.mean(axis=0), y - y.mean(axis=0)
    biased = np.linalg.norm(left.T @ right) ** 2
    biased /= np.linalg.norm(left.T @ left) * np.linalg.norm(right.T @ right)
    assert biased > 0.9
    assert abs(linear_cka(x, y)) < 0.05


def test_too_few_items_and_vectors_all_alike_are_refused():
    with pytest.raises(InputError, match="at least 4 items; there are 3"):
        linear_cka(np.eye(3), np.eye(3))
    with pytest.raises(InputError, match="all alike"):
        linear_cka(np.ones((9, 2)), np.random.default_rng(0).normal(size=(9, 2)))
