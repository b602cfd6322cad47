import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from examples.pictures import pictures
from extract.errors import InputError
from extract.tables import read_table

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shop")
    pictures(folder, "drawn")
    return folder


def test_every_picture_is_an_item_under_its_files_name(made):
    items = read_table(made / "items.csv")
    files = sorted(made.joinpath("pictures").iterdir())
    assert [path.stem for path in files] == sorted(items["item_id"])
    assert len(files) == 200
    for item, path in zip(items["item_id"], items["image"], strict=True):
        assert Path(path).stem == item
        assert Image.open(made / path).size == (160, 160)
    assert items["audio"].null_count() == 10
    assert all((made / path).is_file() for path in items["audio"].drop_nulls())
    assert items["text"].null_count() == 0


def test_nobody_can_take_the_likes_for_those_of_people(made):
    likes = read_table(made / "likes.csv")
    assert likes["user_id"].n_unique() == 300
    assert likes["user_id"].str.starts_with("simulated-").all()
    assert set(likes["item_id"]) <= set(read_table(made / "items.csv")["item_id"])
    said = json.loads((made / "sample.json").read_text())["source"]
    assert "300 users and their" in said
    assert said.endswith("are simulated.")


def test_nothing_else_is_left_in_the_folder(made):
    names = {path.name for path in made.iterdir()}
    assert names == {"pictures", "sounds", "items.csv", "likes.csv", "sample.json"}


def test_a_catalogue_that_is_there_is_not_overwritten(tmp_path):
    (tmp_path / "pictures").mkdir()
    with pytest.raises(InputError, match="pictures is there already: name another folder by --out"):
        pictures(tmp_path, "drawn")


def test_equal_calls_make_equal_files(made, tmp_path):
    command = [sys.executable, "-m", "examples.pictures", "--sample", "drawn", "--out"]
    done = subprocess.run(
        [*command, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "200 pictures" in done.stdout
    for path in made.rglob("*"):
        if path.is_file():
            assert (tmp_path / path.relative_to(made)).read_bytes() == path.read_bytes()
