"""What holds of every layout that is written, whatever its files."""

import dataclasses

import polars as pl
import pytest

import cli
from extract.errors import InputError
from mmssl.data.convert import convert
from mmssl.data.dataset import Dataset
from mmssl.data.formats.base import RawDataset, WritableFormat
from mmssl.data.formats.registry import find_format, format_names, source_format
from mmssl.data.prepare import PrepareConfig, prepare
from tests.mmssl.data.formats import raw

WRITABLE = [name for name in format_names() if isinstance(find_format(name), WritableFormat)]
USERS = ["100", "101", "102", "103"]
ITEMS = ["7", "8", "9"]
PARTS = {
    "train": [(user, item) for user in USERS for item in ITEMS[:1]] + [("100", "8")],
    "val": [("101", "8"), ("102", "8")],
    "test": [("100", "9"), ("103", "9")],
}
VECTORS = {"7": [1.0, 2.0], "8": [3.0, 4.0], "9": [5.0, 6.0]}


def content() -> RawDataset:
    """A small data set with all that layouts hold."""
    parts = {
        part: raw.table(pairs, [4.0] * len(pairs), [1_600_000_000 + at for at in range(len(pairs))])
        for part, pairs in PARTS.items()
    }
    return RawDataset(parts, {"image": raw.features(VECTORS), "text": raw.features(VECTORS)})


def items() -> pl.DataFrame:
    return pl.DataFrame(
        {"item_id": ITEMS, "text": ["Tea", "Cake", "Jam"], "title": ["T", "C", "J"]}
    )


@pytest.fixture(params=WRITABLE)
def written(request, tmp_path):
    """A layout's name and a folder of it."""
    folder = tmp_path / "toy"
    folder.mkdir()
    find_format(request.param).write(content(), items(), folder, "toy")
    return request.param, folder


def test_auto_recognises_it_and_nothing_else_does(written):
    name, folder = written
    assert source_format(folder).name == name
    assert [each for each in format_names() if find_format(each).recognises(folder)] == [name]


def test_it_becomes_a_dataset_with_all_interactions(written, tmp_path):
    _, folder = written
    prepare(PrepareConfig(source=folder, out=tmp_path / "data"))
    dataset = Dataset.open(tmp_path / "data")
    pairs = [dataset.train, dataset.val, dataset.read_test("a test of layouts")]
    named = {
        (dataset.user_ids.ids[user], dataset.item_ids.ids[item])
        for part in pairs
        for user, item in zip(part.users, part.items, strict=True)
    }
    assert named == {pair for part in PARTS.values() for pair in part}
    if source_format(folder).read(folder).split:
        assert [len(part) for part in pairs] == [5, 2, 2]
    for modality, each in dataset.features.items():
        assert modality in ("image", "text")
        assert dict(zip(dataset.item_ids.ids, each.vectors.tolist(), strict=True)) == VECTORS


def test_it_becomes_our_own_tables_and_what_is_lost_is_told(written, tmp_path):
    name, folder = written
    convert(folder, "tables", tmp_path / "tables")
    back = find_format("tables").read(tmp_path / "tables")
    pairs = {pair for part in PARTS.values() for pair in part}
    assert set(back.together().select("user", "item").iter_rows()) == pairs
    # What a layout says it has no place for is what does not come back.
    (tmp_path / "again").mkdir()
    told = find_format(name).write(content(), items(), tmp_path / "again", "toy")
    notes = " ".join(note for note in told if note.startswith("left out"))
    for words, is_lost in {
        "ratings": "rating" not in back.together().columns,
        "features": not back.features,
        "which part of the split": not back.split,
    }.items():
        assert (words in notes) == is_lost, (words, notes)


@pytest.mark.parametrize("name", WRITABLE)
def test_a_part_without_interactions_comes_back_so(name, tmp_path):
    full = content()
    parts = {part: full.parts[part] for part in ("train", "test")}
    empty = RawDataset(
        {"train": parts["train"], "val": raw.table([], [], []), "test": parts["test"]}
    )
    find_format(name).write(empty, None, tmp_path, "toy")
    back = find_format(name).read(tmp_path)
    if back.split:
        assert {part: table.frame.height for part, table in back.parts.items()} == {
            "train": 5,
            "val": 0,
            "test": 2,
        }
    report = prepare(PrepareConfig(source=tmp_path, out=tmp_path / "data"))
    if back.split:
        assert "the val split is empty" in report.warnings


def test_a_source_without_any_interaction_is_refused(tmp_path):
    (tmp_path / "interactions.csv").write_text("user,item\n")
    with pytest.raises(InputError, match=r"interactions\.csv: no interactions in it"):
        prepare(PrepareConfig(source=tmp_path, out=tmp_path / "data"))
    with pytest.raises(InputError, match=r"interactions\.csv: no interactions in it"):
        convert(tmp_path, "hm", tmp_path.parent / "converted")


def test_every_layout_is_listed(capsys):
    with pytest.raises(SystemExit):
        cli.run(cli.app, ["formats"])
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert listed == format_names()


@pytest.mark.parametrize("role", ["rating", "timestamp"])
@pytest.mark.parametrize("name", WRITABLE)
def test_a_column_that_only_some_parts_have_is_kept_or_told(name, role, tmp_path):
    parts = dict(content().parts)
    parts["val"] = dataclasses.replace(parts["val"], frame=parts["val"].frame.drop(role))
    told = find_format(name).write(RawDataset(parts), None, tmp_path, "toy")
    back = find_format(name).read(tmp_path)
    # Cornac wants a rating before a timestamp, and gets 1.
    frames = [table.frame for table in back.parts.values()]
    kept = any(role in frame.columns and frame[role].max() > 1 for frame in frames)
    assert kept != any(note.startswith("left out") and role in note for note in told), told


@pytest.mark.parametrize("name", WRITABLE)
def test_a_file_in_place_of_the_folder_is_refused_in_one_line(name, tmp_path):
    path = tmp_path / "note.md"
    path.write_text("words\n")
    with pytest.raises(InputError) as caught:
        find_format(name).read(path)
    assert str(caught.value).count(str(path)) == 1
    assert "Errno" not in str(caught.value)
