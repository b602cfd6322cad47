import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from extract import store as store_module
from extract.errors import InputError
from extract.manifest import StoreManifest
from extract.store import STATUS_SCHEMA, FeatureStore, Part

IDS = [f"id/{row}.é" for row in range(5)]


def manifest(rows_per_part=2, dim=3, **changes) -> StoreManifest:
    values = {
        "modality": "text",
        "encoder": "tests:Encoder",
        "fingerprint": {"pooling": "mean", "layer": None},
        "dim": dim,
        "space": "tests",
        "dtype": "float32",
        "source": "column 'text'",
        "decoding": {},
        "rows_per_part": rows_per_part,
        "libraries": {"torch": "2"},
    }
    return StoreManifest.model_validate(values | changes)


def part(store: FeatureStore, number: int, absent=()) -> Part:
    rows = store.part_rows(number)
    vectors = np.random.default_rng(number).normal(size=(len(rows), store.manifest.dim))
    vectors = vectors.astype(np.float32)
    records = []
    for row, k in zip(rows, range(len(rows)), strict=True):
        if row in absent:
            vectors[k] = np.nan
            records.append((f"id/{row}.é", "failed", "empty text", None))
        else:
            records.append((f"id/{row}.é", "ok", None, "d" * 64))
    return Part(vectors, pl.DataFrame(records, schema=STATUS_SCHEMA, orient="row"))


@pytest.fixture
def store(tmp_path) -> FeatureStore:
    return FeatureStore.create(tmp_path / "store", manifest(), IDS)


def fill(store: FeatureStore, absent=()) -> list[Part]:
    parts = [part(store, number, absent) for number in range(store.part_count)]
    for number, content in enumerate(parts):
        store.write_part(number, content)
    return parts


def test_what_was_written_part_by_part_is_loaded_as_one(store):
    parts = fill(store, absent=[3])
    opened = FeatureStore.open(str(store.path))
    assert opened.manifest == store.manifest
    assert opened.is_complete
    assert opened.verify() == []
    loaded = opened.load()
    np.testing.assert_array_equal(loaded.vectors, np.concatenate([p.vectors for p in parts]))
    assert loaded.vectors.dtype == np.float32
    assert loaded.ids == opened.ids() == [f"id/{row}.é" for row in range(5)]
    assert loaded.present.tolist() == [True, True, True, False, True]
    assert np.isnan(loaded.vectors[3]).all()
    statuses = opened.statuses()
    assert dict(statuses.schema) == STATUS_SCHEMA
    assert statuses.row(3) == ("id/3.é", "failed", "empty text", None)


def test_the_files_are_the_documented_ones(store):
    fill(store)
    names = {file.name for file in store.path.iterdir()}
    kinds = ("npy", "parquet", "json")
    assert names == {"manifest.json", "items-0.parquet"} | {
        f"part-{k}.{kind}" for k in range(3) for kind in kinds
    }
    assert np.load(store.path / "part-1.npy", mmap_mode="r").shape == (2, 3)
    record = json.loads((store.path / "part-1.json").read_text())
    for kind in ("npy", "parquet"):
        data = (store.path / f"part-1.{kind}").read_bytes()
        assert record[kind] == hashlib.sha256(data).hexdigest()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(st.integers(1, 40), st.integers(1, 15), st.data())
def test_parts_cover_every_row_once_and_the_pending_ones_are_found(tmp_path_factory, n, size, data):
    path = tmp_path_factory.mktemp("stores") / "store"
    store = FeatureStore.create(path, manifest(rows_per_part=size), map(str, range(n)))
    more = data.draw(st.integers(0, 20))
    assert store.add_items(map(str, range(n, n + more))) == more
    store = FeatureStore.open(path)
    parts = range(store.part_count)
    rows = [row for number in parts for row in store.part_rows(number)]
    assert rows == list(range(n + more))
    assert [name for number in parts for name in store.part_ids(number)] == list(map(str, rows))
    # What was added is in parts of its own.
    sizes = [min(size, left) for left in range(n, 0, -size)]
    sizes += [min(size, left) for left in range(more, 0, -size)]
    assert [len(store.part_rows(number)) for number in parts] == sizes
    written = data.draw(st.sets(st.integers(0, store.part_count - 1)))
    for number in written:
        store.write_part(number, part(store, number))
    pending = sorted(set(range(store.part_count)) - written)
    assert store.verify() == pending
    assert store.is_complete == (not pending)


def test_an_incomplete_store_says_so_wherever_it_is_read(store):
    store.write_part(0, part(store, 0))
    assert not store.is_complete
    for read in (store.load, store.ids, store.statuses, store.digest):
        with pytest.raises(InputError, match=r"incomplete \(2 of 3 parts are absent.*part 1"):
            read()


@pytest.mark.parametrize("kind", ["npy", "parquet"])
@pytest.mark.parametrize("damage", ["flip", "cut", "delete"])
def test_a_damaged_file_is_noticed_and_named(store, kind, damage):
    fill(store)
    file = store.path / f"part-1.{kind}"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    if damage == "delete":
        file.unlink()
    else:
        file.write_bytes(bytes(data) if damage == "flip" else bytes(data[:-10]))
    assert store.verify() == [1]
    with pytest.raises(InputError, match=rf"part-1\.{kind}: missing or damaged"):
        store.load()


@pytest.mark.parametrize("text", ["", '{"rows": 2, "npy', "[]", '{"rows": 2}', '{"rows": 1}'])
def test_a_part_whose_record_is_torn_is_not_whole(store, text):
    fill(store)
    (store.path / "part-2.json").write_text(text)
    assert store.verify() == [2]
    assert not store.is_complete


def test_a_store_whose_array_has_another_shape_than_the_manifest_says_is_refused(store):
    fill(store)
    wrong = Part(np.zeros((2, 4), dtype=np.float32), part(store, 0).statuses)
    store.write_part(0, wrong)
    with pytest.raises(InputError, match=r"part-0\.npy: holds float32 \(2, 4\)"):
        store.load()


def test_an_array_of_python_objects_is_never_unpickled(store):
    fill(store)
    file, record = store.path / "part-0.npy", store.path / "part-0.json"
    np.save(file, np.array([{"a": 1}, None], dtype=object), allow_pickle=True)
    digests = json.loads(record.read_text())
    digests["npy"] = hashlib.sha256(file.read_bytes()).hexdigest()
    record.write_text(json.dumps(digests))
    with pytest.raises(InputError, match=r"part-0\.npy: not a \.npy array"):
        store.load()


def test_the_digest_changes_with_vectors_statuses_and_manifest(tmp_path):
    def digest(name, absent=(), **changes):
        store = FeatureStore.create(tmp_path / name, manifest(**changes), IDS)
        fill(store, absent)
        return store.digest()

    assert digest("a") == digest("b")
    assert len({digest("c"), digest("d", absent=[1]), digest("e", space="other")}) == 3


def test_a_folder_without_a_store_or_with_a_foreign_manifest_is_refused(tmp_path):
    with pytest.raises(InputError, match="no feature store here"):
        FeatureStore.open(tmp_path)
    (tmp_path / "manifest.json").write_text('{"name": "a web page"}')
    with pytest.raises(InputError, match=r"manifest\.json: not the manifest of a feature store"):
        FeatureStore.open(tmp_path)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(InputError, match="not readable as JSON"):
        FeatureStore.open(tmp_path)


def test_a_newer_schema_is_refused(store):
    values = json.loads((store.path / "manifest.json").read_text())
    (store.path / "manifest.json").write_text(json.dumps(values | {"schema_version": 9}))
    with pytest.raises(InputError, match="schema_version"):
        FeatureStore.open(store.path)


@pytest.mark.parametrize("name", ["notes.txt", "part-0.npy", "manifest.json"])
def test_a_new_store_never_stands_among_other_files(tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(InputError, match="holds other files"):
        FeatureStore.create(tmp_path, manifest(), IDS)
    assert (tmp_path / name).read_text() == "mine"


def test_a_new_store_takes_an_empty_folder_and_one_where_a_kill_left_a_temporary_file(tmp_path):
    (tmp_path / ".manifest.json.x1y2.tmp").touch()
    assert FeatureStore.create(tmp_path, manifest(), IDS).manifest == manifest()
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is a file"):
        FeatureStore.create(tmp_path / "file", manifest(), IDS)


def test_beginning_anew_deletes_what_a_store_writes_and_nothing_else(store):
    fill(store)
    (store.path / ".manifest.json.x1y2.tmp").touch()
    mine = ("notes.txt", "part-x.npy", "part-1.npy.bak", "xpart-1.npy")
    for name in mine:
        (store.path / name).touch()
    anew = FeatureStore.replace(store.path, manifest(dim=7), IDS)
    assert {file.name for file in store.path.iterdir()} == {
        *mine,
        "manifest.json",
        "items-0.parquet",
    }
    assert FeatureStore.open(store.path).manifest.dim == anew.manifest.dim == 7
    assert anew.verify() == [0, 1, 2]


def test_a_place_where_nothing_can_be_written_is_one_message(store, tmp_path):
    (store.path / "part-0.npy").mkdir()
    with pytest.raises(InputError, match="part 0 could not be written"):
        store.write_part(0, part(store, 0))


def test_differences_are_named_one_by_one():
    here = manifest()
    assert here.differences(manifest(libraries={"torch": "3"})) == []
    there = manifest(dim=4, fingerprint={"pooling": "cls", "layer": None})
    assert here.differences(there) == [
        "fingerprint.pooling 'mean' there, 'cls' now",
        "dim 3 there, 4 now",
    ]


def test_a_part_written_anew_is_not_whole_until_it_is_there(store, monkeypatch):
    fill(store)
    written = []
    real = store_module._write_new

    def watched(path, data):
        written.append((path.name, FeatureStore.open(store.path).verify()))
        real(path, data)

    monkeypatch.setattr(store_module, "_write_new", watched)
    store.write_part(1, part(store, 1, absent=[2]))
    assert written == [(f"part-1.{kind}", [1]) for kind in ("npy", "parquet", "json")]
    assert store.verify() == []
    assert store.statuses()["status"].to_list() == ["ok", "ok", "failed", "ok", "ok"]


def test_what_is_read_through_the_old_file_stays_whole(store):
    fill(store)
    mapped = np.load(store.path / "part-0.npy", mmap_mode="r")
    before = mapped.copy()
    store.write_part(0, Part(before + 1, part(store, 0).statuses))
    np.testing.assert_array_equal(mapped, before)
    np.testing.assert_array_equal(store.part_vectors(0), before + 1)


@pytest.mark.parametrize("data", [b"", b"PAR1 torn", None])
def test_a_damaged_list_of_ids_is_named(store, data):
    file = store.path / "items-0.parquet"
    if data is None:
        pl.DataFrame({"name": ["a"]}).write_parquet(file)
    else:
        file.write_bytes(data)
    with pytest.raises(InputError, match=r"items-0\.parquet: damaged"):
        FeatureStore.open(store.path)


def test_a_store_whose_first_run_ended_before_its_ids_were_written_is_empty(store):
    (store.path / "items-0.parquet").unlink()
    opened = FeatureStore.open(store.path)
    assert (opened.part_count, opened.item_count, opened.has_finished_parts) == (0, 0, False)
    with pytest.raises(InputError, match="is empty: its first run was stopped"):
        opened.load()


def test_what_kills_left_beside_the_manifest_and_the_ids_is_removed(tmp_path):
    (tmp_path / ".manifest.json.x1y2.tmp").touch()
    store = FeatureStore.create(tmp_path, manifest(), IDS)
    (tmp_path / ".items-1.parquet.x1y2.tmp").touch()
    store.add_items(["another"])
    names = sorted(file.name for file in tmp_path.iterdir())
    assert names == ["items-0.parquet", "items-1.parquet", "manifest.json"]


def test_a_store_that_has_no_items_yet_is_not_complete(tmp_path):
    store = FeatureStore.create(tmp_path, manifest(), [])
    assert not store.is_complete
    with pytest.raises(InputError, match="empty: its first run was stopped"):
        store.load()


def test_what_is_no_store_is_not_replaced(tmp_path):
    for text in ('{"name": "my web page"}', "[]"):
        (tmp_path / "manifest.json").write_text(text)
        (tmp_path / "part-0.npy").touch()
        with pytest.raises(InputError, match="not that of a feature store; left alone"):
            FeatureStore.replace(tmp_path, manifest(), IDS)
        assert (tmp_path / "part-0.npy").exists()


@pytest.mark.parametrize("damage", ["another version", "no list of items", "a torn list of items"])
def test_a_store_that_cannot_be_opened_can_be_replaced(store, damage):
    fill(store)
    if damage == "another version":
        values = json.loads((store.path / "manifest.json").read_text())
        (store.path / "manifest.json").write_text(json.dumps(values | {"schema_version": 1}))
    elif damage == "no list of items":
        (store.path / "items-0.parquet").unlink()
    else:
        (store.path / "items-0.parquet").write_bytes(b"PAR1")
    anew = FeatureStore.replace(store.path, manifest(), IDS)
    assert anew.verify() == [0, 1, 2]
    fill(anew)
    assert anew.load().ids == IDS


def test_a_part_of_another_store_or_of_other_items_is_not_whole(store, tmp_path):
    fill(store)
    other = FeatureStore.create(tmp_path / "other", manifest(encoder="another"), IDS)
    items = FeatureStore.create(tmp_path / "items", manifest(), [f"other-{i}" for i in IDS])
    swapped = FeatureStore.create(tmp_path / "swapped", manifest(), [*IDS[1::-1], *IDS[2:]])
    for file in store.path.glob("part-*"):
        for wrong in (other, items, swapped):
            (wrong.path / file.name).write_bytes(file.read_bytes())
    assert other.verify() == items.verify() == [0, 1, 2]
    # Only the first part's items stand elsewhere.
    assert swapped.verify() == [0]
    assert not other.has_finished_parts
    same = FeatureStore.create(tmp_path / "same", manifest(), IDS)
    for file in store.path.glob("part-*"):
        (same.path / file.name).write_bytes(file.read_bytes())
    assert same.verify() == []


def test_parts_lose_their_mark_before_the_items_go(store, monkeypatch):
    """At every moment of a replacement what is left is a store of the old items, or empty."""
    fill(store)
    unlink, gone = Path.unlink, []

    def noted(self, *args, **kwargs):
        unlink(self, *args, **kwargs)
        gone.append(self.name)
        kinds = [file.name for file in store.path.iterdir()]
        assert "manifest.json" in kinds or len(kinds) == 0
        if "items-0.parquet" not in kinds:
            assert not [name for name in kinds if name.startswith("part-")]

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", noted)
        patch.setattr(FeatureStore, "_begin", classmethod(lambda *_: None))
        FeatureStore.replace(store.path, manifest(), IDS)
    assert gone[-2:] == ["items-0.parquet", "manifest.json"]


def test_several_threads_may_ask_one_store(tmp_path):
    """The reader of a Parquet file is no thread's but one's: it crashed the interpreter."""
    ids = [f"i{n}" for n in range(3000)]
    store = FeatureStore.create(tmp_path / "many", manifest(rows_per_part=2), ids)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(store.part_ids, range(store.part_count)))
        assert store.verify() == list(range(1500))
    assert [name for part in found for name in part] == ids
