from pathlib import Path

import numpy as np
import pytest

from extract.errors import InputError
from mmssl.data.prepare_config import PrepareConfig

TABLE = {"interactions": Path("i.csv"), "out": Path("d")}
READY = {part: Path(f"{part}.csv") for part in ("train", "val", "test")} | {"out": Path("d")}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (TABLE | {"train": Path("t.csv")}, "give --interactions or a ready split"),
        ({"train": Path("t.csv"), "out": Path("d")}, "a ready split needs --val, --test too"),
        (TABLE | {"user_core": 0}, "--user-core 0: .*greater than or equal to 1"),
        (TABLE | {"seed": -1}, "--seed -1: "),
        (TABLE | {"ratios": "0.8,0.2"}, "--ratios 0.8,0.2: give three shares, training, valid"),
        (TABLE | {"split": "leave-one-out", "seed": 1}, "--seed does not apply: split 'leave-one"),
        (TABLE | {"split": "temporal-global", "seed": 0}, "--seed does not apply: split 'tempor"),
        (
            TABLE | {"interactions": Path("i.JSON"), "columns": "user=0,item=1"},
            "--columns does not apply: the interactions are .json",
        ),
        (TABLE | {"interactions": Path("i.json"), "header": False}, "--no-header does not apply"),
        (TABLE | {"interactions": Path("i.json"), "header": True}, "--header does not apply"),
        (TABLE | {"ratios": "a,b,c"}, "--ratios a,b,c: "),
        (TABLE | {"ratios": "0.8,0.1,0.2"}, "three shares that add up to 1"),
        (TABLE | {"ratios": "0,0.5,0.5"}, "three shares that add up to 1, train > 0"),
        (TABLE | {"ratios": "nan,0.5,0.5"}, "--ratios"),
        (TABLE | {"min_rating": float("nan")}, "--min-rating nan: .*finite"),
        (TABLE | {"split": "by-moon"}, "--split by-moon: "),
        (TABLE | {"split": "leave-one-out", "ratios": "0.8,0.1,0.1"}, "--ratios does not apply"),
        (TABLE | {"unknown_items": "drop"}, "--unknown-items does not apply: neither --items"),
        (TABLE | {"feature_ids": {"image": Path("f")}}, "there is no --features image="),
        (TABLE | {"features": {"../up": Path("f.npy")}}, "a modality's name is letters"),
        (TABLE | {"features": {"model": Path("f.npy")}}, "--features model: a part of every model"),
        (TABLE | {"features": {"collaborative": Path("f.npy")}}, "has this name; take another"),
        (TABLE | {"min_ratings": 3}, r"unknown option 'min_ratings' \(did you mean 'min_rating'"),
        *(
            (READY | {option: value}, f"--{option.replace('_', '-')} does not apply: a ready")
            for option, value in (
                ("split", "random"),
                ("ratios", "0.8,0.1,0.1"),
                ("seed", 0),
                ("user_core", 1),
                ("item_core", 2),
            )
        ),
    ],
)
def test_a_wrong_option_is_one_line(options, message):
    with pytest.raises(InputError, match=message) as caught:
        PrepareConfig.parse(options)
    assert "\n" not in str(caught.value)


def test_text_values_are_parsed():
    config = PrepareConfig.parse(TABLE | {"ratios": "0.6, 0.2,0.2", "columns": "user=0,item=b"})
    assert config.ratios == (0.6, 0.2, 0.2)
    assert config.columns is not None
    assert (config.columns.user, config.columns.item) == (0, "b")


def test_a_project_fills_in_what_is_not_given(tmp_path, make_store):
    (tmp_path / "items.csv").write_text("item_id\na\n")
    for modality in ("text", "image"):
        make_store(tmp_path / "features" / modality, ["a"], np.ones((1, 2), np.float32))
    (tmp_path / "features" / "notes").mkdir()
    config = PrepareConfig.parse({"out": None, "features": {}}, tmp_path)
    assert config.interactions == tmp_path / "interactions.csv"
    assert config.items == tmp_path / "items.csv"
    assert config.out == tmp_path / "data"
    assert config.features == {name: tmp_path / "features" / name for name in ("image", "text")}
    ready = PrepareConfig.parse(READY | {"out": None, "items": Path("other.csv")}, tmp_path)
    assert ready.interactions is None
    assert ready.items == Path("other.csv")
    assert ready.out == tmp_path / "data"


def test_without_a_project_nothing_is_filled_in(tmp_path, monkeypatch):
    (tmp_path / "items.csv").write_text("item_id\na\n")
    monkeypatch.chdir(tmp_path)
    assert PrepareConfig.parse(TABLE).items is None
    assert PrepareConfig.parse({"interactions": Path("i.csv")}).items == Path("items.csv")
    monkeypatch.chdir(tmp_path.parent)
    with pytest.raises(InputError, match="no project here"):
        PrepareConfig.parse({"interactions": Path("i.csv")})


SOURCE = {"source": Path("s"), "out": Path("d")}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (SOURCE | {"interactions": Path("i.csv")}, r"give a source \(s\) or --interactions, not"),
        (SOURCE | {"val": Path("v.csv")}, r"give a source \(s\) or --val, not both"),
        (SOURCE | {"columns": "user=0,item=1"}, "--columns does not apply: the source's layout"),
        (SOURCE | {"header": False}, "--no-header does not apply: the source's layout"),
        (SOURCE | {"source_format": "mmrek"}, "--from mmrek: no such format"),
        (TABLE | {"source_format": "mmssl"}, "--from mmssl: name the folder to read, too"),
        (TABLE | {"source_format": "auto"}, "--from auto: name the folder to read, too"),
    ],
)
def test_a_source_says_all_about_its_files(options, message):
    with pytest.raises(InputError, match=message):
        PrepareConfig.parse(options)


def test_a_source_takes_the_place_of_a_projects_interactions(tmp_path):
    config = PrepareConfig.parse({"source": Path("s"), "min_rating": 4.0}, tmp_path)
    assert (config.source, config.source_format) == (Path("s"), "auto")
    assert config.interactions is None
    assert config.out == tmp_path / "data"


def test_a_project_of_ready_parts_and_matrices(tmp_path, make_store):
    for part in ("train", "val", "test"):
        (tmp_path / f"{part}.csv").write_text("user,item\nu,a\n")
    for modality in ("image", "text"):
        np.save(tmp_path / f"{modality}_feat.npy", np.ones((1, 2)))
    (tmp_path / "image_feat.ids.txt").write_text("a\n")
    (tmp_path / "features").mkdir()
    make_store(tmp_path / "features" / "text", ["a"], np.ones((1, 2), np.float32))
    config = PrepareConfig.parse({}, tmp_path)
    assert (config.train, config.interactions) == (tmp_path / "train.csv", None)
    assert config.features == {
        "image": tmp_path / "image_feat.npy",
        "text": tmp_path / "features" / "text",
    }
    assert config.feature_ids == {"image": tmp_path / "image_feat.ids.txt"}
    named = PrepareConfig.parse({"features": {"audio": tmp_path / "a.npy"}}, tmp_path)
    assert (list(named.features), named.feature_ids) == (["audio"], {})
