import statistics
import time
import tracemalloc
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from extract.errors import InputError
from mmssl.evaluation import significance
from mmssl.evaluation.significance import (
    bootstrap_intervals,
    holm,
    mean_and_deviation,
    mean_over_seeds,
    paired_comparisons,
    sign_flip_test,
)


def recalls(models: int, users: int, seed: int = 0) -> np.ndarray:
    """Per-user recall with one to three relevant items, better from model to model."""
    generator = np.random.default_rng(seed)
    relevant = generator.integers(1, 4, users)
    chance = np.linspace(0.1, 0.2, models)[:, None]
    return generator.binomial(relevant, chance, (models, users)) / relevant


@pytest.mark.parametrize("cells", [1, 1_000, 2**20])
def test_intervals_are_scipy_s_percentile_intervals_in_blocks_of_any_size(monkeypatch, cells):
    monkeypatch.setattr(significance, "_CELLS_PER_BLOCK", cells)
    values = recalls(3, 151)
    ours = bootstrap_intervals(values, 0.9, resamples=300, seed=7)
    assert ours.shape == (3, 2)
    for row, (low, high) in zip(values, ours, strict=True):
        theirs = stats.bootstrap(
            (row,),
            np.mean,
            n_resamples=300,
            confidence_level=0.9,
            method="percentile",
            rng=np.random.default_rng(7),
        ).confidence_interval
        assert (low, high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_the_interval_of_a_difference_is_scipy_s_paired_one():
    a, b = recalls(2, 120)
    ours = bootstrap_intervals((a - b)[None], resamples=400, seed=3)[0]
    theirs = stats.bootstrap(
        (a, b),
        lambda x, y, axis: x.mean(axis=axis) - y.mean(axis=axis),
        paired=True,
        n_resamples=400,
        method="percentile",
        rng=np.random.default_rng(3),
    ).confidence_interval
    assert ours == pytest.approx([theirs.low, theirs.high], abs=1e-12)


def test_with_many_users_the_interval_is_the_normal_one():
    values = recalls(1, 3_000)
    low, high = bootstrap_intervals(values, resamples=2_000)[0]
    error = values.std() / np.sqrt(values.size)
    assert low == pytest.approx(values.mean() - 1.96 * error, abs=0.15 * error)
    assert high == pytest.approx(values.mean() + 1.96 * error, abs=0.15 * error)


def test_more_confidence_is_a_wider_interval_and_another_seed_another_one():
    values = recalls(1, 200)
    narrow, wide = (bootstrap_intervals(values, level, 500)[0] for level in (0.5, 0.99))
    assert wide[0] < narrow[0] < values.mean() < narrow[1] < wide[1]
    again = bootstrap_intervals(values, 0.5, 500)[0]
    assert (narrow == again).all()
    assert (narrow != bootstrap_intervals(values, 0.5, 500, seed=1)[0]).any()


def test_a_metric_that_is_the_same_for_all_users_has_a_point_for_an_interval():
    values = np.full((1, 30), 0.25)
    assert bootstrap_intervals(values, resamples=50).tolist() == [[0.25, 0.25]]


@pytest.mark.parametrize(
    ("differences", "expected"),
    [
        ([1.0, 1.0, 1.0], 2 / 8),  # all signs equal, either way
        ([1.0, 1.0, 0.0], 2 / 4),  # a user on whom both agree decides nothing
        ([3.0, 1.0, -1.0], 6 / 8),  # |3 +- 1 +- 1| is 3, 5, 1, 3: three in four
        ([0.0, 0.0], 1.0),
        ([0.1, 0.2, -0.3], 1.0),  # the sum is zero but for rounding
    ],
)
def test_p_values_of_all_patterns_by_hand(differences, expected):
    assert sign_flip_test(np.array([differences])).tolist() == [expected]


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=9))
def test_ties_count_as_ties_whatever_rounding_does_to_them(tenths):
    # Whole numbers are added up without rounding; tenths are not.
    seen = abs(sum(tenths))
    patterns = product((1, -1), repeat=len(tenths))
    sums = [abs(sum(s * d for s, d in zip(p, tenths, strict=True))) for p in patterns]
    expected = sum(total >= seen for total in sums) / len(sums)
    assert sign_flip_test(np.array([tenths]) / 10).tolist() == [expected]


def test_few_users_give_scipy_s_exact_p_value():
    generator = np.random.default_rng(2)
    for users in (2, 6, 10):
        differences = generator.normal(0.4, 1, (3, users))
        ours = sign_flip_test(differences, resamples=1024)
        for row, p in zip(differences, ours, strict=True):
            theirs = stats.permutation_test(
                (row,), np.sum, permutation_type="samples", n_resamples=np.inf, vectorized=True
            )
            assert p == pytest.approx(min(1.0, theirs.pvalue), abs=1e-12)


def test_drawn_patterns_give_scipy_s_p_value_within_the_error_of_drawing():
    generator = np.random.default_rng(5)
    differences = generator.normal(0.12, 1, (3, 200))
    for row, p in zip(differences, sign_flip_test(differences, 4_999, seed=1), strict=True):
        theirs = stats.permutation_test(
            (row,),
            lambda x, axis: x.mean(axis=axis),
            permutation_type="samples",
            n_resamples=4_999,
            batch=500,
            rng=np.random.default_rng(2),
        )
        error = np.sqrt(2 * p * (1 - p) / 4_999)
        assert p == pytest.approx(theirs.pvalue, abs=5 * error)


def test_with_one_relevant_item_it_is_the_exact_test_of_mcnemar():
    only_a, only_b = 34, 18
    differences = np.concatenate((np.ones(only_a), -np.ones(only_b), np.zeros(500)))
    p = sign_flip_test(differences[None], 9_999)[0]
    expected = stats.binomtest(only_a, only_a + only_b).pvalue
    assert p == pytest.approx(expected, abs=5 * np.sqrt(expected / 9_999))


def test_with_many_users_the_t_test_agrees():
    a, b = recalls(2, 1_500)
    # Users on whom the two agree, as there are many between models that are close.
    b = np.where(np.random.default_rng(0).random(1_500) < 0.93, a, b)
    p = sign_flip_test((b - a)[None], 4_999)[0]
    expected = stats.ttest_rel(b, a).pvalue
    assert 0.01 < expected < 0.3
    assert p == pytest.approx(expected, abs=5 * np.sqrt(expected / 4_999) + 0.002)


def test_models_that_are_alike_are_told_apart_as_often_as_the_level_says():
    generator = np.random.default_rng(9)
    # Skewed values, and alike: which of the two is which was drawn.
    differences = generator.exponential(size=(2_000, 40)) * generator.choice([-1, 1], (2_000, 40))
    p = sign_flip_test(differences, 199)
    for level in (0.05, 0.5):
        assert (p <= level).mean() == pytest.approx(level, abs=5 * np.sqrt(level / 2_000))


def test_the_smallest_p_value_is_one_pattern_of_all_and_never_zero():
    assert sign_flip_test(np.ones((1, 500)), 99).tolist() == [0.01]


@pytest.mark.parametrize("cells", [1, 700, 2**20])
def test_p_values_depend_on_neither_block_size_nor_the_other_rows(monkeypatch, cells):
    differences = np.diff(recalls(4, 93), axis=0)
    whole = sign_flip_test(differences, 400, seed=3), bootstrap_intervals(differences, 0.9, 400)
    alone = [sign_flip_test(row[None], 400, seed=3)[0] for row in differences]
    assert whole[0].tolist() == alone
    monkeypatch.setattr(significance, "_CELLS_PER_BLOCK", cells)
    assert (sign_flip_test(differences, 400, seed=3) == whole[0]).all()
    assert bootstrap_intervals(differences, 0.9, 400) == pytest.approx(whole[1], abs=1e-12)


def test_holm_by_hand():
    # Sorted: .005 x 4, .01 x 3, .03 x 2, then .04 x 1, which must not fall below .06.
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    # .0041 x 3, .021 x 2, .3 x 1.
    assert holm(np.array([0.3, 0.0041, 0.021])) == pytest.approx([0.3, 0.0123, 0.042])
    assert holm(np.array([0.6, 0.5])).tolist() == [1.0, 1.0]
    assert holm(np.array([0.02])).tolist() == [0.02]
    assert holm(np.array([])).tolist() == []


P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=8)


@given(P_VALUES, st.floats(0.001, 0.999))
def test_holm_rejects_what_the_step_down_procedure_rejects(p_values, level):
    adjusted = holm(np.array(p_values))
    rejected = set()
    # The procedure as it is told: from the smallest on, until the first that fails.
    for step, at in enumerate(sorted(range(len(p_values)), key=lambda at: p_values[at])):
        if (len(p_values) - step) * p_values[at] > level:
            break
        rejected.add(at)
    assert rejected == {at for at, p in enumerate(adjusted) if p <= level}


@given(P_VALUES, st.randoms())
def test_holm_is_monotone_between_p_and_bonferroni_and_blind_to_order(p_values, random):
    p = np.array(p_values)
    adjusted = holm(p)
    assert (adjusted >= p).all()
    assert (adjusted <= np.minimum(1, len(p) * p)).all()
    order = np.argsort(p, kind="stable")
    assert (np.diff(adjusted[order]) >= 0).all()
    shuffled = np.array(random.sample(range(len(p)), len(p)))
    assert (holm(p[shuffled]) == adjusted[shuffled]).all()


@pytest.mark.parametrize("p", [-0.1, 1.1, np.nan])
def test_holm_refuses_what_is_no_p_value(p):
    with pytest.raises(ValueError, match=r"outside \[0, 1\]"):
        holm(np.array([0.1, p]))


def test_comparisons_with_a_reference_are_made_of_the_parts():
    reference, same, better, worse = recalls(4, 400)
    worse, same = reference - 0.05, reference.copy()
    found = paired_comparisons(
        reference, {"better": better, "same": same, "worse": worse}, 0.9, resamples=500, seed=4
    )
    assert list(found) == ["better", "same", "worse"]
    differences = np.stack([better - reference, same - reference, worse - reference])
    intervals = bootstrap_intervals(differences, 0.9, 500, 4)
    p_values = sign_flip_test(differences, 500, 4)
    for at, result in enumerate(found.values()):
        assert result.difference == differences[at].mean()
        assert [result.low, result.high] == intervals[at].tolist()
        assert result.p_value == p_values[at]
        assert result.holm == holm(p_values)[at]
    assert found["better"].difference > 0 > found["worse"].difference
    assert (found["same"].low, found["same"].high, found["same"].holm) == (0, 0, 1)
    assert found["worse"].holm == pytest.approx(3 / 501)
    assert paired_comparisons(reference, {}) == {}


def test_users_are_averaged_over_seeds_by_hand():
    users = np.array(["a", "b"])
    runs = [(users, np.array([0.0, 0.5])), (users, np.array([1.0, 0.5]))]
    assert mean_over_seeds(runs).tolist() == [0.5, 0.5]
    assert mean_over_seeds(runs[:1]).tolist() == [0.0, 0.5]


@pytest.mark.parametrize("others", [["b", "a"], ["a", "c"], ["a"], ["a", "b", "c"]])
def test_seeds_over_other_users_are_refused(others):
    first = np.array(["a", "b"]), np.zeros(2)
    with pytest.raises(InputError, match="run 2 of 2 seeds was evaluated on other users"):
        mean_over_seeds([first, (np.array(others), np.zeros(len(others)))])


def test_deviation_over_seeds_is_the_sample_s():
    values = [0.091, 0.094, 0.0995]
    mean, deviation = mean_and_deviation(values)
    assert mean == pytest.approx(statistics.mean(values), abs=1e-15)
    assert deviation == pytest.approx(statistics.stdev(values), abs=1e-15)
    assert mean_and_deviation([0.25]) == (0.25, None)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bootstrap_intervals(np.zeros(3)), "not (3,)"),
        (lambda: bootstrap_intervals(np.zeros((2, 0))), "not (2, 0)"),
        (lambda: bootstrap_intervals(np.array([[0.0, np.nan]])), "not finite"),
        (lambda: bootstrap_intervals(np.zeros((1, 2)), 1.0), "between 0 and 1"),
        (lambda: sign_flip_test(np.zeros((1, 2)), 0), "at least 1"),
        (lambda: sign_flip_test(np.array([[np.inf]])), "not finite"),
        (lambda: paired_comparisons(np.zeros(3), {"m": np.zeros(1)}), "m: (1,) values against"),
        (lambda: mean_over_seeds([]), "no run"),
        (lambda: mean_over_seeds([(np.arange(2), np.zeros(3))]), "(3,) values of (2,) users"),
        (lambda: mean_and_deviation([]), "no seed"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(call, message):
    with pytest.raises(ValueError) as caught:
        call()
    assert message in str(caught.value)


def test_a_family_of_twenty_models_takes_seconds_and_little_memory():
    values = recalls(21, 6_000)
    models = {str(number): row for number, row in enumerate(values[1:])}
    start = time.perf_counter()
    found = paired_comparisons(values[0], models)
    # Under 2 s on 2 idle cores; the margin is for a machine busy with other tests.
    assert time.perf_counter() - start < 20
    assert found["19"].holm < 0.01
    tracemalloc.start()
    differences = np.zeros((1, 10_000))
    bootstrap_intervals(differences, resamples=2_000)
    sign_flip_test(differences, 2_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # All resamples at once: 160 MB for each array of float64.
    assert peak < 60 * 2**20
