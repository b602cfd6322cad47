import pytest

from extract.errors import InputError
from extract.item_table import has_medium, not_items


def test_a_table_has_the_media_of_its_usual_columns(write_items):
    table = write_items(["item_id", "title", "video_path"], [["a", "x", "a.mp4"]])
    there = {m for m in ("image", "audio", "video", "text") if has_medium(table, m)}
    # The sound of a video is a sound.
    assert there == {"audio", "video", "text"}
    bare = write_items(["item_id", "Text"], [["a", "x"]], "bare.csv")
    assert not has_medium(bare, "text")


def test_a_folder_has_the_media_of_its_files(tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    for name in ("a.PNG", "b.m4a", "c.md"):
        (folder / name).write_text("")
    there = {m for m in ("image", "audio", "video", "text") if has_medium(folder, m)}
    assert there == {"image", "audio"}
    (folder / "d.mp4").write_text("")
    assert has_medium(folder, "video")


def test_what_is_no_item_of_a_folder_is_counted_by_ending(tmp_path):
    for name in ("a.png", "b.txt", "c.TXT", "d", "e.csv", ".hidden"):
        (tmp_path / name).touch()
    for name in ("below", "folder.png"):
        (tmp_path / name).mkdir()
    others, folders = not_items(tmp_path, "image")
    assert list(others.items()) == [(".txt", 2), ("", 1), (".csv", 1)]
    assert folders == 1
    assert not_items(tmp_path / "e.csv", "image") == ({}, 0)


def test_what_is_not_there_or_no_table_is_refused(tmp_path):
    (tmp_path / "a.xlsx").write_text("")
    (tmp_path / "a.parquet").write_text("no parquet")
    for name, message in (
        ("gone.csv", "no such file or folder"),
        ("a.xlsx", "unknown kind of table"),
        ("a.parquet", "a.parquet"),
    ):
        with pytest.raises(InputError, match=message):
            has_medium(tmp_path / name, "text")
