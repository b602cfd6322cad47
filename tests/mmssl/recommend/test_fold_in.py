from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from extract.errors import InputError
from mmssl.baselines.popularity import popularity_score
from mmssl.recommend.explain import Explainer
from mmssl.recommend.fold_in import FoldIn
from mmssl.recommend.model_folder import SavedModel
from mmssl.recommend.recommender import Recommender
from mmssl.vectors import TwoSided


def sums(history: np.ndarray, items: np.ndarray) -> np.ndarray:
    """The mean item vector times the root of their number."""
    means = [items[row > 0].mean(axis=0) * row.sum() ** 0.5 for row in history]
    return np.array(means)


@pytest.fixture
def linear(make_model) -> tuple[SavedModel, np.ndarray, np.ndarray]:
    """Users are a linear map of their histories; with the maps of users and of their image part."""
    model = make_model(1, users=150, items=12)
    draw = np.random.default_rng(0)
    train = (draw.random((150, 12)) < 0.4).astype(np.float32)
    train[:, 0] = 1
    whole, image = draw.normal(size=(3, 3)), draw.normal(size=(3, 3))
    vectors = model.item_vectors.double().numpy()
    told = TwoSided(
        torch.from_numpy(sums(train, vectors) @ image).float(), model.modality_parts["image"].item
    )
    model = replace(
        model,
        train=csr_array(train),
        val=csr_array(train.shape, dtype=np.float32),
        user_vectors=torch.from_numpy(sums(train, vectors) @ whole).float(),
        modality_parts={**model.modality_parts, "image": told},
    )
    return model, whole, image


def near(found, wanted) -> bool:
    return bool(np.linalg.norm(found - wanted) < 1e-2 * np.linalg.norm(wanted))


def test_a_linear_model_is_recovered(linear):
    model, whole, image = linear
    history = (np.random.default_rng(2).random((30, 12)) < 0.3).astype(np.float32)
    history[:, 1] = 1
    fold = FoldIn(model)
    wanted = sums(history, model.item_vectors.double().numpy()) @ whole
    found = fold.vectors(csr_array(history))
    assert found.dtype == torch.float32
    assert near(found.numpy(), wanted)
    assert near(fold.scores(csr_array(history)), wanted @ model.item_vectors.double().numpy().T)

    ids = [[model.item_ids[item] for item in np.flatnonzero(row)] for row in history]
    grown = fold.with_users({f"new{n}": items for n, items in enumerate(ids)})
    wanted = sums(history, model.item_vectors.double().numpy()) @ image
    assert near(grown.modality_parts["image"].user[150:].numpy(), wanted)


@pytest.mark.parametrize("kind", ["vectors", "both", "graph"])
def test_new_users_stand_behind_the_others_and_everything_grows_with_them(
    make_model, tmp_path, kind
):
    model = make_model(2, graph=kind != "vectors", vectors=kind != "graph")
    fold = FoldIn(model)
    histories = {"new/1": ["i3", "i0", "i3"], "ü": ["i2"]}
    fold.with_users(histories).save(tmp_path / "grown")
    grown = SavedModel.load(tmp_path / "grown")
    assert grown.user_ids == [*model.user_ids, "new/1", "ü"]
    assert grown.item_ids == model.item_ids
    history = np.zeros((2, 10), dtype=np.float32)
    history[0, [0, 3]], history[1, 2] = 1, 1
    assert (grown.train.toarray() == np.vstack([model.train.toarray(), history])).all()
    assert (grown.val.toarray() == np.pad(model.val.toarray(), [(0, 2), (0, 0)])).all()
    for m, graph in model.graphs.items():
        assert (grown.graphs[m].toarray() == np.pad(graph.toarray(), [(0, 2), (0, 0)])).all()
    assert grown.part_names == model.part_names

    old = model.score(torch.device("cpu"))(torch.arange(12))
    assert grown.score(torch.device("cpu"))(torch.arange(12)).equal(old)
    scores = fold.scores(csr_array(history))
    assert scores.dtype == np.float32
    listed = Recommender(grown, "cpu").recommend(["ü", "new/1"], 20)
    assert set(listed["source"]) == {"model"}
    explainer = Explainer(grown)
    for row in listed.iter_rows(named=True):
        user, item = row["user_id"], row["item_id"]
        assert item not in histories[user]
        wanted = scores[["new/1", "ü"].index(user), int(item[1:])]
        assert row["score"] == pytest.approx(wanted, abs=1e-5)
        shares = explainer.explain(user, item).shares
        assert sum(shares.values()) == pytest.approx(row["score"], abs=1e-5)
    assert len(listed) == 8 + 9


def test_an_item_graph_alone_is_exact(make_model):
    model = make_model(3, graph=True, vectors=False)
    fold = FoldIn(model)
    assert fold.vectors(model.train) is None
    wanted = model.score(torch.device("cpu"))(torch.arange(12)).numpy()
    np.testing.assert_array_equal(fold.scores(model.train), wanted)
    assert fold.with_users({"new": ["i0"]}).user_vectors is None


@pytest.mark.parametrize("kind", ["vectors", "both", "graph"])
def test_without_a_history_there_is_no_vector_and_what_is_popular(make_model, kind):
    model = make_model(4, graph=kind != "vectors", vectors=kind != "graph")
    fold = FoldIn(model)
    assert not fold.scores(csr_array((1, 10), dtype=np.float32)).any()
    grown = fold.with_users({"new": []})
    if kind != "graph":
        assert not grown.user_vectors[12].any()
    listed = Recommender(grown, "cpu").recommend(["new"], 3)
    assert set(listed["source"]) == {"popularity"}
    popular = popularity_score(model.train, torch.device("cpu"))(torch.tensor([0]))[0].numpy()
    order = np.argsort(-popular, kind="stable")[:3]
    assert listed["item_id"].to_list() == [f"i{item}" for item in order]


def test_a_model_that_nobody_trained_folds_to_zero(make_model):
    model = replace(make_model(5), train=csr_array((12, 10), dtype=np.float32))
    vectors = FoldIn(model).vectors(csr_array(np.ones((2, 10), dtype=np.float32)))
    assert vectors.tolist() == [[0.0] * 3] * 2


def test_users_that_are_known_and_items_that_are_not_are_refused(make_model):
    fold = FoldIn(make_model(6))
    for histories, message in (
        ({"new": ["i1"], "u3": ["i1"]}, "user 'u3' is known to the model: name new users alone"),
        ({"new": ["i1", "x", "y"]}, "2 unknown item ids: 'x', 'y'"),
    ):
        with pytest.raises(InputError, match=message):
            fold.with_users(histories)
    # Nobody at all is no mistake.
    assert len(fold.with_users({}).user_ids) == 12
