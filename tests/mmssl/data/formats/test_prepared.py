import numpy as np
import pytest

from extract.errors import InputError
from mmssl.data.dataset import Dataset
from mmssl.data.formats.prepared import PreparedDataset
from mmssl.data.prepare import PrepareConfig, prepare
from tests.mmssl.data.formats import raw


@pytest.fixture
def dataset(tmp_path):
    for part, text in {"train": "u,a\nv,b\n", "val": "u,b\n", "test": "v,a\n"}.items():
        (tmp_path / f"{part}.csv").write_text("user,item\n" + text)
    np.save(tmp_path / "image.npy", np.array([[1.0], [np.nan]]))
    (tmp_path / "ids.txt").write_text("b\na\n")
    prepare(
        PrepareConfig(
            out=tmp_path / "data",
            **{part: tmp_path / f"{part}.csv" for part in ("train", "val", "test")},
            features={"image": tmp_path / "image.npy"},
            feature_ids={"image": tmp_path / "ids.txt"},
        )
    )
    return tmp_path / "data"


def test_a_dataset_comes_back_under_its_ids_and_the_reading_is_recorded(dataset):
    assert PreparedDataset().recognises(dataset)
    content = PreparedDataset().read(dataset)
    assert {part: raw.rows(table.frame) for part, table in content.parts.items()} == {
        "train": {("u", "a"), ("v", "b")},
        "val": {("u", "b")},
        "test": {("v", "a")},
    }
    assert raw.by_id(content.features["image"]) == {"a": None, "b": [1]}
    assert Dataset.open(dataset).test_reads() == 1
    assert PreparedDataset().read_items(dataset) is None


def test_a_dataset_that_was_changed_is_refused(dataset):
    (dataset / "train.parquet").write_bytes(b"")
    with pytest.raises(InputError, match=r"train\.parquet: changed since"):
        PreparedDataset().read(dataset)


def test_only_a_manifest_of_a_dataset_is_recognised(tmp_path):
    (tmp_path / "manifest.json").write_text('{"format": "mmssl-features"}')
    assert not PreparedDataset().recognises(tmp_path)
    (tmp_path / "manifest.json").write_text("{")
    assert not PreparedDataset().recognises(tmp_path)
