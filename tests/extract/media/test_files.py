import os
import signal
from pathlib import Path

import pytest

from extract.media.files import MediaError, open_inside, open_regular, resolve_inside


def reason_for(path) -> str:
    with pytest.raises(MediaError) as refusal, open_regular(path):
        pass
    return str(refusal.value)


@pytest.fixture
def folders(tmp_path):
    for name in ("table", "other", "outside"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.png").write_bytes(b"x")
    return tmp_path


def inside(folders, path, *roots):
    return resolve_inside(path, folders / "table", [folders / root for root in roots])


def test_relative_paths_belong_to_the_table_and_absolute_ones_to_a_root(folders):
    assert inside(folders, "a.png", "table") == folders / "table/a.png"
    assert inside(folders, "x/../a.png", "table") == folders / "table/a.png"
    absolute = str(folders / "other/a.png")
    assert inside(folders, absolute, "table", "other") == folders / "other/a.png"
    assert inside(folders, "../other/a.png", "table", "other") == folders / "other/a.png"


def test_a_path_that_leaves_every_root_is_refused(folders):
    (folders / "table/link.png").symlink_to(folders / "outside/a.png")
    (folders / "table/folder").symlink_to(folders / "outside")
    # A neighbour whose name begins alike is another folder.
    (folders / "table2").mkdir()
    for path in (
        "../outside/a.png",
        str(folders / "outside/a.png"),
        "link.png",
        "folder/a.png",
        "../table2/a.png",
        "/etc/passwd",
    ):
        with pytest.raises(MediaError, match=r"^outside the media roots$"):
            inside(folders, path, "table", "other")


def test_a_symlink_within_the_roots_is_followed(folders):
    (folders / "table/link.png").symlink_to(folders / "other/a.png")
    assert inside(folders, "link.png", "table", "other") == folders / "other/a.png"


def test_a_loop_of_symlinks_and_a_nul_are_reasons_not_crashes(folders):
    (folders / "table/loop").symlink_to(folders / "table/loop")
    with pytest.raises(MediaError, match="not a usable path"):
        inside(folders, "a\0.png", "table")
    assert "unreadable" in reason_for(inside(folders, "loop", "table"))


def test_a_regular_file_is_opened(folders):
    with open_regular(folders / "table/a.png") as handle:
        assert handle.read() == b"x"


def test_what_is_not_a_regular_file_is_never_opened(folders):
    os.mkfifo(folders / "fifo")

    def hangs(*_):
        raise AssertionError("opening the FIFO waited for a writer")

    before = signal.signal(signal.SIGALRM, hangs)
    signal.alarm(5)
    try:
        assert reason_for(folders / "fifo") == "not a regular file"
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    assert reason_for(folders / "table") == "not a regular file"
    assert reason_for(Path("/dev/null")) == "not a regular file"


def test_missing_and_empty_files_have_their_reasons(folders):
    (folders / "empty").touch()
    assert reason_for(folders / "nowhere.png") == "file not found"
    assert reason_for(folders / "table/a.png/below") == "file not found"
    assert reason_for(folders / "empty") == "empty file"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_one_may_not_read_is_named(folders):
    (folders / "table/a.png").chmod(0)
    assert reason_for(folders / "table/a.png") == "no permission to read the file"


@pytest.mark.parametrize("back_again", [False, True])
def test_a_folder_that_becomes_a_symlink_before_the_opening_leads_nowhere(
    folders, monkeypatch, back_again
):
    album, aside = folders / "table/album", folders / "table/aside"
    album.mkdir()
    (album / "a.png").write_bytes(b"mine")
    really_open = os.open

    def swapped(path, flags):
        album.rename(aside)
        album.symlink_to(folders / "outside")
        opened = really_open(path, flags)
        if back_again:
            album.unlink()
            aside.rename(album)
        return opened

    monkeypatch.setattr(os, "open", swapped)
    with (
        pytest.raises(MediaError, match="moved while" if back_again else "outside the media roots"),
        open_inside("album/a.png", folders / "table", [folders / "table"]),
    ):
        pass


def test_a_symlink_within_the_roots_is_opened(folders):
    (folders / "table/link.png").symlink_to(folders / "other/a.png")
    roots = [folders / "table", folders / "other"]
    with open_inside("link.png", folders / "table", roots) as handle:
        assert handle.read() == b"x"
