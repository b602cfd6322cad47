import json
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest

from extract.errors import InputError
from mmssl.data.dataset import Dataset
from mmssl.data.prepare import PrepareConfig, prepare

FILES = (
    "users.parquet",
    "items.parquet",
    "train.parquet",
    "val.parquet",
    "features/image/vectors.npy",
    "features/audio/present.npy",
)


@pytest.fixture
def folder(ready_split):
    prepare(PrepareConfig.parse(ready_split))
    return ready_split["out"]


def test_a_dataset_gives_back_what_went_in(folder, ready_split):
    dataset = Dataset.open(folder)
    for part in ("train", "val"):
        interactions = getattr(dataset, part)
        assert interactions.users.dtype == interactions.items.dtype == np.int64
        assert len(interactions) == len(interactions.users) == len(interactions.items)
        pairs = [
            (int(dataset.user_ids.ids[user]), int(dataset.item_ids.ids[item]))
            for user, item in zip(interactions.users, interactions.items, strict=True)
        ]
        assert pairs == sorted(pl.read_csv(ready_split[part]).rows())
    assert list(dataset.features) == ["image", "audio"]
    for modality, path in ready_split["features"].items():
        features = dataset.features[modality]
        assert features.vectors.dtype == np.float32
        assert np.array_equal(features.vectors, np.load(path).astype(np.float32))
        assert features.present.dtype == np.bool_
        assert features.present.all()
        assert features.encoder is None


def test_matrix_holds_ones_where_the_named_splits_have_pairs(folder):
    dataset = Dataset.open(folder)
    shape = (len(dataset.user_ids), len(dataset.item_ids))
    dense = {}
    for part in ("train", "val"):
        dense[part] = np.zeros(shape, dtype=np.float32)
        for user, item in zip(
            getattr(dataset, part).users, getattr(dataset, part).items, strict=True
        ):
            dense[part][user, item] = 1
    assert dataset.matrix().dtype == np.float32
    assert np.array_equal(dataset.matrix().toarray(), dense["train"])
    assert np.array_equal(dataset.matrix("val").toarray(), dense["val"])
    both = dense["train"] + dense["val"]
    assert np.array_equal(dataset.matrix("train", "val").toarray(), both)
    assert np.array_equal(dataset.matrix("train", "train").toarray(), dense["train"])
    assert dataset.matrix("train", "val").has_sorted_indices


def test_reading_the_test_split_leaves_a_line_each_time(folder, ready_split):
    dataset = Dataset.open(folder)
    assert dataset.test_reads() == 0
    before = datetime.now(UTC).replace(microsecond=0)
    test = dataset.read_test("évaluate runs/a")
    dataset.read_test("evaluate runs/b")
    assert list(zip(test.users.tolist(), test.items.tolist(), strict=True)) == sorted(
        pl.read_csv(ready_split["test"]).rows()
    )
    lines = (folder / "test_reads.jsonl").read_text(encoding="utf-8").splitlines()
    first, second = map(json.loads, lines)
    assert first["reader"] == "évaluate runs/a"
    assert second["reader"] == "evaluate runs/b"
    assert first["dataset"] == dataset.digest
    assert before <= datetime.fromisoformat(first["time"]) <= datetime.now(UTC)
    assert Dataset.open(folder).test_reads() == 2


def test_readings_of_another_test_split_do_not_count(folder, ready_split):
    dataset = Dataset.open(folder)
    dataset.read_test("a")
    # Another training split: the test split, and with it the reading, stays.
    with ready_split["train"].open("a") as more:
        more.write("0,11\n")
    prepare(PrepareConfig.parse(ready_split | {"overwrite": True}))
    assert Dataset.open(folder).digest != dataset.digest
    assert Dataset.open(folder).test_reads() == 1
    with ready_split["test"].open("a") as more:
        more.write("1,11\n")
    prepare(PrepareConfig.parse(ready_split | {"overwrite": True}))
    assert Dataset.open(folder).test_reads() == 0
    assert len((folder / "test_reads.jsonl").read_text().splitlines()) == 1


def test_users_and_items_that_other_parts_gain_do_not_undo_a_reading(folder, ready_split):
    Dataset.open(folder).read_test("a")
    # Ids that are not all numbers are ordered as text: every row moves.
    with ready_split["train"].open("a") as more:
        more.write("-first,-first\n")
    prepare(PrepareConfig.parse(ready_split | {"overwrite": True}))
    assert Dataset.open(folder).user_ids.rows(["-first", "0"]).tolist() == [0, 1]
    assert Dataset.open(folder).test_reads() == 1


def test_a_broken_record_of_readings_is_named_with_its_line(folder):
    dataset = Dataset.open(folder)
    dataset.read_test("a")
    with (folder / "test_reads.jsonl").open("ab") as log:
        log.write(b"\xff\n")
    with pytest.raises(InputError, match=r"test_reads\.jsonl, line 2: not a record"):
        dataset.test_reads()
    # Nor is the split read, which could not be counted afterwards.
    before = (folder / "test_reads.jsonl").read_bytes()
    with pytest.raises(InputError, match=r"test_reads\.jsonl, line 2: not a record"):
        dataset.read_test("b")
    assert (folder / "test_reads.jsonl").read_bytes() == before


def test_a_reading_that_cannot_be_recorded_does_not_happen(folder):
    (folder / "test_reads.jsonl").mkdir()
    with pytest.raises(InputError, match="readings of the test split are recorded here"):
        Dataset.open(folder).read_test("a")
    with pytest.raises(InputError, match="readings of the test split are recorded here"):
        Dataset.open(folder).test_reads()


@pytest.mark.parametrize("name", FILES)
def test_a_changed_or_missing_file_is_named(folder, name):
    path = folder / name
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(InputError, match=f"{name}: changed since the dataset was prepared"):
        Dataset.open(folder)
    path.unlink()
    with pytest.raises(InputError, match=f"{name}: missing from the dataset"):
        Dataset.open(folder)


def test_open_never_looks_at_the_test_split(folder):
    (folder / "test.parquet").write_bytes(b"other")
    dataset = Dataset.open(folder)
    with pytest.raises(InputError, match=r"test\.parquet: changed"):
        dataset.read_test("a")
    assert dataset.test_reads() == 0


def test_what_is_no_dataset_is_refused(tmp_path, make_store):
    with pytest.raises(InputError, match="gone: not a dataset; make one with `prepare`"):
        Dataset.open(tmp_path / "gone")
    make_store(tmp_path / "store", ["a"], np.eye(1, dtype=np.float32))
    with pytest.raises(InputError, match="store: not a dataset"):
        Dataset.open(str(tmp_path / "store"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": 1}, "schema version 1, but this version reads 2"),
        ({"counts": {}}, r"broken at 'counts\.users'"),
        ({"extra": 1}, "broken at 'extra'"),
        ({"contents": {}}, "its digest does not fit its contents"),
        ({"files": {}}, "changed since the dataset was prepared"),
        ({"format": "other"}, "not a dataset"),
    ],
)
def test_a_changed_manifest_is_refused(folder, change, message):
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InputError, match=message):
        Dataset.open(folder)
    path.write_text("{")
    with pytest.raises(InputError, match="not readable as JSON"):
        Dataset.open(folder)
