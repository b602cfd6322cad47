"""Splitting interactions into training, validation and test, and which leak each rule prevents.

Every rule returns one label an interaction (``TRAIN``, ``VAL`` or ``TEST``): the parts are disjoint
and their union is what came in. The rules look at users and times only through arrays, and equal
times keep the order of the arrays, so the caller's order decides ties.
"""

from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from extract.errors import InputError

SplitRule = Literal[
    "random",
    "temporal-user",
    "temporal-global",
    "leave-one-out",
    "leave-one-out-random",
    "item-cold",
    "user-cold",
]
TEMPORAL_RULES: tuple[SplitRule, ...] = ("temporal-user", "temporal-global", "leave-one-out")
TRAIN, VAL, TEST = 0, 1, 2

Ratios = tuple[float, float, float]
Labels = npt.NDArray[np.int8]
Rows = npt.NDArray[np.int64]
Times = npt.NDArray[np.int64] | npt.NDArray[np.float64]


def split_interactions(
    rule: SplitRule,
    users: Rows,
    items: Rows,
    times: Times | None,
    *,
    ratios: Ratios,
    seed: int,
) -> Labels:
    """Label every interaction by one of the rules below.

    Args:
        rule: the rule's name.
        users: user of each interaction, int64 (n,).
        items: item of each interaction, int64 (n,); only ``item-cold`` looks at them.
        times: time of each interaction, (n,), any unit; needed by the rules in ``TEMPORAL_RULES``.
        ratios: shares of training, validation and test; the leave-one-out rules do not use them.
        seed: seeds every random choice.

    Returns:
        int8 (n,) of ``TRAIN``, ``VAL``, ``TEST``.

    Raises:
        InputError: the rule needs times and there are none; or nothing would be left to train on.
    """
    if rule not in get_args(SplitRule):
        raise InputError(f"split '{rule}': use one of {', '.join(get_args(SplitRule))}")
    rng = np.random.default_rng(seed)
    if rule == "random":
        return random_per_user(users, ratios, rng)
    if rule == "leave-one-out-random":
        return leave_one_out(users, rng.random(len(users)))
    if rule in ("item-cold", "user-cold"):
        return cold(items if rule == "item-cold" else users, rule.partition("-")[0], ratios, rng)
    if times is None:
        raise InputError(f"split '{rule}' needs a timestamp for every interaction: none were given")
    if rule == "temporal-user":
        return temporal_per_user(users, times, ratios, rng)
    if rule == "temporal-global":
        return temporal_global(times, ratios)
    return leave_one_out(users, times)


def random_per_user(users: Rows, ratios: Ratios, rng: np.random.Generator) -> Labels:
    """Each user's interactions are dealt at random in the given shares.

    Prevents the leak of the same interaction into two parts and keeps at least one training
    interaction a user, so no user is cold. It does not prevent leaks from the future: a model may
    train on what a user did after the test interaction.
    """
    return _cut_each_user(users, rng.random(len(users)), ratios, rng)


def temporal_per_user(
    users: Rows, times: Times, ratios: Ratios, rng: np.random.Generator
) -> Labels:
    """Each user's earliest interactions train, later ones validate, the latest test.

    Prevents that a user's own future explains the user's past; every user keeps at least one
    training interaction. It does not prevent leaks across users: one user's training interaction
    may be later than another user's test interaction.
    """
    return _cut_each_user(users, times, ratios, rng)


def temporal_global(times: Times, ratios: Ratios) -> Labels:
    """Two moments cut everybody's history: before the first trains, after the second tests.

    Prevents every leak from the future, across users too, as in deployment. Interactions of one
    moment are never separated, so the shares are approximate; users and items that first appear
    after the first cut have no training interaction, and stay in validation or test.

    Raises:
        InputError: too many interactions share one moment, so that nothing would be left to train.
    """
    count = len(times)
    in_order = np.sort(times)
    labels = np.full(count, TRAIN, dtype=np.int8)
    for label, share in ((VAL, ratios[0]), (TEST, ratios[0] + ratios[1])):
        place = max(1, int(np.floor(share * count + 0.5)))
        if place < count:
            labels[times >= in_order[place]] = label
    if not (labels == TRAIN).any():
        raise InputError(
            "split 'temporal-global' leaves nothing to train on: the earliest moment already holds"
            f" more than the training share of the {count} interactions; use another split"
        )
    return labels


def leave_one_out(users: Rows, order: Times) -> Labels:
    """Each user's last interaction tests, the one before validates, the others train.

    ``order`` is the time (prevents that a user's own future explains the past, as in
    ``temporal_per_user``) or random numbers (prevents no leak from the future). A user with two
    interactions has no validation interaction; one with a single interaction only trains.
    """
    sequence = np.lexsort((order, users))
    from_end, size = _places_from_end(users[sequence])
    labels = np.full(len(users), TRAIN, dtype=np.int8)
    labels[sequence[(from_end == 0) & (size >= 2)]] = TEST
    labels[sequence[(from_end == 1) & (size >= 3)]] = VAL
    return labels


def cold(ids: Rows, kind: str, ratios: Ratios, rng: np.random.Generator) -> Labels:
    """Items (or users) are dealt at random in the given shares, each with all its interactions.

    What validates or tests has no training interaction at all: this measures what is known of new
    items by their media alone (or of new users by nothing). It does not prevent leaks from the
    future.

    Args:
        ids: item (or user) of each interaction, int64 (n,).
        kind: what they are, for the error.
        ratios: shares of the items that have interactions, each rounded; of the interactions they
            are approximate.
        rng: draws them.

    Raises:
        InputError: nothing would be left to train on.
    """
    distinct, place = np.unique(ids, return_inverse=True)
    count = len(distinct)
    first, second = (
        int(np.floor(share * count + 0.5)) for share in (ratios[0], ratios[0] + ratios[1])
    )
    if not first:
        raise InputError(
            f"split '{kind}-cold' leaves nothing to train on: there are {count} {kind}s with"
            " interactions; use another split or a larger training share"
        )
    rank = rng.permutation(count)[place]
    labels = np.full(len(ids), TRAIN, dtype=np.int8)
    labels[rank >= first] = VAL
    labels[rank >= second] = TEST
    return labels


def _cut_each_user(users: Rows, order: Times, ratios: Ratios, rng: np.random.Generator) -> Labels:
    """Cut each user's interactions, sorted by ``order``, in the given shares.

    Short histories do not divide evenly. One uniform number a user decides which way both cuts are
    rounded (systematic sampling), so that every share is met in expectation for histories of any
    length; fixed rounding would leave users with five interactions without validation for ever.
    """
    sequence = np.lexsort((order, users))
    sorted_users = users[sequence]
    from_end, size = _places_from_end(sorted_users)
    place = size - 1 - from_end
    _, user_number = np.unique(sorted_users, return_inverse=True)
    offset = rng.random(int(user_number[-1]) + 1 if len(users) else 0)[user_number]
    # A hair is taken off, or float sums such as .8 + .1 + .1 > 1 would now and then add a row. At
    # least one training interaction a user.
    first_cut = np.maximum(np.ceil(ratios[0] * size - offset - 1e-9), 1)
    second_cut = np.ceil((ratios[0] + ratios[1]) * size - offset - 1e-9)
    labels = np.full(len(users), TRAIN, dtype=np.int8)
    labels[sequence[place >= first_cut]] = VAL
    labels[sequence[(place >= first_cut) & (place >= second_cut)]] = TEST
    return labels


def _places_from_end(sorted_users: Rows) -> tuple[Rows, Rows]:
    """For users sorted in runs: each one's distance to its run's end, and its run's length."""
    if not len(sorted_users):
        return sorted_users, sorted_users
    starts = np.flatnonzero(np.r_[True, sorted_users[1:] != sorted_users[:-1]])
    sizes = np.diff(np.r_[starts, len(sorted_users)])
    size = np.repeat(sizes, sizes)
    place = np.arange(len(sorted_users)) - np.repeat(starts, sizes)
    return size - 1 - place, size
