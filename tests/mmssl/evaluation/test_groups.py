import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array, random_array

from extract.errors import InputError
from mmssl.data.dataset import Interactions
from mmssl.evaluation.evaluate import evaluate_scores
from mmssl.evaluation.groups import (
    GroupMean,
    GroupRecall,
    Groups,
    activity_groups,
    hits_by_group,
    popularity_groups,
    quantile_bounds,
    user_group_means,
)
from mmssl.evaluation.ranking import top_k

COUNTS = st.lists(st.integers(0, 30), min_size=1, max_size=40).map(np.array)


def members(groups: Groups) -> dict[str, list[int]]:
    return {
        name: np.flatnonzero(groups.of == number).tolist()
        for number, name in enumerate(groups.names)
    }


def test_activity_groups_by_hand():
    groups = activity_groups(np.array([0, 1, 4, 5, 9, 10, 300]), (5, 10))
    assert members(groups) == {"0": [0], "1-4": [1, 2], "5-9": [3, 4], "10+": [5, 6]}
    assert groups.sizes.tolist() == [1, 2, 2, 2]
    assert activity_groups(np.array([2, 3]), (2, 3)).names == ("0", "1", "2", "3+")
    assert members(activity_groups(np.array([2, 0]), ())) == {"0": [1], "1+": [0]}


@pytest.mark.parametrize("bounds", [(1,), (0, 5), (5, 5), (10, 5)])
def test_bounds_that_do_not_rise_are_refused(bounds):
    with pytest.raises(InputError, match="must rise from 2 on"):
        activity_groups(np.array([1]), bounds)


def test_quantile_bounds_by_hand():
    # Ten active users in fours: 1 1 1 | 2 3 | 3 4 5 | 6 50; equals go together.
    counts = np.array([0, 50, 1, 2, 1, 3, 3, 4, 5, 6, 0, 1])
    assert quantile_bounds(counts, 2) == (4,)
    assert quantile_bounds(np.arange(1, 9), 4) == (3, 5, 7)
    assert quantile_bounds(np.array([2, 2, 2, 7]), 4) == (3,)
    assert quantile_bounds(np.array([0, 0])) == ()
    assert quantile_bounds(np.array([3, 3])) == ()
    with pytest.raises(InputError, match="at least 1"):
        quantile_bounds(counts, 0)


@given(COUNTS, st.integers(1, 6))
def test_quantile_groups_hold_active_users_by_activity_and_none_is_empty(counts, number):
    groups = activity_groups(counts, quantile_bounds(counts, number))
    assert len(groups.names) <= number + 1
    assert (groups.of[counts == 0] == 0).all()
    assert (groups.of[counts > 0] > 0).all()
    if (counts > 0).any():
        assert (groups.sizes[1:] > 0).all()
    for name, rows in members(groups).items():
        lower, _, upper = name.removesuffix("+").partition("-")
        for row in rows:
            assert int(lower) <= counts[row]
            assert counts[row] <= int(upper or lower) or name.endswith("+")


def test_popularity_groups_by_hand():
    # 20 interactions: 4 are in the head, 16 in head and middle.
    counts = np.array([0, 4, 6, 3, 3, 2, 1, 1, 0])
    groups = popularity_groups(counts)
    assert members(groups) == {"head": [2], "mid": [1, 3, 4], "tail": [5, 6, 7], "cold": [0, 8]}
    # The 80/20 rule; both items with 3 are needed to hold 16.
    pareto = popularity_groups(counts, (0.8,))
    assert members(pareto) == {"head": [1, 2, 3, 4], "tail": [5, 6, 7], "cold": [0, 8]}
    # The first item with 3 would do for 13 of 20; the second is as popular.
    assert members(popularity_groups(counts, (0.65,)))["head"] == [1, 2, 3, 4]
    # .07 x 100 is a little more than 7 in floating point: 7 are enough.
    assert members(popularity_groups(np.array([7] + [1] * 93), (0.07,)))["head"] == [0]
    assert members(popularity_groups(np.array([0, 0])))["cold"] == [0, 1]


@given(COUNTS, st.sampled_from([(0.2, 0.8), (0.8,), (0.5,), (0.1, 0.3)]), st.randoms())
def test_popularity_groups_hold_their_share_and_no_more_than_needed(counts, shares, random):
    groups = popularity_groups(counts, shares)
    assert ((groups.of == len(groups.names) - 1) == (counts == 0)).all()
    total = counts.sum()
    for number, share in enumerate(shares):
        inside = counts[(groups.of <= number) & (counts > 0)]
        assert inside.sum() >= share * total - 1e-6
        if len(inside):
            # Without its least popular items it would hold too little.
            assert inside[inside > inside.min()].sum() < share * total or share * total == 0
            assert inside.min() > counts[(groups.of > number) & (counts > 0)].max(initial=0)
    order = np.array(random.sample(range(len(counts)), len(counts)))
    assert (popularity_groups(counts[order], shares).of == groups.of[order]).all()


@pytest.mark.parametrize("shares", [(), (0.8, 0.2), (0.0,), (1.0,), (0.2, 0.2), (0.1, 0.2, 0.3)])
def test_shares_that_do_not_rise_are_refused(shares):
    with pytest.raises(InputError, match="rise between 0 and 1"):
        popularity_groups(np.array([1, 2]), shares)


def test_user_group_means_by_hand():
    groups = Groups(("0", "1-4", "5+"), np.array([1, 1, 0, 1, 0]))
    found = user_group_means(np.array([0.5, 1.0, 0.0]), np.array([0, 1, 4]), groups)
    assert found == {"0": GroupMean(1, 0.0), "1-4": GroupMean(2, 0.75), "5+": GroupMean(0, None)}


@given(st.data())
def test_user_groups_recombine_to_the_mean_of_all(data):
    n = data.draw(st.integers(1, 20))
    of = np.array(data.draw(st.lists(st.integers(0, 3), min_size=n, max_size=n)))
    users = np.array(sorted(data.draw(st.sets(st.integers(0, n - 1), min_size=1))))
    values = np.array(data.draw(st.lists(st.floats(0, 1), min_size=n, max_size=n)))[users]
    found = user_group_means(values, users, Groups(("a", "b", "c", "d"), of))
    assert sum(group.users for group in found.values()) == len(users)
    total = sum(group.users * group.mean for group in found.values() if group.users)
    assert total / len(users) == pytest.approx(values.mean(), abs=1e-12)


# Items 0 and 1 are head, 2 and 3 tail, 4 is cold.
ITEMS = Groups(("head", "tail", "cold"), np.array([0, 0, 1, 1, 2]))


def test_hits_by_item_group_by_hand():
    lists = np.array([[0, 2, 4], [1, 3, -1], [4, 0, 1]])
    users = np.array([2, 5, 7])
    # User 2: 0 and 2 hit, 1 and 3 missed; user 5: 3 hit; user 7: nothing hit.
    relevant = Interactions(np.array([2, 2, 2, 2, 5, 7]), np.array([0, 1, 2, 3, 3, 3]))
    found = hits_by_group(lists, users, relevant, ITEMS)
    assert found.hits.tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 0]]
    assert found.relevant.tolist() == [[2, 2, 0], [0, 1, 0], [0, 1, 0]]
    recall = found.recall()
    assert recall[0].tolist()[:2] == [0.5, 0.5]
    assert np.isnan(recall[:, 2]).all()
    assert np.isnan(recall[1:, 0]).all()
    assert found.summary() == {
        "head": GroupRecall(1, 2, 1, 0.5),
        "tail": GroupRecall(3, 4, 2, pytest.approx((0.5 + 1 + 0) / 3)),
        "cold": GroupRecall(0, 0, 0, None),
    }


def test_pairs_twice_and_empty_places_and_users_without_pairs_count_for_nothing():
    # The place behind user 1's list must not be read as user 0's last item, which is relevant.
    lists = np.array([[0, 1], [0, -1]])
    relevant = Interactions(np.array([0, 0, 0]), np.array([4, 0, 0]))
    found = hits_by_group(lists, np.array([0, 1]), relevant, ITEMS)
    assert found.hits.tolist() == [[1, 0, 0], [0, 0, 0]]
    assert found.relevant.tolist() == [[1, 0, 1], [0, 0, 0]]
    assert found.summary()["cold"] == GroupRecall(1, 1, 0, 0.0)


@pytest.mark.parametrize("seed", range(5))
def test_item_groups_recombine_to_the_recall_of_the_evaluation(seed):
    generator = np.random.default_rng(seed)
    scores = torch.from_numpy(generator.random((30, 25)).astype(np.float32))
    train = csr_array(random_array((30, 25), density=0.3, rng=generator))
    rows, columns = csr_array(random_array((30, 25), density=0.1, rng=generator)).nonzero()
    relevant = Interactions(rows.astype(np.int64), columns.astype(np.int64))
    evaluation = evaluate_scores(lambda u: scores[u], relevant, train, ks=[6])
    lists, _ = top_k(lambda u: scores[u], evaluation.users, train, 6)
    groups = popularity_groups(np.bincount(train.indices, minlength=25))
    found = hits_by_group(lists, evaluation.users, relevant, groups)
    recall = found.hits.sum(axis=1) / found.relevant.sum(axis=1)
    assert recall == pytest.approx(evaluation.per_user["recall@6"], abs=1e-12)
    # A user's recall is the groups', weighted by the relevant items in each.
    weighted = np.nansum(found.recall() * found.relevant, axis=1) / found.relevant.sum(axis=1)
    assert weighted == pytest.approx(recall, abs=1e-12)
    summary = found.summary().values()
    assert sum(group.relevant for group in summary) == len(relevant)
    hits = evaluation.per_user["precision@6"].sum() * 6
    assert sum(group.hits for group in summary) == pytest.approx(hits)


@pytest.mark.parametrize(
    ("lists", "users", "message"),
    [
        (np.zeros((2, 1), np.int64), np.array([1, 0]), "must ascend"),
        (np.zeros((2, 1), np.int64), np.array([0]), "must ascend"),
        (np.zeros(1, np.int64), np.array([0]), "must ascend"),
        (np.zeros((1, 1), np.int64), np.array([2]), "who has no list"),
    ],
)
def test_lists_that_do_not_fit_are_refused(lists, users, message):
    with pytest.raises(ValueError, match=message):
        hits_by_group(lists, users, Interactions(np.array([0]), np.array([0])), ITEMS)
