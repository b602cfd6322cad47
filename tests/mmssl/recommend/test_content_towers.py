from dataclasses import replace

import numpy as np
import pytest
from scipy.sparse import csr_array

from mmssl.recommend.content_towers import (
    HeldOut,
    Towers,
    TowerSettings,
    chosen_steps,
    mean_media,
)
from mmssl.recommend.media_space import MediaSpace
from mmssl.recommend.model_files import ItemFeatures

DRAW = np.random.default_rng(7)
# Few strong directions, and far from the origin, as encoders put things.
IMAGE = (DRAW.normal(size=(40, 4)) * [9, 3, 1, 0.5] + 20).astype(np.float32)
AUDIO = DRAW.normal(size=(40, 3)).astype(np.float32)
HAS_AUDIO = np.arange(40) % 4 != 1
KNOWN = np.arange(40) < 30
FEATURES = {
    "image": ItemFeatures(IMAGE, np.ones(40, dtype=np.bool_)),
    "audio": ItemFeatures(AUDIO * HAS_AUDIO[:, None], HAS_AUDIO),
}


@pytest.mark.parametrize("shrinkage", [0.0, 0.1])
def test_embeddings_are_whitened_by_the_known_items_and_of_length_one(shrinkage):
    """Cosines in whitened space are x C^-1 y, whatever the rotation."""
    space = MediaSpace(FEATURES, KNOWN, shrinkage)
    found = space.vectors(FEATURES).astype(np.float64)
    assert found.shape == (40, 7)
    assert space.columns() == {"image": slice(0, 4), "audio": slice(4, 7)}
    for raw, there, columns in (
        (IMAGE, KNOWN | ~KNOWN, slice(0, 4)),
        (AUDIO, HAS_AUDIO, slice(4, 7)),
    ):
        own = found[:, columns]
        taken = raw[KNOWN & there].astype(np.float64)
        centred = raw - taken.mean(axis=0)
        covariance = np.cov(taken.T, bias=True)
        covariance += shrinkage * np.linalg.eigvalsh(covariance)[-1] * np.eye(len(covariance))
        products = centred @ np.linalg.inv(covariance) @ centred.T
        lengths = np.sqrt(np.diag(products))
        wanted = products / lengths[:, None] / lengths * there[:, None] * there
        np.testing.assert_allclose(own @ own.T, wanted, atol=2e-4)
        np.testing.assert_allclose(np.linalg.norm(own, axis=1), there.astype(float), atol=1e-6)
        if shrinkage == 0:
            white = own[KNOWN & there] * lengths[KNOWN & there, None]
            np.testing.assert_allclose(np.cov(white.T, bias=True), np.eye(len(own.T)), atol=1e-3)


def test_an_absent_modality_is_zero_whatever_stands_in_its_row():
    odd = {**FEATURES, "audio": ItemFeatures(AUDIO, HAS_AUDIO)}
    found = MediaSpace(odd, KNOWN, 0.01).vectors(odd)
    assert not found[~HAS_AUDIO, 4:].any()
    assert found[HAS_AUDIO, 4:].any(axis=1).all()


@pytest.mark.parametrize("shrinkage", [0.0, 0.01])
def test_what_tells_no_items_apart_gives_zeros_and_never_nan(shrinkage):
    everywhere, nowhere = np.ones(40, dtype=np.bool_), np.zeros(40, dtype=np.bool_)
    features = {
        "image": ItemFeatures(np.full((40, 4), 3, dtype=np.float32), everywhere),
        "audio": ItemFeatures(np.zeros((40, 3), dtype=np.float32), nowhere),
        "text": ItemFeatures(AUDIO * [1, 0, 0], everywhere),
    }
    found = MediaSpace(features, KNOWN, shrinkage).vectors(features)
    assert np.isfinite(found).all()
    assert not found[:, :7].any()
    np.testing.assert_allclose(np.linalg.norm(found[:, 7:], axis=1), 1, atol=1e-5)
    # Nobody is known: nothing to take statistics of.
    assert not MediaSpace(features, nowhere, shrinkage).vectors(features).any()


def test_a_history_is_the_sum_of_its_media_over_the_root_of_their_number():
    media = AUDIO[:4]
    history = csr_array(np.array([[1, 0, 1, 1], [0, 0, 0, 0], [0, 1, 0, 0]], dtype=np.float32))
    wanted = [media[[0, 2, 3]].sum(axis=0) / 3**0.5, np.zeros(3), media[1]]
    np.testing.assert_allclose(mean_media(history, media), wanted, rtol=1e-5)


def planted() -> tuple[csr_array, np.ndarray, np.ndarray]:
    """A checkerboard: 24 users like the items of their parity; the last 8 of 32 items are new."""
    kind = np.arange(32) % 2
    media = np.where(kind[:, None] == 0, [1.0, 0, 0, 0], [0, 1.0, 0, 0])
    media = media + 0.2 * np.random.default_rng(1).normal(size=(32, 4))
    likes = (np.arange(24)[:, None] % 2 == kind) & (np.arange(32) < 24)
    return csr_array(likes.astype(np.float32)), media.astype(np.float32), kind


SMALL = TowerSettings(dim=4, pairs=2, steps=100, batch_size=64, negatives=24, learning_rate=0.03)


@pytest.mark.parametrize("steps", [100, None])
def test_cold_items_of_the_kind_that_a_user_likes_come_first(steps):
    history, media, kind = planted()
    features = {"image": ItemFeatures(media, np.ones(32, dtype=np.bool_))}
    space = MediaSpace(features, np.arange(32) < 24, SMALL.shrinkage).vectors(features)
    towers = Towers.learn(history, space, replace(SMALL, steps=steps))
    scores = towers.users(history, space) @ (space @ towers.item_weights).T + space @ towers.bias
    for user in range(24):
        best = 24 + np.argsort(-scores[user, 24:])[:4]
        assert set(kind[best]) == {user % 2}
    # No history, no vector.
    assert not towers.users(csr_array((2, 32), dtype=np.float32), space).any()


def test_a_seed_gives_the_same_towers_to_the_bit_and_another_others():
    history, media, _ = planted()
    brief = {"dim": 4, "pairs": 2, "steps": 6, "batch_size": 16, "negatives": 8}
    first, again, other = (
        Towers.learn(history, media, TowerSettings(**brief, seed=seed)) for seed in (3, 3, 4)
    )
    assert first.user_weights.shape == first.item_weights.shape == (4, 8)
    assert first.bias.shape == (4,)
    for name in ("user_weights", "item_weights", "bias"):
        assert (getattr(first, name) == getattr(again, name)).all()
        assert (getattr(first, name) != getattr(other, name)).any()
        assert getattr(first, name).dtype == np.float32


def test_the_score_is_the_mean_of_the_pairs():
    history, media, _ = planted()
    brief = {"dim": 4, "steps": 6, "batch_size": 16, "negatives": 8, "dropout": 0.0}
    two, one = (Towers.learn(history, media, TowerSettings(**brief, pairs=n)) for n in (2, 1))
    # The first pair of both is the same one.
    np.testing.assert_array_equal(two.user_weights[:, :4], one.user_weights)
    np.testing.assert_allclose(two.item_weights[:, :4], one.item_weights / 2, rtol=1e-6)


def test_the_number_of_steps_is_that_which_served_held_out_items_best():
    history, media, _ = planted()
    found = chosen_steps(history, media, SMALL)
    assert found % 10 == 0
    assert 10 <= found < 1000
    assert chosen_steps(history, media, SMALL) == found
    # Media that tell nothing: no step is better than the first ten.
    assert chosen_steps(history, np.zeros_like(media), SMALL) == 10
    # With one known item nothing is left to learn from once it is held out.
    one = csr_array(([1.0, 1.0], ([0, 1], [3, 3])), shape=(24, 32), dtype=np.float32)
    assert chosen_steps(one, media, SMALL) == 10
    assert np.isfinite(Towers.learn(one, media, replace(SMALL, steps=None)).item_weights).all()


def test_likeness_undoes_the_whitening():
    draw = np.random.default_rng(3)
    # Directions of very different spread, which whitening makes alike.
    vectors = (draw.normal(size=(40, 5)) * [9, 3, 1, 0.5, 0.1] + 4).astype(np.float32)
    there = np.ones(40, dtype=np.bool_)
    given = {
        "image": ItemFeatures(vectors, there),
        "audio": ItemFeatures(vectors[:, :2].copy(), there),
    }
    space = MediaSpace(given, there, 0.0)
    media, weights = space.vectors(given), space.likenesses()["image"]
    assert weights.shape == (7, 5)
    assert not weights[5:].any()

    def cosines(rows):
        rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        return rows @ rows.T

    np.testing.assert_allclose(
        cosines(media @ weights), cosines(vectors - vectors.mean(axis=0)), atol=1e-4
    )


def test_the_likeness_that_ranks_best_stands_beside_with_the_same_spread():
    draw = np.random.default_rng(5)
    kinds = np.arange(60) % 2
    # The first two numbers tell the kind that users like; the others tell nothing.
    media = np.concatenate([np.eye(2)[kinds] * 2 - 1, draw.normal(size=(60, 2))], axis=1).astype(
        np.float32
    )
    liked = (np.arange(80)[:, None] % 2 == kinds) & (draw.random((80, 60)) < 0.3)
    history = csr_array(liked.astype(np.float32))
    telling = np.eye(4, dtype=np.float32)[:, :2]
    idle = np.eye(4, dtype=np.float32)[:, 2:]
    settings = TowerSettings(dim=3, pairs=1, steps=5)
    learned = Towers.learn(history, media, settings)
    both = Towers.learn(history, media, settings, {"idle": idle, "telling": telling})
    np.testing.assert_array_equal(both.user_weights[:, :3], learned.user_weights)
    np.testing.assert_array_equal(both.user_weights[:, 3:], telling)
    scale = both.item_weights[0, 3]
    np.testing.assert_allclose(both.item_weights[:, 3:], telling * scale)
    judged = HeldOut(history, media, settings.seed)
    beside = Towers(telling, telling * scale, np.zeros(4, np.float32))
    assert judged.spread(beside) == pytest.approx(judged.spread(learned), rel=1e-4)
    assert judged.quality(beside) > judged.quality(Towers(idle, idle, np.zeros(4, np.float32)))
