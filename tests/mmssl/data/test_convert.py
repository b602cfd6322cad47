import json

import polars as pl
import pytest

import cli
from extract.errors import InputError
from mmssl.data.convert import convert
from mmssl.data.formats.base import RawDataset
from mmssl.data.formats.elliot import Elliot
from tests.mmssl.data.formats import raw


@pytest.fixture
def source(tmp_path):
    home = tmp_path / "source"
    home.mkdir()
    for part, pairs in {"train": "u,a\nv,b\n", "val": "u,b\n", "test": "v,a\n"}.items():
        (home / f"{part}.csv").write_text("user,item,rating\n" + pairs.replace("\n", ",5\n"))
    (home / "items.csv").write_text("item_id,text\na,Tea\nb,Cake\n")
    return home


def test_the_report_says_what_was_read_written_and_lost(source, tmp_path):
    report = convert(source, "mmssl", tmp_path / "out" / "toy")
    assert report.read_as == "tables"
    assert (report.users, report.items) == (2, 2)
    assert report.interactions == {"train": 2, "val": 1, "test": 1}
    assert any(
        "left out" in note and "ratings, descriptions of items" in note for note in report.notes
    )
    assert json.loads((tmp_path / "out/toy/train.json").read_text()) == {"0": [0], "1": [1]}
    back = convert(tmp_path / "out" / "toy", "tables", tmp_path / "back")
    assert back.read_as == "mmssl"
    assert pl.read_csv(tmp_path / "back/test.csv").rows() == [("v", "a")]


def test_dropped_rows_are_told(source, tmp_path):
    (source / "val.csv").write_text("user,item,rating\nu,b,5\nu,,5\n")
    with pytest.raises(InputError, match=r"val\.csv, row 2, column 'item': empty item id"):
        convert(source, "mmssl", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    report = convert(source, "mmssl", tmp_path / "out", invalid_rows="drop")
    assert any("empty item id: left out 1 interactions" in line for line in report.lines())


def test_targets_that_would_lose_something_are_refused(source, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    for out, message in (
        (tmp_path / "full", "not an empty folder"),
        (tmp_path / "full" / "x", "not an empty folder"),
        (source / "out", "lies in the source"),
        (source, "not an empty folder"),
    ):
        with pytest.raises(InputError, match=message):
            convert(source, "mmssl", out)
    with pytest.raises(InputError, match="--to dataset: not written by `convert`"):
        convert(source, "dataset", tmp_path / "out")


def test_the_commands(source, tmp_path, capsys):
    def call(*arguments):
        with pytest.raises(SystemExit) as ended:
            cli.run(cli.app, [str(each) for each in arguments])
        return ended.value.code or 0, capsys.readouterr()

    code, said = call("formats")
    assert code == 0
    assert "LATTICE" in said.out
    code, said = call("convert", source, "--from", "auto", "--to", "mmssl", "--out", tmp_path / "m")
    assert code == 0
    assert "written as mmssl" in said.out
    code, said = call("convert", source, "--to", "mmsl", "--out", tmp_path / "n")
    assert (code, said.err) == (2, "error: unknown format 'mmsl' (did you mean 'mmssl'?)\n")
    code, said = call("prepare", tmp_path / "m", "--from", "auto", "--out", tmp_path / "data")
    assert code == 0
    assert "2 / 1 / 1 interactions" in said.out


def test_an_empty_part_is_told(tmp_path):
    part = raw.table([("u", "a")])
    (tmp_path / "source").mkdir()
    content = RawDataset({"train": part, "test": part})
    Elliot().write(content, None, tmp_path / "source", "source")
    report = convert(tmp_path / "source", "tables", tmp_path / "out")
    assert "warning: the val part is empty; not every tool reads such" in report.notes
