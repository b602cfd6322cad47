"""Some users as examples: what they had, what they would be shown, and why."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from mmssl.baselines.popularity import popularity_score
from mmssl.data.dataset import Dataset
from mmssl.evaluation.ranking import top_k
from mmssl.recommend.model_folder import SavedModel
from mmssl.report.cards import Card, ItemCards
from mmssl.report.parts import contributions

USERS = 4
HISTORY = 12
RECOMMENDED = 12


@dataclass(frozen=True)
class Share:
    """What a part adds to an item's score."""

    part: str
    value: float
    width: float
    """Of all parts' values without their signs, this one's share."""


@dataclass(frozen=True)
class Listed:
    """An item in a history or a list."""

    id: str
    card: Card
    hit: bool = False
    """Whether it is one of the user's validation items."""
    shares: tuple[Share, ...] = ()
    """Empty where the score has one part alone."""


@dataclass(frozen=True)
class ExampleUser:
    """One user."""

    id: str
    why: str
    """How this user came to be shown."""
    interactions: int
    """In training."""
    held_out: int
    """In validation."""
    history: tuple[Listed, ...]
    recommended: tuple[Listed, ...]
    cold: bool
    """Without a training interaction: the list is then the most popular items."""

    @property
    def hits(self) -> int:
        """Validation items among those recommended."""
        return sum(item.hit for item in self.recommended)


def choose_users(
    activity: NDArray[np.int64], evaluated: NDArray[np.int64], seed: int, count: int = USERS
) -> list[tuple[int, str]]:
    """Users to show, and the rule by which: the most and the median active, then drawn at random.

    Args:
        activity: (U,) training interactions.
        evaluated: (n,) rows of the users with a validation item; those of them without a training
            interaction are left aside.
        seed: of the draw.
        count: how many, where there are so many.
    """
    active = evaluated[activity[evaluated] > 0]
    if not len(active):
        return []
    # Of equally active users the first in the dataset's order.
    ordered = active[np.argsort(-activity[active], kind="stable")]
    chosen = {int(ordered[0]): "the most active of the users measured"}
    chosen.setdefault(int(ordered[len(ordered) // 2]), "of median activity")
    for row in np.random.default_rng(seed).permutation(active).tolist():
        if len(chosen) >= count:
            break
        chosen.setdefault(row, f"drawn at random (seed {seed})")
    return list(chosen.items())


def example_users(
    saved: SavedModel,
    dataset: Dataset,
    cards: ItemCards,
    chosen: Sequence[tuple[int, str]],
    device: torch.device,
) -> tuple[ExampleUser, ...]:
    """What the page shows of some users, in the order given.

    The lists leave out training items alone, as the measurement does: a validation item can stand
    in them, and is then a hit.
    """
    if not chosen:
        return ()
    rows = np.array([row for row, _ in chosen])
    train, val = dataset.matrix("train"), dataset.matrix("val")
    activity = np.diff(train.indptr)[rows]
    lists, _ = top_k(saved.score(device), rows, train, RECOMMENDED)
    cold = activity == 0
    popular, _ = top_k(popularity_score(train, device), rows, train, RECOMMENDED)
    lists[cold] = popular[cold]
    parts = contributions(saved, rows, lists, device) if len(saved.part_names) > 1 else {}
    histories = [_spread(np.sort(train[[row]].indices), HISTORY) for row in rows.tolist()]
    ids = saved.item_ids
    shown = cards.cards(
        [ids[item] for items in (*histories, *lists) for item in items.tolist() if item >= 0]
    )
    users = []
    for at, (row, why) in enumerate(chosen):
        held_out = set(val[[row]].indices.tolist())
        recommended = []
        for place, item in enumerate(lists[at].tolist()):
            if item < 0:
                break
            given = {} if cold[at] else {part: float(v[at, place]) for part, v in parts.items()}
            recommended.append(
                Listed(ids[item], shown[ids[item]], item in held_out, _shares(given))
            )
        users.append(
            ExampleUser(
                dataset.user_ids.ids[row],
                why,
                int(activity[at]),
                len(held_out),
                tuple(Listed(ids[item], shown[ids[item]]) for item in histories[at].tolist()),
                tuple(recommended),
                bool(cold[at]),
            )
        )
    return tuple(users)


def _spread(items: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """At most so many of the items, evenly over their order; interactions have no order of time."""
    if len(items) <= most:
        return items
    return items[np.arange(most) * len(items) // most]


def _shares(values: dict[str, float]) -> tuple[Share, ...]:
    total = sum(abs(value) for value in values.values())
    return tuple(
        Share(part, value, abs(value) / total if total else 0.0) for part, value in values.items()
    )
