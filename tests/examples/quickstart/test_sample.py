import json

import numpy as np
import pytest
import soundfile
from PIL import Image

from examples.quickstart import stamps
from examples.quickstart.sample import Request, make_sample
from extract.errors import InputError
from extract.tables import read_table

DRAWN = Request("drawn", items=40, users=30)


def bytes_of(folder):
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }


def test_a_drawn_sample_has_three_kinds_of_media_that_open(tmp_path):
    said = make_sample(tmp_path, DRAWN)
    assert "drawn by the quickstart itself (as asked)" in said
    assert "30 users" in said
    assert "simulated" in said
    items = read_table(tmp_path / "items.csv")
    assert len(items) == items["item_id"].n_unique() == 40
    assert items["audio"].null_count() == 2
    for row in items.iter_rows(named=True):
        assert Image.open(tmp_path / row["image"]).size == (160, 160)
        assert row["text"].endswith(".")
        if row["audio"]:
            samples, rate = soundfile.read(tmp_path / row["audio"])
            assert rate == 16_000
            assert 0.3 < np.abs(samples).max() <= 1
    likes = read_table(tmp_path / "simulated_interactions.csv")
    assert set(likes["item_id"]) <= set(items["item_id"])
    assert likes["user_id"].n_unique() == 30


def test_the_same_request_keeps_what_is_there_and_gives_the_same_bytes_elsewhere(tmp_path):
    make_sample(tmp_path / "a", DRAWN)
    first = bytes_of(tmp_path / "a")
    make_sample(tmp_path / "a", DRAWN)
    make_sample(tmp_path / "b", DRAWN)
    assert bytes_of(tmp_path / "a") == bytes_of(tmp_path / "b") == first


def test_an_interrupted_sample_is_made_again(tmp_path):
    make_sample(tmp_path, DRAWN)
    whole = bytes_of(tmp_path)
    (tmp_path / "items.csv").unlink()
    (tmp_path / "simulated_interactions.csv").write_text("user_id,item_id\n")
    make_sample(tmp_path, DRAWN)
    assert bytes_of(tmp_path) == whole


def test_another_request_or_a_foreign_folder_is_refused(tmp_path):
    make_sample(tmp_path / "a", DRAWN)
    with pytest.raises(InputError, match="made with other options"):
        make_sample(tmp_path / "a", Request("drawn", items=41, users=30))
    foreign = tmp_path / "b" / "items.csv"
    foreign.parent.mkdir()
    foreign.write_text("item_id\nmine\n")
    with pytest.raises(InputError, match="not the quickstart's"):
        make_sample(tmp_path / "b", DRAWN)
    assert foreign.read_text() == "item_id\nmine\n"


def test_where_the_stamps_cannot_be_had_the_sample_is_drawn_and_says_why(tmp_path, monkeypatch):
    def unavailable(media):
        raise stamps.StampsError("there is no apt-get here")

    monkeypatch.setattr(stamps, "fetch", unavailable)
    said = make_sample(tmp_path / "auto", Request("auto", users=10))
    assert "the Tux Paint stamps cannot be had: there is no apt-get here" in said
    assert json.loads((tmp_path / "auto" / "sample.json").read_text())["source"] == said
    assert len(read_table(tmp_path / "auto" / "items.csv")) == 200
    with pytest.raises(InputError, match="cannot be had: there is no apt-get here"):
        make_sample(tmp_path / "stamps", Request("stamps"))


def test_a_number_of_items_is_refused_where_it_would_do_nothing(tmp_path):
    with pytest.raises(InputError, match="--items applies to the drawn sample"):
        make_sample(tmp_path, Request("auto", items=10))
