import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from extract.errors import InputError
from mmssl.data.splits import TEST, TRAIN, VAL, split_interactions

PER_USER = ("random", "temporal-user", "leave-one-out", "leave-one-out-random")
RULES = (*PER_USER, "temporal-global")
RATIOS = (0.8, 0.1, 0.1)

users_and_times = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 8)), min_size=1, max_size=60
).map(lambda rows: tuple(np.array(column, dtype=np.int64) for column in zip(*rows, strict=True)))
shares = st.tuples(st.floats(0.05, 1), st.floats(0, 1), st.floats(0, 1)).map(
    lambda parts: tuple(part / sum(parts) for part in parts)
)


def label(rule, users, times, ratios=RATIOS, seed=0):
    items = np.zeros(len(users), np.int64)
    return split_interactions(rule, users, items, times, ratios=ratios, seed=seed)


@given(st.sampled_from(RULES), users_and_times, shares, st.integers(0, 3))
def test_every_interaction_gets_one_label_and_the_same_one_again(rule, table, ratios, seed):
    users, times = table
    try:
        labels = label(rule, users, times, ratios, seed)
    except InputError:
        assert rule == "temporal-global"
        return
    assert labels.shape == users.shape
    assert set(labels.tolist()) <= {TRAIN, VAL, TEST}
    assert np.array_equal(labels, label(rule, users, times, ratios, seed))


@given(st.sampled_from(PER_USER), users_and_times, shares)
def test_every_user_keeps_a_training_interaction(rule, table, ratios):
    users, times = table
    labels = label(rule, users, times, ratios)
    assert set(users[labels == TRAIN]) == set(users)


@given(st.sampled_from(("temporal-user", "leave-one-out")), users_and_times, shares)
def test_within_a_user_no_earlier_part_is_later_in_time(rule, table, ratios):
    users, times = table
    labels = label(rule, users, times, ratios)
    for user in set(users):
        for earlier, later in ((TRAIN, VAL), (TRAIN, TEST), (VAL, TEST)):
            before = times[(users == user) & (labels == earlier)]
            after = times[(users == user) & (labels == later)]
            if len(before) and len(after):
                assert before.max() <= after.min()


@given(users_and_times, shares)
def test_a_global_temporal_split_never_separates_a_moment_and_is_ordered(table, ratios):
    users, times = table
    try:
        labels = label("temporal-global", users, times, ratios)
    except InputError:
        # Only when the first moment alone holds more than the training share, rounded.
        assert (times == times.min()).sum() > ratios[0] * len(times) - 0.5
        return
    for earlier, later in ((TRAIN, VAL), (TRAIN, TEST), (VAL, TEST)):
        before, after = times[labels == earlier], times[labels == later]
        if len(before) and len(after):
            assert before.max() < after.min()


def test_a_global_temporal_split_cuts_at_the_ratios():
    times = np.arange(100)[::-1].copy()
    labels = label("temporal-global", np.zeros(100, np.int64), times)
    assert (labels == TRAIN).tolist() == (times < 80).tolist()
    assert (labels == TEST).tolist() == (times >= 90).tolist()


def test_a_global_temporal_split_may_leave_a_late_user_without_training():
    users = np.array([0] * 9 + [1])
    labels = label("temporal-global", users, np.arange(10))
    assert labels.tolist() == [TRAIN] * 8 + [VAL, TEST]


@given(users_and_times)
def test_leave_one_out_takes_the_last_and_the_one_before(table):
    users, times = table
    labels = label("leave-one-out", users, times)
    for user in set(users):
        size = int((users == user).sum())
        mine = labels[users == user]
        assert (mine == TEST).sum() == (size >= 2)
        assert (mine == VAL).sum() == (size >= 3)


@pytest.mark.parametrize("rule", ["random", "temporal-user"])
@pytest.mark.parametrize("size", [3, 5, 7])
def test_shares_are_met_over_many_short_histories(rule, size):
    count = 4000
    users = np.repeat(np.arange(count), size)
    times = np.tile(np.arange(size), count)
    labels = label(rule, users, times, (0.7, 0.1, 0.2))
    # Deviation of a mean over 4000 users of a quantity that varies by at most one.
    assert (labels == VAL).sum() / count == pytest.approx(0.1 * size, abs=0.04)
    assert (labels == TEST).sum() / count == pytest.approx(0.2 * size, abs=0.04)


@pytest.mark.parametrize("rule", ["random", "temporal-user"])
def test_histories_that_divide_evenly_are_cut_exactly(rule):
    users = np.repeat(np.arange(50), 10)
    labels = label(rule, users, np.tile(np.arange(10), 50)).reshape(50, 10)
    assert ((labels == VAL).sum(axis=1) == 1).all()
    assert ((labels == TEST).sum(axis=1) == 1).all()


def test_the_seed_changes_random_splits_and_not_the_temporal_order():
    users = np.repeat(np.arange(20), 10)
    times = np.tile(np.arange(10), 20)
    for rule in ("random", "leave-one-out-random"):
        assert not np.array_equal(label(rule, users, times), label(rule, users, times, seed=1))
    for rule in ("leave-one-out", "temporal-global"):
        assert np.array_equal(label(rule, users, times), label(rule, users, times, seed=1))


@pytest.mark.parametrize("rule", PER_USER)
def test_a_single_user_is_split_like_any_other(rule):
    labels = label(rule, np.zeros(10, np.int64), np.arange(10))
    sizes = [int((labels == part).sum()) for part in (TRAIN, VAL, TEST)]
    assert sizes == [8, 1, 1]


@pytest.mark.parametrize("rule", PER_USER)
def test_a_single_interaction_trains(rule):
    assert label(rule, np.zeros(1, np.int64), np.zeros(1)).tolist() == [TRAIN]


@pytest.mark.parametrize("rule", ["temporal-user", "temporal-global", "leave-one-out"])
def test_a_temporal_split_without_times_is_refused(rule):
    with pytest.raises(InputError, match=f"split '{rule}' needs a timestamp"):
        label(rule, np.zeros(3, np.int64), None)


def test_equal_times_everywhere_are_refused_by_the_global_split():
    with pytest.raises(InputError, match="leaves nothing to train on"):
        label("temporal-global", np.arange(5), np.full(5, 3))


def test_an_unknown_rule_is_answered_with_the_valid_ones():
    with pytest.raises(InputError, match=r"split 'by-moon': use one of random, temporal-user"):
        label("by-moon", np.arange(5), None)


COLD = st.sampled_from(["item-cold", "user-cold"])


def label_cold(rule, ids, ratios=RATIOS, seed=0):
    """``ids`` on the rule's own side, other numbers on the other."""
    other = np.arange(len(ids))[::-1]
    users, items = (other, ids) if rule == "item-cold" else (ids, other)
    return split_interactions(rule, users, items, None, ratios=ratios, seed=seed)


@given(COLD, st.lists(st.integers(0, 30), min_size=1, max_size=80), shares, st.integers(0, 3))
def test_a_cold_split_never_separates_what_one_item_or_user_has(rule, ids, ratios, seed):
    ids = np.array(ids)
    count = len(np.unique(ids))
    # Within rounding of a half either answer is right.
    assume(abs(ratios[0] * count - 0.5) > 1e-9)
    if ratios[0] * count < 0.5:
        with pytest.raises(InputError, match="leaves nothing to train on"):
            label_cold(rule, ids, ratios, seed)
        return
    labels = label_cold(rule, ids, ratios, seed)
    parts = [set(ids[labels == part]) for part in (TRAIN, VAL, TEST)]
    assert sum(map(len, parts)) == count
    assert parts[0]
    for part, share in zip(parts, ratios, strict=True):
        assert abs(len(part) - share * count) <= 1
    assert np.array_equal(labels, label_cold(rule, ids, ratios, seed))


def test_a_cold_split_is_drawn_by_the_seed():
    ids = np.repeat(np.arange(100), 3)
    first, second = (label_cold("item-cold", ids, seed=seed) for seed in (0, 1))
    assert not np.array_equal(first, second)
    assert [(first == part).sum() for part in (TRAIN, VAL, TEST)] == [240, 30, 30]


def test_one_item_alone_cannot_be_split_cold():
    with pytest.raises(InputError, match=r"split 'item-cold' leaves nothing .* 1 items"):
        label_cold("item-cold", np.zeros(5, np.int64), (0.4, 0.3, 0.3))
