"""Simulated users for a catalogue that has none: category tastes, popularity and noise.

The model is told which user liked which item, never a category or a taste: what it learns of them
it learns from the interactions and from the pictures, words and sounds.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Simulation:
    """How the users behave. The defaults were fixed before the first model was trained on them.

    An item's popularity is log-normal, so a few items are liked by many and most by a few. A user
    has 1 + Poisson(``extra_tastes``) favourite categories with weights from a flat Dirichlet, and
    ``least`` + geometric likes with mean ``mean``. A like falls, by popularity, on a favourite
    category with probability ``taste``, on something else on the same shelf (the same top-level
    category) with probability ``shelf``, and anywhere with the rest.
    """

    users: int = 1200
    seed: int = 20230430
    extra_tastes: float = 1.0
    taste: float = 0.7
    shelf: float = 0.1
    popularity_sigma: float = 0.8
    least: int = 4
    mean: float = 6.0
    smallest_category: int = 5


@dataclass(frozen=True)
class Likes:
    """What the simulation gives: (user, item) pairs, and each user's favourite categories."""

    pairs: list[tuple[str, str]]
    tastes: dict[str, list[str]]


def shelves(categories: list[str], smallest: int) -> list[str]:
    """Each item's category for tastes: two levels of its folder, or one where that is too small."""
    two_levels = ["/".join(c.split("/")[:2]) for c in categories]
    size = Counter(two_levels)
    merged = [c if size[c] >= smallest else c.partition("/")[0] for c in two_levels]
    size = Counter(merged)
    return [c if size[c] >= smallest else "miscellany" for c in merged]


def simulate(items: list[str], categories: list[str], settings: Simulation) -> Likes:
    """Draw who likes what; equal arguments give equal likes.

    Args:
        items: item ids.
        categories: each item's category as a path, ``animals/birds``.
        settings: how users behave.

    Returns:
        Distinct pairs, grouped by user in the order drawn, and the tastes behind them.
    """
    rng = np.random.default_rng(settings.seed)
    of_item = np.array(shelves(categories, settings.smallest_category))
    top = np.array([c.partition("/")[0] for c in of_item])
    names, sizes = np.unique(of_item, return_counts=True)
    # A big category has more friends, though not in proportion to its size.
    appeal = np.sqrt(sizes) / np.sqrt(sizes).sum()
    popularity = rng.lognormal(0.0, settings.popularity_sigma, len(items))
    anywhere = popularity / popularity.sum()

    pairs: list[tuple[str, str]] = []
    tastes: dict[str, list[str]] = {}
    for n in range(settings.users):
        user = f"user-{n + 1:04d}"
        count = min(1 + rng.poisson(settings.extra_tastes), len(names))
        favourites = rng.choice(len(names), size=count, replace=False, p=appeal)
        likes = (1 - settings.taste - settings.shelf) * anywhere
        for favourite, weight in zip(favourites, rng.dirichlet(np.ones(count)), strict=True):
            inside = popularity * (of_item == names[favourite])
            beside = popularity * (top == names[favourite].partition("/")[0])
            likes = likes + weight * (
                settings.taste * inside / inside.sum() + settings.shelf * beside / beside.sum()
            )
        spread = settings.mean - settings.least
        many = settings.least + rng.geometric(1 / (spread + 1)) - 1
        chosen = rng.choice(len(items), size=min(many, len(items)), replace=False, p=likes)
        pairs += [(user, items[i]) for i in chosen]
        tastes[user] = [str(names[f]) for f in favourites]
    return Likes(pairs, tastes)
