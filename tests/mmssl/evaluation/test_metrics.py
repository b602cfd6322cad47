import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extract.errors import InputError
from mmssl.evaluation.metrics import METRICS, check_ks, per_user_metrics


def as_hits(*lists: list[int]) -> np.ndarray:
    return np.array(lists, dtype=bool)


def slow(hits: list[bool], relevant: int, k: int) -> dict[str, float]:
    """METHOD section 6 for one user, in plain Python, sums written out."""
    top = hits[:k]
    dcg = sum(1 / math.log2(rank + 1) for rank, hit in enumerate(top, 1) if hit)
    ideal = sum(1 / math.log2(rank + 1) for rank in range(1, min(relevant, k) + 1))
    legacy = sum(1 / math.log2(rank + 1) for rank in range(1, sum(top) + 1))
    precisions = [sum(top[:rank]) / rank for rank, hit in enumerate(top, 1) if hit]
    first = next((rank for rank, hit in enumerate(top, 1) if hit), None)
    return {
        "recall": sum(top) / relevant,
        "ndcg": dcg / ideal,
        "legacy_ndcg": dcg / legacy if legacy else 0.0,
        "map": sum(precisions) / min(relevant, k),
        "mrr": 1 / first if first else 0.0,
        "precision": sum(top) / k,
        "hit_rate": float(any(top)),
    }


def test_hand_computed_values_of_a_list_with_hits_at_ranks_1_and_3():
    metrics = per_user_metrics(as_hits([1, 0, 1, 0]), np.array([3]), ks=[2, 4])
    ideal_three = 1 + 1 / math.log2(3) + 0.5
    expected = {
        "recall@2": 1 / 3,
        "recall@4": 2 / 3,
        "ndcg@2": 1 / (1 + 1 / math.log2(3)),
        "ndcg@4": 1.5 / ideal_three,
        "legacy_ndcg@2": 1.0,
        "legacy_ndcg@4": 1.5 / (1 + 1 / math.log2(3)),
        "map@2": 1 / 2,
        "map@4": (1 + 2 / 3) / 3,
        "mrr@2": 1.0,
        "mrr@4": 1.0,
        "precision@2": 0.5,
        "precision@4": 0.5,
        "hit_rate@2": 1.0,
        "hit_rate@4": 1.0,
    }
    assert list(metrics) == list(expected)
    for name, value in expected.items():
        assert metrics[name] == pytest.approx([value], abs=1e-15), name


def test_one_hit_of_five_is_not_a_perfect_list_except_by_the_published_ndcg():
    # Fault 12 of the published implementation: 1.0 where the standard says .339.
    metrics = per_user_metrics(as_hits([1] + [0] * 19), np.array([5]), ks=[20])
    assert metrics["ndcg@20"][0] == pytest.approx(0.339, abs=5e-4)
    assert metrics["legacy_ndcg@20"][0] == 1.0


def test_a_list_without_a_hit_scores_zero_everywhere():
    metrics = per_user_metrics(as_hits([0, 0, 0]), np.array([2]), ks=[1, 3])
    assert all(values.tolist() == [0.0] for values in metrics.values())


def test_more_relevant_items_than_ranks_still_allow_a_perfect_ndcg_and_map():
    metrics = per_user_metrics(as_hits([1, 1]), np.array([7]), ks=[2])
    assert metrics["ndcg@2"][0] == metrics["map@2"][0] == 1.0
    assert metrics["recall@2"][0] == pytest.approx(2 / 7)


@st.composite
def users_with_lists(draw):
    length = draw(st.integers(1, 30))
    lists = draw(
        st.lists(st.lists(st.booleans(), min_size=length, max_size=length), min_size=1, max_size=8)
    )
    relevant = [sum(hits) + draw(st.integers(int(not any(hits)), 40)) for hits in lists]
    ks = draw(st.lists(st.integers(1, length + 15), min_size=1, max_size=4))
    return lists, relevant, ks


@given(users_with_lists())
def test_every_metric_agrees_with_plain_python(case):
    lists, relevant, ks = case
    metrics = per_user_metrics(np.array(lists), np.array(relevant), ks)
    assert set(metrics) == {f"{name}@{k}" for name in METRICS for k in ks}
    for row, (hits, count) in enumerate(zip(lists, relevant, strict=True)):
        for k in ks:
            for name, value in slow(hits, count, k).items():
                assert abs(metrics[f"{name}@{k}"][row] - value) < 1e-12, (name, k)


@given(users_with_lists())
def test_metrics_stay_in_their_bounds_and_order(case):
    lists, relevant, ks = case
    metrics = per_user_metrics(np.array(lists), np.array(relevant), ks)
    for values in metrics.values():
        assert values.dtype == np.float64
        assert (values >= 0).all()
        assert (values <= 1 + 1e-12).all()
    for k in ks:
        assert (metrics[f"legacy_ndcg@{k}"] >= metrics[f"ndcg@{k}"] - 1e-12).all()
        assert (metrics[f"hit_rate@{k}"] >= metrics[f"mrr@{k}"]).all()
        assert (metrics[f"hit_rate@{k}"] >= metrics[f"recall@{k}"]).all()
    for shorter, longer in zip(sorted(ks), sorted(ks)[1:], strict=False):
        for name in ("recall", "hit_rate", "mrr"):
            assert (metrics[f"{name}@{longer}"] >= metrics[f"{name}@{shorter}"]).all()


@given(users_with_lists(), st.integers(0, 28))
def test_moving_a_hit_one_rank_up_never_hurts(case, place):
    lists, relevant, ks = case
    before = np.array(lists)
    place %= before.shape[1]
    after = before.copy()
    if place:
        ahead, behind = after[:, place - 1].copy(), after[:, place].copy()
        after[:, place - 1], after[:, place] = ahead | behind, ahead & behind
    old = per_user_metrics(before, np.array(relevant), ks)
    new = per_user_metrics(after, np.array(relevant), ks)
    # The published NDCG is not among them: a hit that enters the list raises its ideal.
    for name in set(METRICS) - {"legacy_ndcg"}:
        for k in ks:
            assert (new[f"{name}@{k}"] >= old[f"{name}@{k}"] - 1e-12).all(), name


def test_agreement_with_ranx_on_random_cases(monkeypatch):
    import numba

    # ranx is a minute slower to compile than to interpret here.
    monkeypatch.setattr(numba.config, "DISABLE_JIT", True)
    from ranx import Qrels, Run, evaluate

    generator = np.random.default_rng(3)
    n_users, n_items, length = 60, 200, 50
    ranking = np.argsort(generator.random((n_users, n_items)), axis=1)
    relevant = generator.random((n_users, n_items)) < generator.choice(
        [0.01, 0.1, 0.4], (n_users, 1)
    )
    relevant[:, 0] = True
    counts = relevant.sum(axis=1)
    hits = np.take_along_axis(relevant, ranking[:, :length], axis=1)
    qrels = Qrels(
        {f"u{u:03}": {f"i{i}": 1 for i in relevant[u].nonzero()[0]} for u in range(n_users)}
    )
    run = Run(
        {
            f"u{u:03}": {f"i{i}": float(length - r) for r, i in enumerate(ranking[u, :length])}
            for u in range(n_users)
        }
    )
    ks = (1, 5, 10, 20, 50)
    ours = per_user_metrics(hits, counts, ks)
    for name in ("recall", "ndcg", "map", "mrr", "precision", "hit_rate"):
        for k in ks:
            theirs = evaluate(qrels, run, f"{name}@{k}", return_mean=False)
            # ranx divides average precision by all relevant items, METHOD by those reachable.
            scale = counts / np.minimum(counts, k) if name == "map" else 1.0
            np.testing.assert_allclose(
                ours[f"{name}@{k}"], theirs * scale, rtol=0, atol=1e-9, err_msg=f"{name}@{k}"
            )


@pytest.mark.parametrize("ks", [[], [0], [10, -1]])
def test_cut_offs_below_one_are_refused(ks):
    with pytest.raises(InputError, match="at least 1"):
        check_ks(ks)


def test_cut_offs_are_sorted_and_distinct():
    assert check_ks([50, 10, 50]) == (10, 50)


def test_a_cut_off_beyond_the_list_finds_nothing_there_and_costs_no_memory():
    ks = [1, 2, 5, 10**12, 10**30]
    metrics = per_user_metrics(as_hits([1, 0], [0, 1], [0, 0]), np.array([1, 3, 9]), ks)
    for row, (hits, count) in enumerate((([1, 0], 1), ([0, 1], 3), ([0, 0], 9))):
        for k in ks:
            for name, value in slow(hits, count, k).items():
                assert metrics[f"{name}@{k}"][row] == pytest.approx(value, abs=1e-12), (name, k)


def test_lists_without_a_rank_are_refused():
    with pytest.raises(ValueError, match="without a rank"):
        per_user_metrics(np.empty((1, 0), bool), np.array([1]), ks=[5])


def test_a_user_without_a_relevant_item_is_refused():
    with pytest.raises(ValueError, match="needs a relevant item"):
        per_user_metrics(as_hits([0, 0]), np.array([0]), ks=[1])
