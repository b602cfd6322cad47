import hashlib
import json
import os
import stat

import pytest

from extract.errors import InputError
from extract.files import (
    atomic_folder,
    atomic_path,
    read_json,
    require_writable,
    sha256_file,
    write_json,
    write_text,
)


def fails_within(manager, path, write):
    with manager(path) as temporary:
        write(temporary)
        raise RuntimeError("half way")


def test_a_file_appears_whole_and_alone(tmp_path):
    path = tmp_path / "new" / "a.txt"
    with atomic_path(path) as temporary:
        temporary.write_text("whole")
        assert temporary.parent == path.parent
        assert not path.exists()
    assert path.read_text() == "whole"
    assert [each.name for each in path.parent.iterdir()] == ["a.txt"]


def test_a_write_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError):
        fails_within(atomic_path, path, lambda temporary: temporary.write_text("half"))
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_who_may_read_what_was_written_is_up_to_the_umask(tmp_path, mask):
    before = os.umask(mask)
    try:
        write_text(tmp_path / "a.txt", "x")
        with atomic_folder(tmp_path / "folder") as folder:
            (folder / "private").touch(mode=0o600)
        assert os.umask(mask) == mask
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o666 & ~mask
    assert stat.S_IMODE((tmp_path / "folder").stat().st_mode) == 0o777 & ~mask
    assert stat.S_IMODE((tmp_path / "folder" / "private").stat().st_mode) == 0o666 & ~mask


def test_a_folder_appears_whole_and_alone(tmp_path):
    folder = tmp_path / "new" / "folder"
    with atomic_folder(folder) as temporary:
        (temporary / "deep").mkdir()
        (temporary / "deep" / "a").write_text("1")
        assert not folder.exists()
    assert (folder / "deep" / "a").read_text() == "1"
    assert [each.name for each in folder.parent.iterdir()] == ["folder"]


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "old").write_text("")
    with pytest.raises(RuntimeError):
        fails_within(atomic_folder, folder, lambda temporary: (temporary / "new").write_text(""))
    assert [each.name for each in folder.iterdir()] == ["old"]
    with atomic_folder(folder) as temporary:
        (temporary / "new").write_text("")
    assert [each.name for each in folder.iterdir()] == ["new"]
    assert [each.name for each in tmp_path.iterdir()] == ["folder"]


def test_a_folder_that_cannot_take_its_place_leaves_the_old_one(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "old").write_text("")

    def replace_by_nothing():
        with atomic_folder(folder) as temporary:
            temporary.rmdir()

    with pytest.raises(OSError, match="No such file"):
        replace_by_nothing()
    assert [each.name for each in folder.iterdir()] == ["old"]


def test_places_where_nothing_can_be_written_are_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    below_a_file = tmp_path / "file" / "a"
    for attempt in (
        lambda: write_text(below_a_file, ""),
        lambda: require_writable(below_a_file),
        lambda: atomic_folder(below_a_file).__enter__(),
        lambda: write_text(tmp_path / ("n" * 300), ""),
    ):
        with pytest.raises(InputError, match="cannot be written"):
            attempt()
    with pytest.raises(InputError, match="a folder stands where the file should be"):
        write_text(tmp_path / "folder", "")


def test_asking_whether_a_file_can_be_written_leaves_nothing(tmp_path):
    (tmp_path / "there").write_text("old")
    require_writable(tmp_path / "there")
    require_writable(tmp_path / "absent")
    assert [each.name for each in tmp_path.iterdir()] == ["there"]
    assert (tmp_path / "there").read_text() == "old"


def test_json_comes_back_and_holds_no_nan(tmp_path):
    path = tmp_path / "a.json"
    value = {"z": [1, 0.5, None], "a": "ü"}
    write_json(path, value)
    assert read_json(path) == value
    assert list(json.loads(path.read_text(encoding="utf-8"))) == ["z", "a"]
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(path, {"x": float("nan")})
    assert read_json(path) == value


def test_json_that_cannot_be_read_is_one_line(tmp_path):
    (tmp_path / "broken.json").write_text('{"a": 1,\n')
    (tmp_path / "latin.json").write_bytes(b'"\xe9"')
    with pytest.raises(InputError, match="no such file"):
        read_json(tmp_path / "absent.json")
    with pytest.raises(InputError, match=r"not readable as JSON .* line 2"):
        read_json(tmp_path / "broken.json")
    for unreadable in (tmp_path / "latin.json", tmp_path):
        with pytest.raises(InputError, match="not readable as JSON"):
            read_json(unreadable)


def test_the_digest_is_that_of_the_bytes(tmp_path):
    content = bytes(range(256)) * 1000
    (tmp_path / "a").write_bytes(content)
    assert sha256_file(tmp_path / "a") == hashlib.sha256(content).hexdigest()
