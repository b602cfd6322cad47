"""Groups of users by training activity and of items by training popularity, and their figures."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from extract.errors import InputError
from mmssl.data.dataset import Interactions


@dataclass(frozen=True, eq=False)
class Groups:
    """Rows of users or items, each in one group."""

    names: tuple[str, ...]
    of: NDArray[np.int64]
    """(U,) or (I,): the number of each row's group, by which ``names`` are in order."""

    @property
    def sizes(self) -> NDArray[np.int64]:
        """(groups,) int64: rows in each; a group may be empty."""
        return np.bincount(self.of, minlength=len(self.names))


def quantile_bounds(counts: NDArray[np.int64], groups: int = 4) -> tuple[int, ...]:
    """Bounds for ``activity_groups`` that put about equally many active users into each group.

    Users of equal activity stay together, so that groups may differ in size, and be fewer than
    asked for.

    Args:
        counts: (U,) int64, each user's training interactions; those without any are left aside.
        groups: how many groups of active users, at least 1.

    Returns:
        The smallest count of each group but the first, ascending.

    Raises:
        InputError: fewer than one group.
    """
    if groups < 1:
        raise InputError(f"{groups} activity groups: at least 1 is needed")
    active = counts[counts > 0]
    if not len(active):
        return ()
    shares = np.arange(1, groups) / groups
    last = np.quantile(active, shares, method="inverted_cdf").astype(np.int64)
    return tuple(np.unique(last[last < active.max()] + 1).tolist())


def activity_groups(counts: NDArray[np.int64], bounds: Sequence[int]) -> Groups:
    """Users by their number of training interactions; those without any are a group of their own.

    Args:
        counts: (U,) int64, each user's training interactions.
        bounds: the smallest count of each group after the first: (5, 10) makes the groups ``0``,
            ``1-4``, ``5-9`` and ``10+``.

    Raises:
        InputError: bounds that do not rise, or below 2.
    """
    starts = (1, *bounds)
    if any(upper <= lower for lower, upper in pairwise(starts)):
        raise InputError(f"the bounds of activity groups must rise from 2 on, not {list(bounds)}")
    names = ["0"]
    for lower, upper in pairwise(starts):
        names.append(str(lower) if upper - lower == 1 else f"{lower}-{upper - 1}")
    names.append(f"{starts[-1]}+")
    return Groups(tuple(names), np.searchsorted(starts, counts, side="right"))


def popularity_groups(counts: NDArray[np.int64], shares: tuple[float, ...] = (0.2, 0.8)) -> Groups:
    """Items by popularity: ``head``, ``mid``, ``tail``, and ``cold`` without training interaction.

    As in Abdollahpouri et al. (UMAP 2021): the head are the most popular items that hold 20 % of
    the training interactions, the tail the least popular ones that hold the last 20 %. One share
    alone, (0.8,), gives the short head and the long tail of the 80/20 rule. Equally popular
    items stay together: a group takes all that are as popular as the one with which it reaches its
    share, and so may hold more than that.

    Args:
        counts: (I,) int64, the training interactions of each item.
        shares: the share of all interactions that the head holds and, if there is a middle, that
            head and middle hold together.

    Raises:
        InputError: not one or two shares, rising, between 0 and 1.
    """
    if len(shares) not in (1, 2) or not all(
        lower < upper for lower, upper in zip((0, *shares), (*shares, 1), strict=True)
    ):
        raise InputError(
            f"popularity groups need one or two shares that rise between 0 and 1, not {shares}"
        )
    names = ("head", "tail", "cold") if len(shares) == 1 else ("head", "mid", "tail", "cold")
    values, of_value, items = np.unique(counts, return_inverse=True, return_counts=True)
    held = values * items
    total = int(held.sum())
    # Interactions of all the items that are more popular.
    before = total - np.cumsum(held)
    # .07 of 100 is 7.000000000000001 in floating point, and 7 must reach it.
    reached = [before >= share * total - 1e-9 * total for share in shares]
    group = np.where(values > 0, np.sum(reached, axis=0), len(names) - 1)
    return Groups(names, group[of_value].astype(np.int64))


class GroupMean(NamedTuple):
    """A metric in a group of users; no mean where nobody of the group was evaluated."""

    users: int
    mean: float | None


def user_group_means(
    values: NDArray[np.float64], users: NDArray[np.int64], groups: Groups
) -> dict[str, GroupMean]:
    """The mean of a per-user metric in each group.

    Args:
        values: (n,) the metric of the evaluated users.
        users: (n,) int64, their rows.
        groups: of all users.

    Returns:
        Every group's, in the order of ``groups.names``.
    """
    number = len(groups.names)
    counts = np.bincount(groups.of[users], minlength=number)
    sums = np.bincount(groups.of[users], weights=values, minlength=number)
    return {
        name: GroupMean(count, total / count if count else None)
        for name, count, total in zip(groups.names, counts.tolist(), sums.tolist(), strict=True)
    }


class GroupRecall(NamedTuple):
    """Recall on the items of a group; None where they are relevant to nobody."""

    users: int
    """Users to whom an item of the group is relevant."""
    relevant: int
    """Relevant pairs of user and item in the group."""
    hits: int
    """Those of them that stand in the lists."""
    recall: float | None
    """Mean over these users of hits / relevant."""


@dataclass(frozen=True, eq=False)
class GroupHits:
    """Each user's hits and relevant items, taken apart by groups of items; rows add up to all."""

    names: tuple[str, ...]
    hits: NDArray[np.int64]
    """(n, groups)."""
    relevant: NDArray[np.int64]
    """(n, groups)."""

    def recall(self) -> NDArray[np.float64]:
        """(n, groups) float64: hits / relevant; NaN where a user has nothing relevant there."""
        recall = np.full(self.hits.shape, np.nan)
        np.divide(self.hits, self.relevant, out=recall, where=self.relevant > 0)
        return recall

    def summary(self) -> dict[str, GroupRecall]:
        """Each group's figures; users without a relevant item in the group are left out of it."""
        figures = {}
        for number, (name, recall) in enumerate(zip(self.names, self.recall().T, strict=True)):
            theirs = recall[~np.isnan(recall)]
            relevant, hits = (int(part[:, number].sum()) for part in (self.relevant, self.hits))
            mean = float(theirs.mean()) if len(theirs) else None
            figures[name] = GroupRecall(len(theirs), relevant, hits, mean)
        return figures


def hits_by_group(
    lists: NDArray[np.int64], users: NDArray[np.int64], relevant: Interactions, groups: Groups
) -> GroupHits:
    """Take the lists' hits apart by the groups of the items that were hit.

    Args:
        lists: (n, K) item rows, each item once a list, -1 behind a short one. For recall@K give
            the first K columns.
        users: (n,) int64, whose lists they are, ascending; at least all that ``relevant`` names.
        relevant: the split's interactions, as row numbers.
        groups: of all I items.

    Raises:
        ValueError: lists and users that do not fit, users out of order, or a relevant pair of a
            user without a list.
    """
    if lists.ndim != 2 or len(lists) != len(users) or (np.diff(users) <= 0).any():
        raise ValueError(f"{lists.shape} lists of {len(users)} users, who must ascend")
    n_items, number = len(groups.of), len(groups.names)
    place = np.searchsorted(users, relevant.users)
    if not np.isin(relevant.users, users).all():
        raise ValueError("an item is relevant to a user who has no list")
    pairs = np.unique(place * n_items + relevant.items)
    rows = np.arange(len(users))[:, None]
    hit = np.isin(rows * n_items + lists, pairs) & (lists >= 0)

    def counted(at: NDArray[np.int64], items: NDArray[np.int64]) -> NDArray[np.int64]:
        cells = np.bincount(at * number + groups.of[items], minlength=len(users) * number)
        return cells.reshape(len(users), number)

    hits = counted(np.nonzero(hit)[0], lists[hit])
    return GroupHits(groups.names, hits, counted(pairs // n_items, pairs % n_items))
