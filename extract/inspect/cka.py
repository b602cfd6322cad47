"""Linear centred kernel alignment: are two sets of vectors of the same items alike as a whole?"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from extract.errors import InputError
from extract.inspect.vectors import BLOCK_ROWS


def linear_cka(x: NDArray[Any], y: NDArray[Any]) -> float:
    """Debiased linear CKA; 0 on average for unrelated vectors, 1 for the same up to a rotation.

    CKA (Kornblith et al., ICML 2019, https://arxiv.org/abs/1905.00414) is HSIC(K, L) over
    sqrt(HSIC(K, K) HSIC(L, L)) with K = X X', L = Y Y'. The usual estimate tends to 1 when there
    are not many more items than dimensions; here HSIC is the unbiased one of Song et al. (JMLR 13
    (2012), equation 5). For linear kernels of centred X, Y, with diagonals k_i = |x_i|^2 and
    l_i = |y_i|^2, it is, up to the factor 1 / (n (n - 3)) which cancels,

        |X' Y|_F^2 - n / (n - 2) sum_i k_i l_i + sum_i k_i sum_i l_i / ((n - 1) (n - 2))

    so that no n x n matrix is made: memory is that of x, y and their dims' products.

    Args:
        x: (n, d), n at least 4.
        y: (n, e).

    Raises:
        InputError: fewer than 4 items, or vectors that are all alike.
    """
    n = len(x)
    if n < 4:
        raise InputError(f"linear CKA needs at least 4 items; there are {n}")
    mean_x, mean_y = x.mean(axis=0, dtype=np.float64), y.mean(axis=0, dtype=np.float64)
    # |X' X|_F is as large as d x d; |X' Y|_F as d x e.
    xy = np.zeros((x.shape[1], y.shape[1]))
    xx = np.zeros((x.shape[1], x.shape[1]))
    yy = np.zeros((y.shape[1], y.shape[1]))
    k, ell = np.empty(n), np.empty(n)
    for start in range(0, n, BLOCK_ROWS):
        stop = start + BLOCK_ROWS
        left, right = x[start:stop] - mean_x, y[start:stop] - mean_y
        xy += left.T @ right
        xx += left.T @ left
        yy += right.T @ right
        k[start:stop], ell[start:stop] = (left**2).sum(axis=1), (right**2).sum(axis=1)

    def hsic(product: NDArray[Any], p: NDArray[Any], q: NDArray[Any]) -> float:
        unlike = p.sum() * q.sum() / ((n - 1) * (n - 2))
        return float((product**2).sum() - n / (n - 2) * (p @ q) + unlike)

    scale = hsic(xx, k, k) * hsic(yy, ell, ell)
    if not (scale > 0 and np.isfinite(scale)):
        raise InputError("linear CKA: the vectors of a store are all alike")
    return hsic(xy, k, ell) / float(np.sqrt(scale))
