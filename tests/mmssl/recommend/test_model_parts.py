"""What a model folder keeps beside the vectors: the parts of a score, and the raw embeddings."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from scipy.sparse import csr_array

from extract.errors import InputError
from extract.files import sha256_file
from mmssl.recommend.model_files import ItemFeatures
from mmssl.recommend.model_folder import SavedModel
from mmssl.recommend.recommender import Recommender
from mmssl.vectors import TwoSided

CPU = torch.device("cpu")
PARTS, FEATURES = "parts.safetensors", "features.safetensors"


@pytest.fixture
def parted(saved) -> SavedModel:
    """The model of four users and five items with what each of its modalities brought."""
    draw = torch.Generator().manual_seed(0)
    parts = {
        m: TwoSided(torch.randn(4, 2, generator=draw), torch.randn(5, 2, generator=draw))
        for m in ("image", "audio")
    }
    audio = np.array([True, False, True, True, True])
    features = {
        "image": ItemFeatures(
            np.arange(15, dtype=np.float32).reshape(5, 3), np.ones(5, dtype=np.bool_)
        ),
        "audio": ItemFeatures(np.eye(5, 4, dtype=np.float32) * audio[:, None], audio),
    }
    return replace(saved, modality_parts=parts, features=features)


def with_graph(model: SavedModel) -> SavedModel:
    return replace(model, item_graph=csr_array(np.arange(25, dtype=np.float32).reshape(5, 5) % 7))


def graph_alone(model: SavedModel) -> SavedModel:
    return replace(with_graph(model), user_vectors=None, item_vectors=None, modality_parts={})


def resign(folder, name):
    config = json.loads((folder / "config.json").read_text())
    config["files"][name] = sha256_file(folder / name)
    (folder / "config.json").write_text(json.dumps(config))


def change(folder, name, **tensors):
    """Other tensors in a file, whose digest agrees; None takes one out."""
    there = load_file(folder / name)
    there |= {key.replace("__", "."): tensor for key, tensor in tensors.items()}
    save_file({key: t for key, t in there.items() if t is not None}, folder / name)
    resign(folder, name)


def assert_refused(folder, message):
    with pytest.raises(InputError, match=message) as caught:
        SavedModel.load(folder)
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)


def test_parts_and_features_are_loaded_to_the_last_bit(parted, tmp_path):
    parted.save(tmp_path / "model")
    assert {PARTS, FEATURES} <= {path.name for path in (tmp_path / "model").iterdir()}
    loaded = SavedModel.load(tmp_path / "model")
    assert list(loaded.modality_parts) == ["image", "audio"]
    for m, part in parted.modality_parts.items():
        assert loaded.modality_parts[m].user.equal(part.user)
        assert loaded.modality_parts[m].item.equal(part.item)
    assert list(loaded.features) == ["image", "audio"]
    for m, given in parted.features.items():
        assert loaded.features[m].vectors.dtype == np.float32
        assert (loaded.features[m].vectors == given.vectors).all()
        assert loaded.features[m].present.dtype == np.bool_
        assert (loaded.features[m].present == given.present).all()


def test_a_folder_without_them_loads_as_ever(saved, tmp_path):
    saved.save(tmp_path / "model")
    assert not {PARTS, FEATURES} & {path.name for path in (tmp_path / "model").iterdir()}
    loaded = SavedModel.load(tmp_path / "model")
    assert loaded.modality_parts == {}
    assert loaded.features == {}
    assert loaded.part_names == ("model",)


def test_features_of_some_modalities_come_back_as_they_are(parted, tmp_path):
    some = {"image": parted.features["image"]}
    replace(parted, features=some, modality_parts={}).save(tmp_path / "model")
    assert list(SavedModel.load(tmp_path / "model").features) == ["image"]


@pytest.mark.parametrize("name", [PARTS, FEATURES])
def test_a_missing_or_damaged_file_is_named(parted, tmp_path, name):
    folder = tmp_path / "model"
    parted.save(folder)
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert_refused(folder, re.escape(name) + ": changed or damaged")
    (folder / name).write_bytes(b"no tensors")
    resign(folder, name)
    assert_refused(folder, "not a whole model")
    (folder / name).unlink()
    assert_refused(folder, re.escape(name) + ": missing")


@pytest.mark.parametrize(
    ("name", "tensors", "message"),
    [
        (PARTS, {"image__user": torch.full((4, 2), torch.nan)}, "part of image holds NaN"),
        (PARTS, {"audio__item": torch.full((5, 2), torch.inf)}, "part of audio holds NaN or inf"),
        (PARTS, {"image__user": torch.ones(4, 3)}, r"part of image is \(4, 3\), torch.float32"),
        (PARTS, {"image__item": torch.ones(5, 2).double()}, r"is \(5, 2\), torch.float64"),
        (PARTS, {"image__item": None}, "not a whole model .*image.item"),
        (FEATURES, {"image__vectors": torch.full((5, 3), torch.nan)}, "image hold NaN"),
        (FEATURES, {"image__vectors": torch.ones(4, 3)}, "another number of items than 5"),
        (FEATURES, {"image__vectors": torch.ones(5)}, "another number of items than 5"),
        (FEATURES, {"image__vectors": torch.ones(5, 3).double()}, "image are float64, bool"),
        (FEATURES, {"image__vectors": torch.ones(5, 3).bfloat16()}, "not a whole model"),
        (FEATURES, {"audio__present": torch.ones(5)}, "audio are float32, float32"),
        (FEATURES, {"audio__present": torch.ones(4).bool()}, "another number of items than 5"),
        (FEATURES, {"audio__present": torch.tensor(True)}, "another number of items than 5"),
        (FEATURES, {"audio__present": torch.ones(5, 2).bool()}, "another number of items than"),
        (FEATURES, {"audio__present": None}, "not a whole model .*audio.present"),
    ],
)
def test_content_that_does_not_fit_is_refused(parted, tmp_path, name, tensors, message):
    parted.save(tmp_path / "model")
    change(tmp_path / "model", name, **tensors)
    assert_refused(tmp_path / "model", message)


def test_what_does_not_belong_together_is_not_saved(parted, tmp_path):
    text = {"text": parted.modality_parts["image"]}
    raw = {"text": parted.features["image"]}
    for changed, message in (
        ({"modality_parts": text}, r"parts of \['text'\], encoders of \['audio', 'image'\]"),
        ({"features": raw}, r"features of \['text'\], encoders of \['audio', 'image'\]"),
        ({"user_vectors": None, "item_vectors": None}, "neither vectors nor an item graph"),
    ):
        with pytest.raises(ValueError, match=message):
            replace(parted, **changed).save(tmp_path / "model")
    with pytest.raises(ValueError, match="a part of image, but no vectors"):
        replace(graph_alone(parted), modality_parts=parted.modality_parts).save(tmp_path / "m")


def test_parts_of_a_model_and_their_names(saved, parted):
    assert parted.part_names == ("collaborative", "image", "audio")
    assert with_graph(parted).part_names == ("collaborative", "image", "audio", "item graph")
    assert graph_alone(parted).part_names == ("item graph",)
    # It takes media, and does not tell what they brought.
    assert saved.part_names == ("model",)
    without_media = saved.info.model_copy(update={"encoders": {}})
    assert replace(saved, info=without_media, graphs={}).part_names == ("collaborative",)
    for side in ("user", "item"):
        summed = sum(getattr(part, side) for part in parted.vector_parts.values())
        torch.testing.assert_close(summed, getattr(parted, f"{side}_vectors"))


def test_scores_by_some_parts_are_those_of_their_sums(parted):
    model, rows = with_graph(parted), torch.tensor([2, 0, 1])
    image, audio = (model.modality_parts[m] for m in ("image", "audio"))
    rest_user = model.user_vectors - image.user - audio.user
    rest_item = model.item_vectors - image.item - audio.item
    sent = torch.from_numpy((model.train @ model.item_graph).toarray())[rows]
    for parts, wanted in (
        (["image"], image.user[rows] @ image.item.T),
        (["collaborative"], rest_user[rows] @ rest_item.T),
        (["audio", "image"], (image.user + audio.user)[rows] @ (image.item + audio.item).T),
        (["item graph"], sent),
        (["audio", "item graph"], audio.user[rows] @ audio.item.T + sent),
        (["collaborative", "image", "audio"], model.user_vectors[rows] @ model.item_vectors.T),
    ):
        found = model.score(CPU, parts)(rows)
        torch.testing.assert_close(found, wanted)
        # Neither the order nor a name that is given twice changes a bit.
        assert model.score(CPU, [*reversed(parts), *parts])(rows).equal(found)


def test_all_parts_give_the_bits_of_the_whole(parted):
    rows = torch.arange(4)
    for model in (parted, with_graph(parted), graph_alone(parted)):
        whole = model.score(CPU)(rows)
        assert model.score(CPU, set(model.part_names))(rows).equal(whole)


@pytest.mark.parametrize("parts", [["video"], ["image", "model"], ["item graph"]])
def test_an_unknown_part_is_refused_with_those_there_are(parted, parts):
    with pytest.raises(InputError, match="its parts are: collaborative, image, audio") as caught:
        parted.score(CPU, parts)
    assert f"no part '{parts[-1]}'" in str(caught.value)


def test_no_part_at_all_is_refused(parted):
    with pytest.raises(InputError, match="no part is left; its parts are: collaborative"):
        parted.score(CPU, [])


def test_recommendations_by_a_part_are_its_ranking_and_cold_users_still_get_what_is_popular(parted):
    recommender = Recommender(with_graph(parted), "cpu")
    frame = recommender.recommend(["c", "d/4"], 5, parts=["audio"], exclude_seen=False)
    audio = parted.modality_parts["audio"]
    scores = (audio.user[2] @ audio.item.T).numpy()
    order = np.argsort(-scores, kind="stable")
    of_c = frame.filter(user_id="c")
    assert of_c["item_id"].to_list() == [parted.item_ids[item] for item in order]
    np.testing.assert_allclose(of_c["score"].to_numpy(), scores[order], rtol=1e-5)
    cold = frame.filter(user_id="d/4")
    assert set(cold["source"]) == {"popularity"}
    assert cold.equals(recommender.recommend(["d/4"], 5, exclude_seen=False))
    everything = recommender.recommend(["c"], 5, parts=recommender.model.part_names)
    assert everything.equals(recommender.recommend(["c"], 5))
    with pytest.raises(InputError, match="no part 'video'"):
        recommender.recommend(["c"], 5, parts=["video"])
