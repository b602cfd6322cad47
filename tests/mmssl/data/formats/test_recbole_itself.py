"""What RecBole makes of our files; skipped where it is not installed, as in our own environment.

RecBole 1.2.1 wants numpy below 2 and pandas below 2.2, so it has an environment of its own, with
polars, pydantic, pytest and hypothesis beside it; run there, this file loads what is written.
"""

import re

import numpy as np
import polars as pl
import pytest
import yaml

from mmssl.data.formats.recbole import RecBole
from tests.mmssl.data.formats import raw

recbole = pytest.importorskip("recbole")

TRAIN = raw.table([("u1", "a"), ("u1", "b"), ("u-2", "é c")], [5, 1, 2.5], [10, 11, 12])
VAL = raw.table([("u-2", "a")], [3], [13])
TEST = raw.table([("u1", 'd"x')], [4], [14])
FEATURES = {
    "image": raw.features({"a": [0.1, -2e-7], "b": None, "only-features": [3.0, 4.0]}),
    "text": raw.features({'d"x': [1.0, 2.0, 3.0], "é c": [1e30, 5.0, 6.0]}),
}
ITEMS = pl.DataFrame(
    {
        "item_id": ["a", "b", 'd"x'],
        "text": ['"Quoted" words', "a\ttab and\na line", None],
        "brand": ["x", None, '12" y'],
    }
)


def load(content, folder):
    """The data set that RecBole makes of what is written, configured as the note says."""
    from recbole.config import Config
    from recbole.data import create_dataset

    folder.mkdir()
    notes = RecBole().write(content, ITEMS, folder, folder.name)
    told = re.search(r"RecBole's configuration: (\{.*\}), and data_path", notes[-1])
    assert told is not None
    configured = yaml.safe_load(told[1])
    configured["load_col"]["item"] = "*"
    settings = configured | {"data_path": str(folder.parent), "use_gpu": False}
    return create_dataset(Config("BPR", configured["dataset"], config_dict=settings))


def interactions(data_set, frame):
    """(user, item, rating, timestamp) under the ids of the files."""
    users = data_set.id2token("user_id", np.asarray(frame["user_id"]))
    items = data_set.id2token("item_id", np.asarray(frame["item_id"]))
    numbers = (frame[name].tolist() for name in ("rating", "timestamp"))
    return set(zip(users, items, *numbers, strict=True))


def check_features_and_items(data_set):
    """Rows of vectors and descriptions, by the ids that RecBole gave the items."""
    ids = data_set.field2id_token["item_id"]
    assert set(ids[1:]) == {"a", "b", "é c", 'd"x', "only-features"}
    for modality, source in FEATURES.items():
        weight = data_set.get_preload_weight(f"{modality}emb_id")
        assert weight.shape == (6, source.vectors.shape[1])
        vectors = raw.by_id(source)
        for row, id_ in zip(weight.astype(np.float32), ids, strict=True):
            assert row.tolist() == (vectors.get(id_) or [0] * len(row)), id_
    texts = {
        id_: [word for word in data_set.id2token("text", np.asarray(line)) if word != "[PAD]"]
        for id_, line in zip(ids, data_set.item_feat["text"], strict=True)
    }
    assert texts["a"] == ['"Quoted"', "words"]
    assert texts["b"] == ["a\ttab", "and\na", "line"]
    brands = data_set.id2token("brand", np.asarray(data_set.item_feat["brand"], dtype=int))
    assert dict(zip(ids, brands, strict=True)) == {
        "a": "x",
        'd"x': '12" y',
        **dict.fromkeys(["[PAD]", "b", "é c", "only-features"], "[PAD]"),
    }


def test_interactions_to_be_split(tmp_path):
    whole = raw.table(
        [("u1", "a"), ("u1", "b"), ("u-2", "é c"), ("u1", 'd"x')], [5, 1, 2.5, 4], [10, 11, 12, 14]
    )
    data_set = load(raw.RawDataset({"interactions": whole}, FEATURES), tmp_path / "made")
    assert (data_set.user_num, data_set.item_num, data_set.inter_num) == (3, 6, 4)
    assert interactions(data_set, data_set.inter_feat) == raw.rows(whole.frame)
    check_features_and_items(data_set)


def test_a_ready_split(tmp_path):
    parts = {"train": TRAIN, "val": VAL, "test": TEST}
    data_set = load(raw.RawDataset(parts, FEATURES), tmp_path / "made.v1")
    built = data_set.build()
    assert [len(each) for each in built] == [3, 1, 1]
    for each, table in zip(built, parts.values(), strict=True):
        assert interactions(data_set, each.inter_feat) == raw.rows(table.frame)
    check_features_and_items(data_set)
