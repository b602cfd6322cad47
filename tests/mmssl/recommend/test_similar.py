from dataclasses import replace

import numpy as np
import pytest
from scipy.sparse import csr_array

from extract.errors import InputError
from mmssl.recommend.model_files import ItemFeatures
from mmssl.recommend.similar import SimilarItems

IMAGE = np.random.default_rng(3).normal(size=(5, 4)).astype(np.float32) + 5
AUDIO = np.array([[3, 1], [0, 0], [1, 1], [1, 3], [2, 2]], dtype=np.float32)
THERE = np.array([True, False, True, True, True])


@pytest.fixture
def model(saved):
    features = {
        "image": ItemFeatures(IMAGE, np.ones(5, dtype=np.bool_)),
        "audio": ItemFeatures(AUDIO, THERE),
    }
    return replace(saved, features=features)


@pytest.fixture
def similar(model) -> SimilarItems:
    return SimilarItems(model)


def cosine(a, b) -> float:
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def check(frame, ids, cosines, itself=None):
    """The frame is the ranking of cosines by item row, without ``itself``."""
    order = [row for row in np.argsort(-np.asarray(cosines), kind="stable") if row != itself]
    assert frame["item_id"].to_list() == [ids[row] for row in order]
    np.testing.assert_allclose(
        frame["similarity"].to_numpy(), [cosines[row] for row in order], atol=1e-5
    )
    assert frame["rank"].to_list() == list(range(1, len(order) + 1))


def test_the_model_s_space_compares_its_vectors_as_they_are(similar, model):
    vectors = model.item_vectors.numpy()
    for row, item in enumerate(model.item_ids):
        cosines = [cosine(vectors[row], other) for other in vectors]
        check(similar.of_item(item, 10), model.item_ids, cosines, row)


def test_a_modality_compares_embeddings_without_their_mean(similar, model):
    centred = IMAGE - IMAGE.astype(np.float64).mean(axis=0)
    cosines = [cosine(centred[2], other) for other in centred]
    frame = similar.of_item("i2", 10, "image")
    check(frame, model.item_ids, cosines, 2)
    # Without taking the mean away everything would be alike.
    assert frame["similarity"].min() < 0
    assert similar.of_item("i2", 2, "image").equals(frame.head(2))


def test_items_without_the_modality_are_neither_listed_nor_in_the_mean(similar, model):
    centred = AUDIO - AUDIO[THERE].mean(axis=0)
    frame = similar.of_item("i0", 10, "audio")
    assert "i1" not in frame["item_id"].to_list()
    wanted = {"i2": cosine(centred[0], centred[2]), "007": cosine(centred[0], centred[3])}
    for item, value in wanted.items():
        found = frame.filter(item_id=item)["similarity"].item()
        assert found == pytest.approx(value, abs=1e-6)
    assert similar.has("i0", "audio")
    assert not similar.has("i1", "audio")
    with pytest.raises(InputError, match="item 'i1' has no audio: nothing is like it there"):
        similar.of_item("i1", 3, "audio")


def test_equal_similarities_come_in_the_order_of_the_catalogue(saved):
    rows = np.array([[1, 0], [0, 1], [0, -1], [0, 1], [-1, 0]], dtype=np.float32)
    features = {"image": ItemFeatures(rows, np.ones(5, dtype=np.bool_))}
    finder = SimilarItems(replace(saved, features=features))
    centred = rows - rows.mean(axis=0)
    check(
        finder.of_item("i0", 4, "image"),
        saved.item_ids,
        [cosine(centred[0], r) for r in centred],
        0,
    )
    # Items i1 and 007 have one embedding: the first of them is listed first, or alone.
    assert finder.of_item("i2", 4, "image")["item_id"].to_list()[-2:] == ["i1", "007"]
    assert finder.of_embedding("image", rows[1], 1)["item_id"].to_list() == ["i1"]


def test_an_item_s_own_embedding_finds_it_first(similar, model):
    for row, item in enumerate(model.item_ids):
        frame = similar.of_embedding("image", IMAGE[row], 3)
        assert frame["item_id"][0] == item
        assert frame["similarity"][0] == pytest.approx(1, abs=1e-6)
        assert frame["similarity"].max() <= 1
        others = similar.of_item(item, 2, "image")
        assert frame["item_id"][1:].to_list() == others["item_id"].to_list()


def test_an_embedding_in_double_precision_is_as_good(similar):
    frame = similar.of_embedding("audio", AUDIO[3].astype(np.float64), 10)
    assert frame["item_id"][0] == "007"
    assert len(frame) == 4


def test_spaces_are_what_the_model_has(similar, model):
    assert similar.spaces == ("model", "image", "audio")
    graph = csr_array(np.eye(5, dtype=np.float32))
    walks = replace(model, user_vectors=None, item_vectors=None, item_graph=graph)
    finder = SimilarItems(walks)
    assert finder.spaces == ("image", "audio")
    # The first space where none is named.
    assert finder.of_item("i0", 3).equals(finder.of_item("i0", 3, "image"))
    nothing = SimilarItems(replace(walks, features={}))
    assert nothing.spaces == ()
    with pytest.raises(InputError, match="nothing to compare items by; this model has: none"):
        nothing.of_item("i0", 3)


def test_what_cannot_be_compared_is_refused(similar):
    for ask, message in (
        (
            lambda: similar.of_item("i0", 3, "video"),
            "no space 'video' here; .* model, image, audio",
        ),
        (lambda: similar.has("i0", "video"), "no space 'video' here"),
        (lambda: similar.of_item("i9", 3), "1 unknown item id: 'i9'"),
        (lambda: similar.has("i9", "image"), "1 unknown item id: 'i9'"),
        (lambda: similar.of_item("i0", 0), "must be at least 1, not 0"),
        (lambda: similar.of_embedding("image", IMAGE[0], 0), "must be at least 1, not 0"),
        (lambda: similar.of_embedding("text", IMAGE[0]), "no text; it has: image, audio"),
        (lambda: similar.of_embedding("model", IMAGE[0]), "no model; it has: image, audio"),
        (lambda: similar.of_embedding("audio", IMAGE[0]), r"2 numbers here, not \(4,\)"),
        (lambda: similar.of_embedding("image", IMAGE[0] * np.nan), "NaN or infinite"),
    ):
        with pytest.raises(InputError, match=message):
            ask()


def test_cosines_with_other_items_are_nan_where_there_is_no_medium(similar):
    centred = AUDIO - AUDIO[THERE].mean(axis=0)
    found = similar.cosines(0, np.array([3, 1, 0]), "audio")
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[[0, 2]], [cosine(centred[0], centred[3]), 1], atol=1e-6)
    assert np.isnan(found[1])
    assert np.isnan(similar.cosines(1, np.array([0, 3]), "audio")).all()
    assert len(similar.cosines(0, np.zeros(0, dtype=np.int64), "audio")) == 0


def test_a_modality_that_no_item_has_finds_nothing(saved):
    nobody = {"image": ItemFeatures(np.zeros((5, 2), np.float32), np.zeros(5, dtype=np.bool_))}
    finder = SimilarItems(replace(saved, features=nobody))
    frame = finder.of_embedding("image", np.ones(2, np.float32), 3)
    assert len(frame) == 0
    assert frame.columns == ["item_id", "similarity", "rank"]
