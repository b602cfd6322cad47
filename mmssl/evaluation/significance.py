"""How sure a comparison is: bootstrap intervals, a paired test over users, Holm's correction.

The unit is the user: intervals and tests say what another draw of users from the same population
would change, the trained models being what they are. What another seed would change is the
deviation over seeds (``mean_and_deviation``); of a model with several seeds, each user's values are
averaged first (``mean_over_seeds``), so that a user counts once however many seeds there are.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from extract.errors import InputError

RESAMPLES = 9_999
"""Such that a p value of resampling is a whole number of 1 / 10,000."""

# Users times resamples held at once: 8 MiB an array of float64, and close to the caches.
_CELLS_PER_BLOCK = 2**20


@dataclass(frozen=True)
class PairedComparison:
    """A model against the reference over the same users; positive where the model is better."""

    difference: float
    """Mean over the users of the model's value less the reference's."""
    low: float
    high: float
    """Paired bootstrap interval of ``difference``."""
    p_value: float
    """Of ``sign_flip_test``."""
    holm: float
    """``p_value`` after Holm's correction over all models that were compared."""


def paired_comparisons(
    reference: NDArray[np.float64],
    models: Mapping[str, NDArray[np.float64]],
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, PairedComparison]:
    """Compare models with one reference on one metric; together they are the family of tests.

    Args:
        reference: (n,) values of the users.
        models: name -> (n,) values of the same users in the same order.
        confidence: of the intervals.
        resamples: of the bootstrap, and sign patterns of the test.
        seed: of both.

    Returns:
        The comparisons under the names of ``models``, in their order.

    Raises:
        ValueError: shapes that do not fit, a value that is not finite, or no user.
    """
    for name, values in models.items():
        if values.shape != reference.shape:
            raise ValueError(f"{name}: {values.shape} values against {reference.shape}")
    if not models:
        return {}
    differences = np.stack([values - reference for values in models.values()])
    intervals = bootstrap_intervals(differences, confidence, resamples, seed)
    p_values = sign_flip_test(differences, resamples, seed)
    columns = differences.mean(axis=1), *intervals.T, p_values, holm(p_values)
    figures = np.stack(columns, axis=1).tolist()
    return {name: PairedComparison(*row) for name, row in zip(models, figures, strict=True)}


def bootstrap_intervals(
    values: NDArray[np.float64],
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> NDArray[np.float64]:
    """Percentile bootstrap intervals of means over users (Efron and Tibshirani, 1993, chapter 13).

    Users are drawn with replacement, the same ones for every row. A row may hold a metric, or the
    difference of two models user by user: then the interval is that of the paired bootstrap.

    The interval is ``scipy.stats.bootstrap``'s with ``method="percentile"`` and this seed. A mean
    needs no more than how often each user was drawn, so that a draw serves all rows by one product,
    which scipy would repeat for each. Memory does not grow with resamples times users.

    Args:
        values: (m, n) float64, m rows over the same n users.
        confidence: between 0 and 1.
        resamples: how often n users are drawn.
        seed: of the draws; a row's interval depends on no other row.

    Returns:
        (m, 2) float64, lower and upper bound.

    Raises:
        ValueError: another shape, no user, a value that is not finite, or a confidence or a number
            of resamples out of range.
    """
    _check(values, resamples)
    if not 0 < confidence < 1:
        raise ValueError(f"confidence {confidence}: a number between 0 and 1")
    users = values.shape[1]
    generator = np.random.default_rng(seed)
    means = np.empty((len(values), resamples))
    for block in _blocks(resamples, users):
        rows = block.stop - block.start
        drawn = generator.integers(0, users, (rows, users))
        # Each resample counts in a range of its own, so that one bincount does them all.
        drawn += users * np.arange(rows)[:, None]
        times = np.bincount(drawn.ravel(), minlength=rows * users).reshape(rows, users)
        means[:, block] = values @ times.astype(np.float64).T / users
    tail = (1 - confidence) / 2
    bounds: NDArray[np.float64] = np.quantile(means, [tail, 1 - tail], axis=1).T
    return bounds


def sign_flip_test(
    differences: NDArray[np.float64], resamples: int = RESAMPLES, seed: int = 0
) -> NDArray[np.float64]:
    """Paired permutation test of a mean difference of zero, two-sided (Fisher's randomisation).

    If two models are alike, each user's two values might as well be swapped, which flips the sign
    of the difference. p is the share of sign patterns whose mean is at least as far from zero as
    the one seen. Where there are no more than ``resamples`` patterns (2^n), all are tried and p is
    exact; else patterns are drawn at random, and p = (1 + as extreme) / (1 + drawn), which never
    rejects too often (Phipson and Smyth, 2010). It is ``scipy.stats.permutation_test`` with
    ``permutation_type="samples"``, for all rows at once, in blocks of patterns.

    Why not another one: with one relevant item a user's recall is 0 or 1, and the differences are
    mostly 0, else 1 or -1. This test supposes nothing about their distribution (in that case it is
    the sign test over the users on whom the models differ), while the t test supposes normal means:
    with thousands of users the two agree (Smucker, Allan and Carterette, 2007), in small groups
    they need not. Wilcoxon's test is about ranks, not about the mean that is reported.

    Args:
        differences: (m, n) float64, model less reference, m pairs over the same n users.
        resamples: sign patterns; p cannot fall below 1 / (1 + resamples).
        seed: of the patterns; a row's p value depends on no other row.

    Returns:
        (m,) float64 p values; 1 where two models agree on every user.

    Raises:
        ValueError: another shape, no user, a value that is not finite, or no resample.
    """
    _check(differences, resamples)
    users = differences.shape[1]
    exact = users < resamples.bit_length()
    patterns = 2**users if exact else resamples
    generator = np.random.default_rng(seed)
    # Less a little: patterns that tie with the one seen count, in whatever order they are added up.
    seen = np.abs(differences.sum(axis=1)) - 1e-12 * np.abs(differences).sum(axis=1)
    extreme = np.zeros(len(differences), dtype=np.int64)
    for block in _blocks(patterns, users):
        if exact:
            flips = (np.arange(block.start, block.stop)[:, None] >> np.arange(users)) & 1
        else:
            rows = block.stop - block.start
            # A bit a user; the spare ones of the last byte are dropped.
            packed = np.frombuffer(generator.bytes(rows * -(-users // 8)), dtype=np.uint8)
            bits = np.unpackbits(packed.reshape(rows, -1), axis=1, count=users)
            flips = bits.astype(np.int64)
        flipped = differences @ (1.0 - 2.0 * flips).T
        extreme += (np.abs(flipped) >= seen[:, None]).sum(axis=1)
    if exact:
        return extreme / patterns
    return (1 + extreme) / (1 + patterns)


def holm(p_values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Adjusted p values that hold for all tests of a family at once (Holm, 1979, step-down).

    The i-th smallest of m becomes max over j <= i of min(1, (m - j + 1) p_(j)). The tests may
    depend on each other in any way, as those against one reference do.

    Args:
        p_values: (m,) float64, those of the whole family, in any order.

    Returns:
        (m,) float64 in the same order, none below its p value and none above 1.

    Raises:
        ValueError: a p value outside [0, 1].
    """
    if not ((p_values >= 0) & (p_values <= 1)).all():
        raise ValueError("a p value lies outside [0, 1]")
    order = np.argsort(p_values, kind="stable")
    left = np.arange(len(p_values), 0, -1)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.maximum.accumulate(np.minimum(1.0, left * p_values[order]))
    return adjusted


def mean_over_seeds(
    runs: Sequence[tuple[NDArray[Any], NDArray[np.float64]]],
) -> NDArray[np.float64]:
    """Each user's mean over a model's seeds.

    Args:
        runs: for each seed the users, (n,) ids or rows, and their values, (n,) float64.

    Returns:
        (n,) float64 in the order of the first run's users.

    Raises:
        InputError: a run was evaluated on other users than the first, or on them in another order.
        ValueError: there is no run, or a run has not one value a user.
    """
    if not runs:
        raise ValueError("there is no run to average")
    first = runs[0][0]
    for number, (users, values) in enumerate(runs, start=1):
        if values.shape != users.shape:
            raise ValueError(f"{values.shape} values of {users.shape} users")
        if not np.array_equal(users, first):
            raise InputError(
                f"run {number} of {len(runs)} seeds was evaluated on other users than the first"
                f" ({len(users):,} against {len(first):,}, or in another order): evaluate all of"
                " them on the same split of the same dataset"
            )
    mean: NDArray[np.float64] = np.mean([values for _, values in runs], axis=0)
    return mean


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and sample deviation (divisor n - 1) of a metric over seeds; no deviation of one seed.

    Raises:
        ValueError: there is no value.
    """
    if not len(values):
        raise ValueError("there is no seed to average over")
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return float(np.mean(values)), deviation


def _check(values: NDArray[np.float64], resamples: int) -> None:
    if values.ndim != 2 or not values.shape[1]:
        raise ValueError(f"rows over one user or more are needed, not {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError("a value is not finite")
    if resamples < 1:
        raise ValueError(f"{resamples} resamples: at least 1 is needed")


def _blocks(resamples: int, users: int) -> Iterator[slice]:
    """Slices of the resamples, each as long as memory suggests."""
    step = max(1, _CELLS_PER_BLOCK // users)
    for start in range(0, resamples, step):
        yield slice(start, min(start + step, resamples))
