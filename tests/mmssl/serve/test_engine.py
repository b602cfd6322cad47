"""Lists by an index, and how they fall back to full ranking."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from extract.errors import InputError
from mmssl.recommend.index import VectorIndex
from mmssl.serve.engine import Engine
from tests.mmssl.serve.shop import USERS, saved_model


@pytest.fixture
def indexed(engine, settings, tmp_path):
    vectors = engine.model.item_vectors.numpy()
    VectorIndex.build(vectors, "hnsw").save(tmp_path / "index")
    return Engine.load(replace(settings, index=tmp_path / "index"))


@pytest.mark.parametrize("k", [1, 4, 1000])
def test_a_list_by_an_index_has_the_items_of_the_full_ranking(engine, indexed, k):
    for user in USERS:
        exact, found = engine.recommend(user, k), indexed.recommend(user, k)
        assert found.rows.tolist() == exact.rows.tolist()
        assert found.scores == pytest.approx(exact.scores, abs=1e-5)
        assert found.source == exact.source


def test_some_parts_are_ranked_in_full_whatever_the_index(engine, indexed):
    for parts in (["audio"], ["image", "text"]):
        exact, found = engine.recommend("u1", 5, parts), indexed.recommend("u1", 5, parts)
        assert found.rows.tolist() == exact.rows.tolist()
        assert found.scores.tolist() == exact.scores.tolist()


def test_an_index_that_finds_too_little_is_not_believed(engine, indexed, monkeypatch):
    def finds_two(self, queries, k):
        scores = np.full((1, k), -np.inf, np.float32)
        rows = np.full((1, k), -1)
        rows[0, :2], scores[0, :2] = [8, 9], [1, 0]
        return scores, rows

    monkeypatch.setattr(VectorIndex, "search", finds_two)
    assert indexed.recommend("u1", 5).rows.tolist() == engine.recommend("u1", 5).rows.tolist()
    assert indexed.recommend("u1", 2).rows.tolist() == [8, 9]


def test_equal_scores_come_in_the_catalogue_s_order(engine, tmp_path):
    model = replace(saved_model(), item_vectors=torch.ones(10, 4), modality_parts={})
    index = VectorIndex.build(np.ones((10, 4), np.float32), "flat")
    assert Engine(model, engine.cards, "cpu", "", index).recommend("u1", 3).rows.tolist() == [
        2,
        3,
        4,
    ]


def test_an_index_of_other_vectors_is_refused(settings, engine, tmp_path):
    VectorIndex.build(engine.model.item_vectors.numpy() + 1, "flat").save(tmp_path / "index")
    with pytest.raises(InputError, match="another model's vectors"):
        Engine.load(replace(settings, index=tmp_path / "index"))


def test_a_model_that_scores_by_a_graph_as_well_takes_no_index(engine):
    graph = csr_array(np.eye(10, dtype=np.float32))
    index = VectorIndex.build(engine.model.item_vectors.numpy(), "flat")
    with pytest.raises(InputError, match="serve it without an index"):
        Engine(replace(engine.model, item_graph=graph), engine.cards, "cpu", "", index)


def test_a_model_of_an_item_graph_alone_is_served(engine, settings):
    graph = csr_array(np.roll(np.eye(10, dtype=np.float32), 2, axis=1))
    alone = replace(
        saved_model(), user_vectors=None, item_vectors=None, modality_parts={}, item_graph=graph
    )
    served = Engine(alone, engine.cards, "cpu", "")
    # Item 0 sends to item 2, and the user has seen items 0 and 1.
    best = served.recommend("u1", 1)
    assert (best.rows.tolist(), best.scores.tolist()) == ([2], [1.0])
    assert served.recommend("u1", 1, ["item graph"]).rows.tolist() == [2]
