import json
import re
from dataclasses import replace
from importlib.metadata import version

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.torch import load_file, save_file
from scipy.sparse import csr_array

from extract.errors import InputError
from extract.files import sha256_file
from mmssl.recommend.model_folder import SavedModel

FILES = {
    "README.md",
    "config.json",
    "graphs.safetensors",
    "items.parquet",
    "model.safetensors",
    "seen.safetensors",
    "users.parquet",
    "vectors.safetensors",
}


def resign(folder, name):
    """Make a changed file agree with its digest, so that only its content can be at fault."""
    config = json.loads((folder / "config.json").read_text())
    config["files"][name] = sha256_file(folder / name)
    (folder / "config.json").write_text(json.dumps(config))


def edit_config(folder, **values):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | values))


def assert_refused(folder, message):
    with pytest.raises(InputError, match=message) as caught:
        SavedModel.load(folder)
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)


def test_what_was_saved_is_loaded_to_the_last_bit(saved, tmp_path):
    saved.save(tmp_path / "model")
    loaded = SavedModel.load(tmp_path / "model")
    assert loaded.info == saved.info
    assert loaded.user_ids == saved.user_ids
    assert loaded.item_ids == saved.item_ids
    assert loaded.parameters.keys() == saved.parameters.keys()
    for name, tensor in saved.parameters.items():
        assert loaded.parameters[name].dtype == tensor.dtype
        assert loaded.parameters[name].equal(tensor)
    assert loaded.user_vectors.equal(saved.user_vectors)
    assert loaded.item_vectors.equal(saved.item_vectors)
    assert set(loaded.graphs) == {"image", "audio"}
    for name, graph in saved.graphs.items():
        assert (loaded.graphs[name].toarray() == graph.toarray()).all()
    assert (loaded.train.toarray() == saved.train.toarray()).all()
    assert (loaded.val.toarray() == saved.val.toarray()).all()


def test_the_folder_holds_what_the_design_says_and_nothing_else(saved, tmp_path):
    saved.save(tmp_path / "model")
    assert {path.name for path in (tmp_path / "model").iterdir()} == FILES
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    graphs = load_file(tmp_path / "model" / "graphs.safetensors")
    assert {name: tensor.dtype for name, tensor in graphs.items()} == {
        f"{modality}.{part}": torch.int64
        for modality in ("image", "audio")
        for part in ("crow", "col")
    }
    seen = load_file(tmp_path / "model" / "seen.safetensors")
    assert seen["train.crow"].tolist() == [0, 1, 4, 6, 6]
    assert seen["train.col"].tolist() == [0, 0, 1, 3, 2, 3]
    items = pl.read_parquet(tmp_path / "model" / "items.parquet")
    assert items["item_id"].to_list() == saved.item_ids
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert config["schema_version"] == 1
    assert config["libraries"]["torch"] == version("torch")


def test_a_run_folder_is_as_good_as_its_model_folder(saved, tmp_path):
    saved.save(tmp_path / "run" / "model")
    assert SavedModel.load(tmp_path / "run").user_ids == saved.user_ids


def test_saving_again_replaces_the_folder_whole(saved, tmp_path):
    saved.save(tmp_path / "model")
    (tmp_path / "model" / "left over").write_text("")
    replace(saved, info=saved.info.model_copy(update={"seed": 4})).save(tmp_path / "model")
    assert SavedModel.load(tmp_path / "model").info.seed == 4
    assert {path.name for path in (tmp_path / "model").iterdir()} == FILES
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_save_that_fails_half_way_leaves_the_old_model(saved, tmp_path):
    saved.save(tmp_path / "model")
    broken = replace(saved, parameters={"w": "not a tensor"})
    with pytest.raises(AttributeError):
        broken.save(tmp_path / "model")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert SavedModel.load(tmp_path / "model").parameters.keys() == saved.parameters.keys()


def test_seen_joins_training_and_validation(saved):
    assert (saved.seen().toarray() > 0).tolist() == [
        [True, True, False, False, False],
        [True, True, True, True, False],
        [False, False, True, True, False],
        [True, False, False, False, False],
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"user_ids": ["a", "b", "c"]}, r"user vectors are \(4, 2\), not \(3, 2\)"),
        ({"user_ids": ["a", "a", "c", "d"]}, "a user id occurs twice"),
        ({"item_vectors": torch.ones(5, 3)}, r"item vectors are \(5, 3\), not \(5, 2\)"),
        ({"item_vectors": torch.ones(5, 2).double()}, "item vectors are torch.float64"),
        ({"user_vectors": torch.tensor(1.0)}, r"user vectors are \(\), not a matrix"),
        ({"user_vectors": torch.full((4, 2), torch.nan)}, "user vectors hold NaN"),
        ({"val": csr_array((4, 6), dtype=np.float32)}, "val is 4 x 6, not 4 x 5"),
        ({"graphs": {"text": csr_array((4, 5))}}, r"graphs of \['text'\], encoders of \['au"),
        ({"user_vectors": None}, "vectors of one side alone"),
        ({"user_vectors": None, "item_vectors": None}, "neither vectors nor an item graph"),
        ({"item_graph": csr_array((5, 4))}, r"the item graph is \(5, 4\), not \(5, 5\)"),
        ({"item_graph": csr_array(np.diag([np.nan] * 5))}, "the item graph holds NaN"),
    ],
)
def test_parts_that_do_not_belong_together_are_not_saved(saved, tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        replace(saved, **change).save(tmp_path / "model")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", sorted(FILES - {"README.md", "config.json"}))
def test_a_missing_or_damaged_file_is_named(saved, tmp_path, name):
    folder = tmp_path / "model"
    saved.save(folder)
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert_refused(folder, re.escape(name) + ": changed or damaged")
    (folder / name).unlink()
    assert_refused(folder, re.escape(name) + ": missing")


@pytest.mark.parametrize("name", sorted(FILES - {"README.md", "config.json"}))
def test_content_that_is_no_such_file_is_refused_even_with_a_matching_digest(saved, tmp_path, name):
    folder = tmp_path / "model"
    saved.save(folder)
    (folder / name).write_bytes(b"neither safetensors nor parquet")
    resign(folder, name)
    assert_refused(folder, "not a whole model")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train.col": torch.tensor([0, 0, 1, 3, 2, 5])}, "outside 0..4"),
        ({"train.col": torch.tensor([0, 0, 1, 3, 2, -1])}, "outside 0..4"),
        ({"train.crow": torch.tensor([0, 1, 4, 6])}, "row offsets do not fit 4 users"),
        ({"train.crow": torch.tensor([0, 4, 1, 6, 6])}, "row offsets do not fit 4 users"),
        ({"train.crow": torch.tensor([0, 1, 4, 6, 9])}, "row offsets do not fit 4 users"),
    ],
)
def test_a_matrix_that_points_outside_is_refused(saved, tmp_path, change, message):
    folder = tmp_path / "model"
    saved.save(folder)
    seen = load_file(folder / "seen.safetensors")
    save_file(seen | change, folder / "seen.safetensors")
    resign(folder, "seen.safetensors")
    assert_refused(folder, message)


def test_a_missing_tensor_and_wrong_counts_are_refused(saved, tmp_path):
    folder = tmp_path / "model"
    saved.save(folder)
    edit_config(folder, users=5)
    assert_refused(folder, "not a whole model")
    edit_config(folder, users=4, dim=3)
    assert_refused(folder, "counts 4 users, 5 items and 3 dimensions")
    edit_config(folder, dim=2)
    save_file({"user": saved.user_vectors}, folder / "vectors.safetensors")
    resign(folder, "vectors.safetensors")
    assert_refused(folder, "item")


def test_another_schema_or_an_unknown_key_is_refused(saved, tmp_path):
    folder = tmp_path / "model"
    saved.save(folder)
    edit_config(folder, schema_version=2)
    assert_refused(folder, "schema version 2; this version reads 1")
    edit_config(folder, schema_version=1, dim="many")
    assert_refused(folder, "dim: ")
    edit_config(folder, dim=2, surprise=1)
    assert_refused(folder, "surprise: ")
    (folder / "config.json").write_text("{")
    assert_refused(folder, "not readable as JSON")


def test_a_file_list_cannot_name_files_elsewhere(saved, tmp_path):
    folder = tmp_path / "model"
    saved.save(folder)
    (tmp_path / "secret").write_text("")
    edit_config(folder, files={"../secret": "0" * 64})
    assert_refused(folder, "files: expected the digests of graphs.safetensors")


def test_a_file_that_is_not_in_the_list_is_not_trusted(saved, tmp_path):
    folder = tmp_path / "model"
    saved.save(folder)
    config = json.loads((folder / "config.json").read_text())
    del config["files"]["vectors.safetensors"]
    (folder / "config.json").write_text(json.dumps(config))
    assert_refused(folder, "vectors.safetensors")


def test_vectors_and_an_item_graph_score_together(saved, tmp_path):
    graph = csr_array(np.arange(25, dtype=np.float32).reshape(5, 5))
    both = replace(saved, item_graph=graph)
    both.save(tmp_path / "model")
    loaded = SavedModel.load(tmp_path / "model")
    rows = torch.tensor([1, 3])
    wanted = saved.user_vectors[rows] @ saved.item_vectors.T
    wanted = wanted + torch.from_numpy((saved.train @ graph).toarray()[rows])
    torch.testing.assert_close(loaded.score(torch.device("cpu"))(rows), wanted)
    assert loaded.dim == 2
    card = (tmp_path / "model" / "README.md").read_text(encoding="utf-8")
    assert "two vectors (2 numbers each), plus what the items of a user's history send" in card
    assert "`item_graph.safetensors` (weights from item to item)" in card
    (tmp_path / "model" / "item_graph.safetensors").unlink()
    assert_refused(tmp_path / "model", "item_graph.safetensors: missing")


def test_a_folder_without_a_model_says_what_to_name(tmp_path):
    assert_refused(tmp_path, "name the folder of a finished run")
    assert_refused(tmp_path / "nowhere", "no trained model here")


def test_the_model_card_states_the_model_s_own_figures(saved, tmp_path):
    saved.save(tmp_path / "model")
    card = (tmp_path / "model" / "README.md").read_text(encoding="utf-8")
    assert "# mmssl, variant paper" in card
    assert "4 users, 5 items, 6 training and 3 validation\ninteractions." in card
    assert "Without any training interaction: users 1, items 1." in card
    assert "| image | `packaged:efficientnet-lite0` |" in card
    assert "| audio | features made elsewhere |" in card
    assert "| recall@20 | 0.2500 | 0.0625 |" in card
    assert "Epoch 7, seed 3." in card
    assert "- masked: train" in card


def test_an_item_graph_takes_the_place_of_vectors(saved, tmp_path):
    weights = np.array(
        [[0, 2, 0, 0, 0], [2, 0, 0.5, 0, 0], [0, 0.5, 0, 1, 0], [0, 0, 1, 0, 0], [0] * 5]
    )
    graph = csr_array(weights.astype(np.float32))
    model = replace(saved, user_vectors=None, item_vectors=None, item_graph=graph)
    model.save(tmp_path / "model")
    loaded = SavedModel.load(tmp_path / "model")
    assert loaded.user_vectors is None
    assert loaded.item_graph.toarray().tolist() == weights.tolist()
    scores = loaded.score(torch.device("cpu"))(torch.tensor([1, 0]))
    assert scores.tolist() == (saved.train.toarray() @ weights)[[1, 0]].tolist()
    assert "along a graph" in (tmp_path / "model" / "README.md").read_text()


def test_an_item_graph_without_its_weights_is_no_whole_model(saved, tmp_path):
    graph = csr_array(np.eye(5, dtype=np.float32))
    replace(saved, user_vectors=None, item_vectors=None, item_graph=graph).save(tmp_path / "model")
    file = tmp_path / "model" / "item_graph.safetensors"
    tensors = load_file(file)
    tensors["graph.weight"] = tensors["graph.weight"][:3].clone()
    save_file(tensors, file)
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    config["files"][file.name] = sha256_file(file)
    (tmp_path / "model" / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="not as many weights as edges"):
        SavedModel.load(tmp_path / "model")
