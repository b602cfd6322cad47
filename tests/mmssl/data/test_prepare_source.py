import json

import numpy as np
import pytest

from extract.errors import InputError
from mmssl.data.dataset import Dataset
from mmssl.data.prepare import PrepareConfig, prepare


@pytest.fixture
def family(tmp_path):
    home = tmp_path / "family"
    home.mkdir()
    parts = {"train": {"0": [0, 1], "1": [2]}, "val": {"0": [2]}, "test": {"1": [0]}}
    for part, lists in parts.items():
        (home / f"{part}.json").write_text(json.dumps(lists))
    np.save(home / "image_feat.npy", np.arange(6.0).reshape(3, 2))
    return home


@pytest.fixture
def tables(tmp_path):
    home = tmp_path / "tables"
    home.mkdir()
    rows = [f"u{u},i{i},{(u + i) % 5 + 1}" for u in range(6) for i in range(8)]
    (home / "interactions.csv").write_text("\n".join(["user,item,rating", *rows]) + "\n")
    return home


def test_a_ready_split_keeps_its_parts_and_features(family, tmp_path):
    report = prepare(PrepareConfig(source=family, out=tmp_path / "data"))
    dataset = Dataset.open(tmp_path / "data")
    assert dataset.train.users.tolist() == [0, 0, 1]
    assert dataset.train.items.tolist() == [0, 1, 2]
    assert dataset.features["image"].vectors.tolist() == [[0, 1], [2, 3], [4, 5]]
    assert set(report.manifest.sources) == {"train", "val", "test"}
    assert report.manifest.modalities["image"].source.path == str(family)


def test_more_features_are_added_and_named_ones_replaced(family, tmp_path):
    np.save(tmp_path / "own.npy", np.ones((3, 4), dtype=np.float32))
    features = {"text": tmp_path / "own.npy", "image": tmp_path / "own.npy"}
    prepare(PrepareConfig(source=family, out=tmp_path / "data", features=features))
    dataset = Dataset.open(tmp_path / "data")
    assert {name: each.vectors.shape for name, each in dataset.features.items()} == {
        "image": (3, 4),
        "text": (3, 4),
    }


def test_interactions_are_filtered_and_split(tables, tmp_path):
    options = {"source": tables, "source_format": "tables", "out": tmp_path / "data"}
    report = prepare(PrepareConfig(**options, min_rating=3, split="leave-one-out-random", seed=1))
    counts = report.manifest.counts
    assert counts.train + counts.val + counts.test == sum(
        (u + i) % 5 + 1 >= 3 for u in range(6) for i in range(8)
    )
    assert (counts.val, counts.test) == (6, 6)
    assert report.manifest.settings["split"] == "leave-one-out-random"


def test_options_of_a_split_are_refused_where_it_is_ready(family, tmp_path):
    for option, value in {"split": "random", "user_core": 2, "ratios": "0.8,0.1,0.1"}.items():
        config = PrepareConfig(source=family, out=tmp_path / "data", **{option: value})
        with pytest.raises(InputError, match="does not apply: a ready split is taken as it is"):
            prepare(config)
    assert not (tmp_path / "data").exists()


def test_a_temporal_split_wants_times_of_the_source(tables, tmp_path):
    config = PrepareConfig(source=tables, out=tmp_path / "data", split="temporal-user")
    with pytest.raises(InputError, match="needs a timestamp column; the source has none"):
        prepare(config)


def test_a_matrix_that_no_modality_can_be_named_after_is_refused(family, tmp_path):
    np.save(family / "model_feat.npy", np.ones((3, 2)))
    with pytest.raises(InputError, match=r"family: features 'model': a part of every model has"):
        prepare(PrepareConfig(source=family, out=tmp_path / "data"))


def test_invalid_rows_are_dropped_when_asked(tables, tmp_path):
    path = tables / "interactions.csv"
    path.write_text(path.read_text() + "u9,,3\n")
    with pytest.raises(InputError, match=r"row 49, column 'item': empty item id"):
        prepare(PrepareConfig(source=tables, out=tmp_path / "data"))
    report = prepare(PrepareConfig(source=tables, out=tmp_path / "data", invalid_rows="drop"))
    assert report.manifest.removed[0].interactions == 1


def test_an_unknown_item_is_named_by_the_number_of_its_record(tmp_path):
    (tmp_path / "dataset.tsv").write_text("1\t2\n1\t9\n2\t2\n")
    (tmp_path / "image_embeddings").mkdir()
    np.save(tmp_path / "image_embeddings" / "2.npy", np.ones(3))
    config = PrepareConfig(source=tmp_path, out=tmp_path / "data", unknown_items="error")
    with pytest.raises(InputError, match=r"dataset\.tsv, row 2: item '9' is in neither"):
        prepare(config)
