import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file
from scipy.sparse import csr_array

from extract.errors import InputError
from extract.files import sha256_file
from mmssl.recommend import export as module
from mmssl.recommend.export import export_vectors
from mmssl.recommend.index import VectorIndex
from mmssl.recommend.recommender import Recommender

FORMATS = ("npy", "parquet", "safetensors")


def read_back(folder: Path, format: str) -> dict[str, tuple[list[str], np.ndarray]]:
    """Side -> ids and vectors, as another program would read them."""
    found = {}
    for side in ("users", "items"):
        table = pl.read_parquet(folder / f"{side}.parquet")
        if format == "npy":
            vectors = np.load(folder / f"{side}.npy", allow_pickle=False)
        elif format == "parquet":
            assert table.schema["vector"] == pl.Array(pl.Float32, 2)
            vectors = table["vector"].to_numpy()
        else:
            vectors = load_file(folder / "vectors.safetensors")[side.removesuffix("s")]
        found[side] = table["id"].to_list(), vectors
    return found


@pytest.mark.parametrize("format", FORMATS)
def test_ids_and_vectors_come_back_row_for_row(saved, tmp_path, format):
    odd = replace(saved, item_ids=["a\nb", "ü,", '"', "007", "7"])
    export_vectors(odd, tmp_path / "out", format)
    read = read_back(tmp_path / "out", format)
    assert read["users"][0] == odd.user_ids
    assert read["items"][0] == odd.item_ids
    assert (read["users"][1] == odd.user_vectors.numpy()).all()
    assert (read["items"][1] == odd.item_vectors.numpy()).all()
    assert read["items"][1].dtype == np.float32


@pytest.mark.parametrize("format", FORMATS)
def test_the_inner_products_of_what_was_written_are_the_model_s_scores(saved, tmp_path, format):
    export_vectors(saved, tmp_path / "out", format)
    read = read_back(tmp_path / "out", format)
    (users, user_vectors), (items, item_vectors) = read["users"], read["items"]
    scores = user_vectors @ item_vectors.T
    frame = Recommender(saved, "cpu").recommend(exclude_seen=False).filter(source="model")
    assert len(frame) == 15
    for user, item, score in frame.select("user_id", "item_id", "score").iter_rows():
        assert scores[users.index(user), items.index(item)] == score


def test_who_was_never_trained_is_marked(saved, tmp_path):
    report = export_vectors(saved, tmp_path / "out")
    users = pl.read_parquet(tmp_path / "out" / "users.parquet")
    items = pl.read_parquet(tmp_path / "out" / "items.parquet")
    assert dict(users.select("id", "trained").iter_rows())["d/4"] is False
    assert users["trained"].sum() == 3
    assert dict(items.select("id", "trained").iter_rows()) == {
        "i0": True,
        "i1": True,
        "i2": True,
        "007": True,
        "7": False,
    }
    assert report.manifest["untrained_users"] == report.manifest["untrained_items"] == 1
    assert any("users without a training interaction: 1" in line for line in report.lines())


@pytest.mark.parametrize("format", FORMATS)
def test_the_manifest_has_the_digest_of_every_file(saved, tmp_path, format):
    export_vectors(saved, tmp_path / "out", format, index="flat")
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    files = {
        path.relative_to(tmp_path / "out").as_posix(): sha256_file(path)
        for path in (tmp_path / "out").rglob("*")
        if path.is_file() and path.name != "manifest.json"
    }
    assert manifest["files"] == files
    assert (manifest["users"], manifest["items"], manifest["dim"]) == (4, 5, 2)
    assert manifest["format"] == format


def test_rows_are_written_a_group_at_a_time(saved, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_ROWS_PER_GROUP", 2)
    export_vectors(saved, tmp_path / "out")
    assert pq.ParquetFile(tmp_path / "out" / "items.parquet").num_row_groups == 3
    ids, vectors = read_back(tmp_path / "out", "parquet")["items"]
    assert ids == saved.item_ids
    assert (vectors == saved.item_vectors.numpy()).all()


def test_the_index_answers_with_the_exported_vectors(saved, tmp_path):
    report = export_vectors(saved, tmp_path / "out", index="auto")
    index = VectorIndex.load(tmp_path / "out" / "index")
    assert index.item_ids == saved.item_ids
    _, rows = index.search(saved.user_vectors.numpy()[:1], 2)
    assert [index.item_ids[row] for row in rows[0]] == ["7", "007"]
    assert report.manifest["index"] == {
        "kind": "flat",
        "recall": 1.0,
        "k": 5,
        "users": 3,
        "seed": 0,
    }
    assert report.lines()[-1].startswith("index: flat, recall@5 1.0000 against exact search")


def test_a_score_that_is_more_than_vectors_is_said_or_refused(saved, tmp_path):
    both = replace(saved, item_graph=csr_array(np.eye(5, dtype=np.float32)))
    with pytest.raises(InputError, match="--vectors-only"):
        export_vectors(both, tmp_path / "out")
    assert not list(tmp_path.iterdir())
    report = export_vectors(both, tmp_path / "out", vectors_only=True)
    assert report.manifest["whole_score"] is False
    assert "a graph of items" in report.lines()[1]


def test_another_folder_is_left_alone_and_an_export_replaced(saved, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="left as it is"):
        export_vectors(saved, tmp_path / "mine")
    (tmp_path / "mine" / "manifest.json").write_text('{"what": "something else"}')
    with pytest.raises(InputError, match="left as it is"):
        export_vectors(saved, tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"
    with pytest.raises(InputError, match="a file stands"):
        export_vectors(saved, tmp_path / "mine" / "thesis.txt")
    (tmp_path / "empty").mkdir()
    export_vectors(saved, tmp_path / "empty", "npy")
    export_vectors(saved, tmp_path / "empty", "safetensors")
    assert not (tmp_path / "empty" / "users.npy").exists()
    assert (tmp_path / "empty" / "vectors.safetensors").exists()


def test_what_fails_on_the_way_leaves_nothing(saved, tmp_path, monkeypatch):
    def fails(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "save_file", fails)
    with pytest.raises(InputError, match="No space left"):
        export_vectors(saved, tmp_path / "out", "safetensors")
    assert not list(tmp_path.iterdir())
