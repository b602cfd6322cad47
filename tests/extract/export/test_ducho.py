import csv

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extract.errors import InputError
from extract.export.ducho import check_replaceable, ducho_folder, file_name, write_ducho


def as_elliot_loads(folder) -> dict[str, np.ndarray]:
    """elliot/dataset/modular_loaders/visual/visual_attribute.py (Formal-MultiMod-Rec)."""
    listed = [path.name for path in folder.iterdir()]
    items = {name.split(".")[0] for name in listed}
    dim = np.load(folder / listed[0]).shape[-1]
    features = np.empty((len(items), dim))
    for row, item in enumerate(sorted(items)):
        features[row] = np.load(folder / f"{item}.npy")
    return dict(zip(sorted(items), features, strict=True))


def test_elliot_reads_it_back(tmp_path, fill_store):
    vectors = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    ids = ["10", "11", "12", "13", "14"]
    store = fill_store(
        tmp_path / "s",
        vectors,
        ids=ids,
        absent={3: "failed"},
        encoder="torchvision:resnet50?layer=avgpool",
        fingerprint={"layer": "avgpool"},
    )
    summary = write_ducho(store, tmp_path / "out")
    inner = tmp_path / "out" / "torch" / "resnet50" / "avgpool"
    assert summary.files == [inner]
    assert summary.written == 4
    found = as_elliot_loads(inner)
    assert list(found) == ["10", "11", "12", "14"]
    np.testing.assert_array_equal(np.stack(list(found.values())), vectors[[0, 1, 2, 4]])
    one = np.load(inner / "10.npy", allow_pickle=False)
    assert (one.shape, one.dtype) == ((3,), np.float32)


def test_hostile_ids_stay_in_the_folder_and_names_csv_tells_whose_a_file_is(tmp_path, fill_store):
    ids = ["../../etc/passwd", "a.b", "x\0y", "é ü", "-", "n" * 300, "c:\\d", "new\nline"]
    vectors = np.arange(16, dtype=np.float32).reshape(8, 2)
    write_ducho(fill_store(tmp_path / "s", vectors, ids=ids), tmp_path / "out")
    with (tmp_path / "out" / "names.csv").open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [row["item_id"] for row in rows] == ids
    for row, vector in zip(rows, vectors, strict=True):
        np.testing.assert_array_equal(np.load(tmp_path / "out" / row["file"]), vector)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["out", "s"]


@given(st.text(min_size=1))
def test_a_name_is_one_plain_component(item_id):
    name = file_name(item_id)
    assert name
    assert not set(name) & set("./\\\0\n:")
    assert len(f"{name}.npy".encode()) <= 255


def test_long_ids_that_begin_alike_have_names_of_their_own():
    assert file_name("ж" * 400 + "a") != file_name("ж" * 400 + "b")


def test_ids_that_share_a_file_name_are_refused_and_named(tmp_path, fill_store):
    ids = ["a.b", "c", "d", "e", "a_b"]
    store = fill_store(tmp_path / "s", np.ones((5, 2)), ids=ids)
    with pytest.raises(InputError, match=r"items 'a.b' and 'a_b' would both be the file 'a_b.npy'"):
        write_ducho(store, tmp_path / "out")
    assert [entry.name for entry in tmp_path.iterdir()] == ["s"]


@pytest.mark.parametrize(
    ("encoder", "fingerprint", "wanted"),
    [
        ("hf:facebook/dinov2-small@main?pooling=cls", {}, "transformers/dinov2-small/output"),
        ("st:all-MiniLM-L6-v2", {}, "sentence_transformers/all-MiniLM-L6-v2/output"),
        ("packaged:whisper-tiny-en", {"layer": 3}, "packaged/whisper-tiny-en/3"),
        ("hf:models/../../x/", {}, "transformers/x/output"),
        ("torchvision:resnet18 + pca:64 + normalise", {}, "torch/resnet18/pca_64-normalise"),
        ("my.package:Class", {}, "my_package/Class/output"),
    ],
)
def test_the_folders_are_named_after_the_encoder(
    tmp_path, fill_store, encoder, fingerprint, wanted
):
    store = fill_store(tmp_path / "s", np.ones((2, 2)), encoder=encoder, fingerprint=fingerprint)
    assert ducho_folder(store.manifest).as_posix() == wanted


def test_only_an_exports_own_folder_may_be_replaced(tmp_path, fill_store):
    write_ducho(fill_store(tmp_path / "s", np.ones((2, 2))), tmp_path / "out")
    check_replaceable(tmp_path / "out")
    (tmp_path / "out" / "mine.txt").touch()
    with pytest.raises(InputError, match="holds other files than an export"):
        check_replaceable(tmp_path / "out")
    with pytest.raises(InputError, match="holds other files than an export"):
        check_replaceable(tmp_path / "s")
