from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from extract.errors import InputError
from mmssl.recommend.cold_start import ColdStart, NewItems, features_of
from mmssl.recommend.content_towers import Towers, TowerSettings
from mmssl.recommend.explain import Explainer
from mmssl.recommend.fold_in import FoldIn
from mmssl.recommend.media_space import MediaSpace
from mmssl.recommend.model_files import ItemFeatures
from mmssl.recommend.model_folder import SavedModel
from mmssl.recommend.recommender import Recommender
from mmssl.recommend.similar import SimilarItems

SETTINGS = TowerSettings(dim=4, pairs=2, steps=12, batch_size=16, negatives=8)
KINDS = {"vectors": {}, "both": {"graph": True}, "graph": {"graph": True, "vectors": False}}


@pytest.fixture(params=KINDS)
def model(make_model, request) -> SavedModel:
    """With vectors, with vectors and an item graph, with an item graph alone."""
    return make_model(11, **KINDS[request.param])


def new_items(count=3, without_audio=(1,), **dims) -> NewItems:
    draw = np.random.default_rng(count)
    features = {
        m: draw.normal(size=(count, dims.get(m, dim))).astype(np.float32)
        for m, dim in (("image", 3), ("audio", 4))
    }
    features["audio"][list(without_audio)] = np.nan
    return NewItems([f"new/{n}" for n in range(count)], features_of(features))


def scores(model: SavedModel) -> np.ndarray:
    users = torch.arange(len(model.user_ids))
    return model.score(torch.device("cpu"))(users).double().numpy()


def expected(model: SavedModel, features) -> np.ndarray:
    """alpha (c_u . W' x_i + b . x_i) + beta for users with a history, 0 for others: (U, n)."""
    known, active = (model.train.toarray().any(axis=axis) for axis in (0, 1))
    space = MediaSpace(model.features, known, SETTINGS.shrinkage)
    media = space.vectors(model.features)
    towers = Towers.learn(model.train, media, SETTINGS, space.likenesses())

    def of(items):
        users = towers.users(model.train, media)
        return (users @ (items @ towers.item_weights).T + items @ towers.bias).astype(np.float64)

    theirs, own = scores(model)[active][:, known], of(media)[active][:, known]
    alpha = theirs.std() / own.std()
    found = alpha * (of(space.vectors(features)) - own.mean()) + theirs.mean()
    return found * active[:, None]


def test_new_items_score_by_their_media_and_the_others_as_they_did(model):
    new = new_items()
    grown = ColdStart(model, SETTINGS).with_items(new)
    assert grown.item_ids == [*model.item_ids, "new/0", "new/1", "new/2"]
    assert grown.user_ids == model.user_ids
    found = scores(grown)
    assert found.shape == (12, 13)
    np.testing.assert_allclose(found[:, :10], scores(model), atol=1e-6)
    np.testing.assert_allclose(found[:, 10:], expected(model, new.features), atol=1e-4)
    assert found[:-1, 10:].std(axis=0).min() > 0


def test_everything_that_a_model_has_grows_and_is_saved_and_loaded(model, tmp_path):
    new = new_items()
    grown = ColdStart(model, SETTINGS).with_items(new)
    grown.save(tmp_path / "grown")
    loaded = SavedModel.load(tmp_path / "grown")
    np.testing.assert_array_equal(scores(loaded), scores(grown))
    for name in ("train", "val"):
        padded = np.pad(getattr(model, name).toarray(), [(0, 0), (0, 3)])
        assert (getattr(loaded, name).toarray() == padded).all()
    for m in ("image", "audio"):
        padded = np.pad(model.graphs[m].toarray(), [(0, 0), (0, 3)])
        assert (loaded.graphs[m].toarray() == padded).all()
        both = model.features[m], new.features[m]
        vectors = np.concatenate([each.vectors for each in both])
        assert (loaded.features[m].vectors == vectors).all()
        there = np.concatenate([each.present for each in both])
        assert (loaded.features[m].present == there).all()
        assert loaded.modality_parts[m].item.equal(grown.modality_parts[m].item)
    if model.item_graph is not None:
        padded = np.pad(model.item_graph.toarray(), [(0, 3), (0, 3)])
        assert (loaded.item_graph.toarray() == padded).all()


def test_recommend_similar_and_explain_know_the_new_items(model):
    new = new_items()
    grown = ColdStart(model, SETTINGS).with_items(new)
    listed = Recommender(grown, "cpu").recommend(["u1", "u2"], 13, exclude_seen=False)
    explainer = Explainer(grown)
    for row in listed.iter_rows(named=True):
        shares = explainer.explain(row["user_id"], row["item_id"]).shares
        assert set(shares) >= {"collaborative", "image", "audio"}
        assert sum(shares.values()) == pytest.approx(row["score"], abs=1e-5)
    finder = SimilarItems(grown)
    vector = new.features["image"].vectors[1]
    assert finder.of_embedding("image", vector, 1)["item_id"].to_list() == ["new/1"]
    assert not finder.has("new/1", "audio")
    assert finder.of_item("new/0", 20, "audio").height == 8 + 2 - 1
    # Nobody has seen them.
    assert not grown.seen()[:, 10:].nnz
    named = explainer.explain("u1", "new/0").nearest["image"]
    assert set(dict(named)) <= set(model.item_ids)


def test_an_item_without_a_modality_has_nothing_of_it_in_its_vectors(model):
    grown = ColdStart(model, SETTINGS).with_items(new_items())
    parts = grown.modality_parts
    assert not parts["audio"].item[11].any()
    assert parts["audio"].item[10].any()
    assert parts["image"].item[10:].any(dim=1).all()
    # What is left of a new item after its media is the level that it stands on.
    rest = grown.vector_parts["collaborative"].item[10:]
    torch.testing.assert_close(rest, rest[:1].expand(3, -1), atol=1e-5, rtol=0)


def test_a_user_without_a_history_has_zero_for_every_new_item(model):
    grown = ColdStart(model, SETTINGS).with_items(new_items())
    assert not scores(grown)[-1, 10:].any()
    listed = Recommender(grown, "cpu").recommend(["u11"], 13)
    assert set(listed["source"]) == {"popularity"}


def test_known_items_brought_again_have_the_mean_and_the_spread_of_the_model(model):
    known = np.arange(8)
    again = {
        m: ItemFeatures(given.vectors[known], given.present[known])
        for m, given in model.features.items()
    }
    twins = NewItems([f"twin{n}" for n in known], again)
    # Items 0 and 1 have an image alone; that is a medium.
    found = scores(ColdStart(model, SETTINGS).with_items(twins))[:-1]
    assert model.train.toarray()[:-1].any(axis=1).all()
    assert model.train.toarray()[:, :8].any(axis=0).all()
    assert found[:, 10:].mean() == pytest.approx(found[:, :8].mean(), abs=1e-4)
    assert found[:, 10:].std() == pytest.approx(found[:, :8].std(), rel=1e-4)


def test_scores_of_new_items_are_those_of_the_grown_model(model):
    new = new_items()
    cold_start = ColdStart(model, SETTINGS)
    found = cold_start.scores(new.features)
    assert found.dtype == np.float32
    grown = scores(cold_start.with_items(new))[:, 10:]
    np.testing.assert_allclose(found[:-1], grown[:-1], atol=1e-5)
    assert (found[-1] == -np.inf).all()
    for features, message in (
        (new_items(2, (), audio=5).features, "audio of new items: 5 numbers each, the model's"),
        ({"image": new.features["image"]}, "the model's modalities .* they have: image"),
        ({}, "they have: none"),
    ):
        with pytest.raises(InputError, match=message):
            cold_start.scores(features)
    bare = features_of({m: np.full((2, n), np.nan) for m, n in (("image", 3), ("audio", 4))})
    bare["image"].present[0] = True
    with pytest.raises(InputError, match="item 'new item 2': not one medium that could be read"):
        cold_start.scores(bare)


def test_levels_found_block_by_block_are_the_same(model, monkeypatch):
    new = new_items()
    whole = ColdStart(model, SETTINGS).scores(new.features)
    monkeypatch.setattr("mmssl.recommend.cold_start._SCORES", 25)
    np.testing.assert_allclose(ColdStart(model, SETTINGS).scores(new.features), whole, atol=1e-5)


def test_cold_items_of_the_model_are_placed_as_new_ones_are(model):
    """Items 8 and 9 have no training interaction; 9 has no medium either and stays as it is."""
    features = {}
    for m, given in model.features.items():
        there = given.present & (np.arange(10) != 9)
        features[m] = ItemFeatures(given.vectors * there[:, None], there)
    model = replace(model, features=features)
    cold_start = ColdStart(model, SETTINGS)
    placed = cold_start.with_cold_items()
    assert placed.item_ids == model.item_ids
    own = {m: ItemFeatures(f.vectors[[8]], f.present[[8]]) for m, f in features.items()}
    as_new = scores(cold_start.with_items(NewItems(["new"], own)))[:, 10]
    found = scores(placed)
    np.testing.assert_allclose(found[:, 8], as_new, atol=1e-5)
    others = [*range(8), 9]
    np.testing.assert_allclose(found[:, others], scores(model)[:, others], atol=1e-6)
    for row in Recommender(placed, "cpu").recommend(["u1"], 10).iter_rows(named=True):
        shares = Explainer(placed).explain("u1", row["item_id"]).shares
        assert sum(shares.values()) == pytest.approx(row["score"], abs=1e-5)


def test_a_model_that_does_not_tell_its_parts_does_not_tell_them_of_new_items(make_model):
    model = replace(make_model(12), modality_parts={})
    grown = ColdStart(model, SETTINGS).with_items(new_items())
    assert grown.part_names == ("model",)
    np.testing.assert_allclose(scores(grown)[:, :10], scores(model), atol=1e-6)


def test_new_items_and_new_users_go_together(model):
    users = FoldIn(model).with_users({"someone": ["i0", "i3"]})
    grown = ColdStart(users, SETTINGS).with_items(new_items())
    listed = Recommender(grown, "cpu").recommend(["someone"], 20)
    assert {"new/0", "new/1", "new/2"} <= set(listed["item_id"])
    assert not {"i0", "i3"} & set(listed["item_id"])
    assert set(listed["source"]) == {"model"}


def test_new_items_of_the_kind_that_a_user_likes_come_first(make_model):
    """A checkerboard: users like the items of their parity, whose media tell it."""
    draw = np.random.default_rng(1)
    kind = np.arange(24) % 2
    media = (np.eye(2, 3)[kind] + 0.2 * draw.normal(size=(24, 3))).astype(np.float32)
    likes = np.arange(20)[:, None] % 2 == kind
    train = csr_array(likes.astype(np.float32))
    sides = np.eye(2, dtype=np.float32)
    model = replace(
        make_model(1, users=20, items=24),
        train=train,
        val=csr_array(train.shape, dtype=np.float32),
        graphs={},
        user_vectors=torch.from_numpy(sides[np.arange(20) % 2]),
        item_vectors=torch.from_numpy(sides[kind]),
        modality_parts={},
        features={"image": ItemFeatures(media, np.ones(24, dtype=np.bool_))},
    )
    taught = replace(SETTINGS, steps=100, learning_rate=0.03)
    fresh = np.eye(2, 3, dtype=np.float32)[[0, 0, 0, 1, 1, 1]] + 0.1
    new = NewItems([f"{k}{n}" for k in "eo" for n in range(3)], features_of({"image": fresh}))
    grown = ColdStart(model, taught).with_items(new)
    listed = Recommender(grown, "cpu").recommend(None, 3, only_items=new.ids)
    for row in listed.iter_rows(named=True):
        assert row["item_id"][0] == "eo"[int(row["user_id"][1:]) % 2]


def test_what_cannot_be_placed_is_refused(make_model):
    cold_start = ColdStart(make_model(13), SETTINGS)
    good = new_items()
    for new, message in (
        (replace(good, ids=["a", "i3", "b"]), "item 'i3' is known to the model, or is given twice"),
        (replace(good, ids=["a", "b", "a"]), "item 'a' is known to the model, or is given twice"),
        (
            replace(good, features={"image": good.features["image"]}),
            r"the model's modalities \(image, audio\); they have: image",
        ),
        (replace(good, features={}), "they have: none"),
        (new_items(image=5), "image of new items: 5 numbers each, the model's have 3; was it made"),
    ):
        with pytest.raises(InputError, match=message):
            cold_start.with_items(new)
    nothing = {m: np.full((3, dim), np.nan, np.float32) for m, dim in (("image", 3), ("audio", 4))}
    nothing["image"][0] = 1
    with pytest.raises(InputError, match="item 'b' and 1 more: not one medium that could be read"):
        cold_start.with_items(NewItems(["a", "b", "c"], features_of(nothing)))


def test_models_that_cannot_place_items_are_refused(make_model):
    model = make_model(14)
    with pytest.raises(InputError, match="model mmssl keeps no media: it cannot place a new item"):
        ColdStart(replace(model, features={}))
    with pytest.raises(InputError, match="no training interaction to learn from"):
        ColdStart(replace(model, train=csr_array((12, 10), dtype=np.float32)))


def test_media_that_tell_nothing_apart_leave_everything_finite(make_model):
    model = make_model(15)
    same = {
        m: ItemFeatures(np.ones_like(given.vectors), np.ones(10, dtype=np.bool_))
        for m, given in model.features.items()
    }
    found = scores(ColdStart(replace(model, features=same), SETTINGS).with_items(new_items(2, ())))
    assert np.isfinite(found).all()


def test_embeddings_with_nan_are_absent():
    found = features_of({"image": np.array([[1, 2], [np.nan, 3], [np.inf, 0]], np.float32)})
    assert found["image"].present.tolist() == [True, False, False]
    assert found["image"].vectors.tolist() == [[1, 2], [0, 0], [0, 0]]
    assert found["image"].vectors.dtype == np.float32
