from collections import Counter
from dataclasses import replace

import numpy as np

from examples.quickstart.simulate import Simulation, shelves, simulate

ITEMS = [f"item-{n}" for n in range(120)]
CATEGORIES = [f"{top}/{sub}" for top in ("animals", "food") for sub in "abc" for _ in range(20)]
SMALL = replace(Simulation(), users=400)


def test_a_category_too_small_joins_its_shelf_and_then_the_miscellany():
    categories = ["a/x/deep"] * 5 + ["a/x"] + ["a/y"] * 3 + ["a/z"] * 2 + ["b/w"]
    assert shelves(categories, 5) == ["a/x"] * 6 + ["a"] * 5 + ["miscellany"]


def test_equal_seeds_give_equal_likes_and_another_seed_gives_others():
    first = simulate(ITEMS, CATEGORIES, SMALL)
    assert simulate(ITEMS, CATEGORIES, SMALL) == first
    assert simulate(ITEMS, CATEGORIES, replace(SMALL, seed=1)).pairs != first.pairs


def test_every_user_has_enough_distinct_likes_and_the_mean_is_the_one_asked_for():
    likes = simulate(ITEMS, CATEGORIES, SMALL)
    assert len(set(likes.pairs)) == len(likes.pairs)
    counts = Counter(user for user, _ in likes.pairs)
    assert len(counts) == SMALL.users
    assert min(counts.values()) >= SMALL.least
    # A mean over 400 users of a geometric count: its standard error is below .13.
    assert abs(np.mean(list(counts.values())) - SMALL.mean) < 0.5


def test_tastes_show_in_the_likes_and_noise_alone_shows_none():
    def share_on_taste(settings: Simulation) -> float:
        likes = simulate(ITEMS, CATEGORIES, settings)
        category = dict(zip(ITEMS, CATEGORIES, strict=True))
        return float(np.mean([category[item] in likes.tastes[user] for user, item in likes.pairs]))

    # Of six equal categories a single favourite is met by chance in about 1 of 6.
    one = replace(SMALL, extra_tastes=0.0)
    assert share_on_taste(replace(one, taste=0.0, shelf=0.0)) < 0.3
    assert share_on_taste(one) > 0.65


def test_popularity_makes_a_long_tail():
    likes = simulate(ITEMS, CATEGORIES, replace(SMALL, taste=0.0, shelf=0.0))
    counts = sorted(Counter(item for _, item in likes.pairs).values(), reverse=True)
    assert sum(counts[:24]) > 0.4 * sum(counts)
