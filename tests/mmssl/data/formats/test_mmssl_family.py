import json
import re
import shlex
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extract.errors import InputError
from mmssl.data.formats.mmssl_family import MMSSLFamily
from tests.mmssl.data.formats import broken, raw


def make_lattice(folder):
    """LATTICE's layout, by its ``load_data.py``: JSONs in 5-core, a row of a matrix an item."""
    core = folder / "5-core"
    core.mkdir(parents=True)
    parts = {"train": {"0": [0, 1], "1": [2]}, "val": {"0": [2]}, "test": {"1": [0]}}
    for part, lists in parts.items():
        (core / f"{part}.json").write_text(json.dumps(lists))
    np.save(folder / "image_feat.npy", np.arange(12, dtype=np.float64).reshape(3, 4))
    np.save(folder / "text_feat.npy", np.ones((3, 2), dtype=np.float32))
    return folder


def test_lattice_folder_by_hand(tmp_path):
    source = make_lattice(tmp_path / "sports")
    assert MMSSLFamily().recognises(source)
    content = MMSSLFamily().read(source)
    assert {part: raw.rows(table.frame) for part, table in content.parts.items()} == {
        "train": {("0", "0"), ("0", "1"), ("1", "2")},
        "val": {("0", "2")},
        "test": {("1", "0")},
    }
    assert raw.by_id(content.features["image"]) == {
        "0": [0, 1, 2, 3],
        "1": [4, 5, 6, 7],
        "2": [8, 9, 10, 11],
    }
    assert raw.by_id(content.features["text"])["2"] == [1, 1]
    assert set(content.sources) == {"train", "val", "test"}


@settings(max_examples=40, deadline=None)
@given(content=raw.raw_datasets(split=True))
def test_round_trip(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("mmssl")
    MMSSLFamily().write(content, None, folder, "made")
    raw.same(MMSSLFamily().read(folder), content)


def test_the_last_row_is_an_item_with_interactions(tmp_path):
    # The tools count items by the highest number among the interactions.
    part = raw.table([("u", "a")])
    content = raw.RawDataset(
        {"train": part, "val": part, "test": part},
        {"image": raw.features({"a": [1.0], "b": None, "c": [3.0]})},
    )
    notes = MMSSLFamily().write(content, None, tmp_path, "made")
    assert json.loads((tmp_path / "train.json").read_text()) == {"0": [2]}
    assert (tmp_path / "item_ids.txt").read_text() == "b\nc\na\n"
    assert np.load(tmp_path / "image_feat.npy").tolist() == [[0], [3], [1]]
    assert np.load(tmp_path / "image_feat.mask.npy").tolist() == [False, True, True]
    assert any("1 of 3 items have no vector" in note for note in notes)


def test_numbers_are_kept_where_the_ids_are_numbers(tmp_path):
    source = make_lattice(tmp_path / "sports")
    MMSSLFamily().write(MMSSLFamily().read(source), None, tmp_path, "made")
    for part in ("train", "val", "test"):
        assert json.loads((tmp_path / f"{part}.json").read_text()) == json.loads(
            (source / "5-core" / f"{part}.json").read_text()
        )
    assert not (tmp_path / "item_ids.txt").exists()


def test_another_core_and_ids_beside_a_matrix_that_the_numbers_do_not_mean(tmp_path):
    source = make_lattice(tmp_path / "sports")
    (source / "5-core").rename(source / "10-core")
    # As `features export --order` leaves them there.
    (source / "image_feat.ids.txt").write_text("x\ny\nz\n")
    content = MMSSLFamily().read(source)
    assert content.features["image"].ids == ["0", "1", "2"]
    (source / "train.json").write_text('{"0": [0]}')
    with pytest.raises(InputError, match="several folders hold a split"):
        MMSSLFamily().read(source)


def test_the_command_that_is_told_makes_the_matrix_that_mmssl_wants(tmp_path):
    content = MMSSLFamily().read(make_lattice(tmp_path / "sports"))
    notes = MMSSLFamily().write(content, None, tmp_path, "made")
    _, _, command = notes[-1].partition("within the folder: ")
    # As a shell takes it apart.
    python, *arguments = shlex.split(command)
    assert python == "python"
    subprocess.run([sys.executable, *arguments], check=True, cwd=tmp_path)
    look = "import pickle; m = pickle.load(open('train_mat', 'rb')); print(m.toarray().tolist())"
    found = subprocess.run(
        [sys.executable, "-c", look], check=True, cwd=tmp_path, capture_output=True, text=True
    )
    assert json.loads(found.stdout) == [[1, 1, 0], [0, 0, 1]]


def test_a_pickle_is_refused_with_the_way_around_it(tmp_path):
    (tmp_path / "train_mat").write_bytes(b"\x80\x04.")
    assert MMSSLFamily().recognises(tmp_path)
    with pytest.raises(InputError, match=r"train_mat: a pickle.*json\.dump"):
        MMSSLFamily().read(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: (f / "item_ids.txt").write_text("a\nb\n"), r"train\.json: item '2' is no line"),
        (lambda f: (f / "item_ids.txt").write_text("a\na\nb\n"), "'a' occurs in rows 0 and 1"),
        (lambda f: (f / "val.json").unlink(), r"val\.json"),
        (lambda f: (f / "val.json").write_text('{"0":\n [1,}'), r"val\.json.*line 2 column 5"),
        (lambda f: np.save(f / "x_feat.npy", np.ones(3)), r"x_feat\.npy: must be a matrix"),
    ],
)
def test_what_is_broken_is_named(tmp_path, change, message):
    source = make_lattice(tmp_path / "sports")
    folder = source / "5-core"
    change(folder)
    with pytest.raises(InputError, match=message):
        MMSSLFamily().read(source)


def test_unsplit_interactions_are_refused(tmp_path):
    content = raw.RawDataset({"interactions": raw.table([("u", "a")])})
    with pytest.raises(InputError, match="split the interactions first"):
        MMSSLFamily().write(content, None, tmp_path, "made")


@settings(max_examples=60, deadline=None)
@given(draw=st.data())
def test_a_broken_json_is_named_with_line_and_column_or_user_and_entry(tmp_path_factory, draw):
    source = make_lattice(tmp_path_factory.mktemp("broken") / "sports")
    path = source / "5-core" / "train.json"
    path.write_text('{\n"0": [0, 1],\n"1": [2]\n}\n')
    broken.break_lines(path, " ", draw)
    place = r"line \d+ column \d+|user '.*'|UTF-8|utf-8|one object|no interactions"
    broken.fails_well(lambda: MMSSLFamily().read(source), path, place=re.compile(place))
