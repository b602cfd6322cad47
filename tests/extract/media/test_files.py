import os
import signal
import subprocess
import sys
import tempfile
import unicodedata
from pathlib import Path

import pytest

from extract.media.files import (
    MediaError,
    open_inside,
    open_regular,
    refuse_larger,
    resolve_inside,
)

ROOT = Path(__file__).parents[3]


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


def test_a_symlink_to_nothing_is_called_that_wherever_it_points(folders):
    nowhere = "file not found (a symbolic link that leads nowhere)"
    (folders / "table/out.png").symlink_to(folders / "outside/gone.png")
    (folders / "table/in.png").symlink_to("gone.png")
    (folders / "table/album").symlink_to(folders / "outside")
    (folders / "outside/gone.png").symlink_to("/no/such/place.png")
    assert why_not(folders, "out.png") == nowhere
    assert why_not(folders, "in.png") == nowhere
    assert why_not(folders, "gone.png") == "file not found"
    # What is a link outside the roots, and to what, is nobody's business.
    assert why_not(folders, "../outside/gone.png") == "outside the media roots"
    assert why_not(folders, "album/gone.png") == "outside the media roots"
    (folders / "outside/gone.png").unlink()
    (folders / "outside/gone.png").touch()
    assert why_not(folders, "out.png") == "outside the media roots"


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


AS_NOBODY = """
import os, sys
from pathlib import Path
from extract.media.files import MediaError, open_inside
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
base = Path(sys.argv[1])
for path in sys.argv[2:]:
    try:
        with open_inside(path, base, [base]) as handle:
            print(handle.read().decode())
    except MediaError as reason:
        print(reason)
"""


def test_a_file_one_may_not_read_is_named():
    # Root may read everything: another user, in a process and a folder of their own, may not.
    with tempfile.TemporaryDirectory() as name:
        base = Path(name).resolve()
        base.chmod(0o755)
        (base / "closed").mkdir()
        for path in ("mine.png", "closed.png", "closed/a.png"):
            (base / path).write_bytes(b"x")
        (base / "closed.png").chmod(0)
        (base / "closed").chmod(0)
        command = [sys.executable, "-c", AS_NOBODY, str(base), "mine.png", "closed.png"]
        run = subprocess.run(
            [*command, "closed/a.png"], capture_output=True, text=True, check=False, cwd=ROOT
        )
        (base / "closed").chmod(0o755)
    refused = "no permission to read the file"
    assert run.stdout.splitlines() == ["x", refused, refused], run.stderr


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


def why_not(folders, path) -> str:
    base = folders / "table"
    with pytest.raises(MediaError) as refusal, open_inside(path, base, [base]):
        pass
    return str(refusal.value)


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("nowhere.png", "file not found"),
        (
            "data:image/png;base64," + "A" * 5000,
            "a data: URI, which is not read (write what it holds to a file)",
        ),
        ("album\\a.png", "file not found (its path has backslashes; write / instead)"),
        ("a%20b.png", "file not found (its path looks percent-encoded, as %20 for a space)"),
        ("100% wool.png", "file not found"),
        ("a.png ", "file not found (its path begins or ends with space)"),
        ("a.png\n", "file not found (its path begins or ends with space)"),
        ("a.png/below.png", "file not found"),
        ("x" * 5000, "file not found"),
        ("x/" * 3000, "file not found"),
    ],
)
def test_a_path_that_leads_nowhere_says_what_may_be_wrong(folders, path, reason):
    assert why_not(folders, path) == reason


@pytest.mark.parametrize(
    "name", ["a\nb.png", " a.png", "a%20b.png", "c\\d.png", "http:/x/a.png", "*?[a].png", "-a.png"]
)
def test_an_odd_name_of_a_file_that_exists_is_opened(folders, name):
    path = folders / "table" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"odd")
    with open_inside(name, folders / "table", [folders / "table"]) as handle:
        assert handle.read() == b"odd"


@pytest.mark.parametrize(("on_disk", "in_table"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_both_spellings_of_an_accent_lead_to_the_file(folders, on_disk, in_table):
    base = folders / "table"
    name = "héron ÅÅ.png"
    path = base / unicodedata.normalize(on_disk, name)
    path.write_bytes(b"bird")
    spelt = unicodedata.normalize(in_table, name)
    with open_inside(spelt, base, [base]) as handle:
        assert handle.read() == b"bird"
    # Where both exist, each is itself; the roots hold for the other spelling, too.
    if not (base / spelt).exists():
        (base / spelt).write_bytes(b"other bird")
    with open_inside(spelt, base, [base]) as handle:
        assert handle.read() == b"other bird"
    (base / spelt).unlink()
    path.unlink()
    path.symlink_to(folders / "outside/a.png")
    assert why_not(folders, spelt) == "outside the media roots"


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.write_bytes(b"longer than before"),
        lambda path: os.truncate(path, 0),
        lambda path: os.utime(path, ns=(1, 1)),
    ],
    ids=["written", "cut", "touched"],
)
def test_a_file_that_changes_while_it_is_read_is_not_trusted(folders, change, fails):
    base = folders / "table"
    with (  # noqa: PT012
        pytest.raises(MediaError, match=r"^changed while it was read$"),
        open_inside("a.png", base, [base]) as handle,
    ):
        handle.read()
        change(base / "a.png")
        if fails:
            raise MediaError("damaged picture")


def test_a_file_that_is_deleted_or_replaced_while_it_is_read_is_read_to_its_end(folders):
    base = folders / "table"
    with open_inside("a.png", base, [base]) as handle:
        (base / "a.png").unlink()
        (base / "a.png").write_bytes(b"another")
        assert handle.read() == b"x"


def test_a_file_that_vanishes_before_the_opening_is_not_found(folders, monkeypatch):
    really_open = os.open

    def vanished(path, flags):
        Path(path).unlink()
        return really_open(path, flags)

    monkeypatch.setattr(os, "open", vanished)
    assert why_not(folders, "a.png") == "file not found"


def test_a_sparse_file_of_terabytes_is_refused_unread(folders):
    path = folders / "table/a.png"
    os.truncate(path, 2**43)
    with path.open("rb", buffering=0) as handle:
        with pytest.raises(MediaError, match=r"^file too large \(more than 1048576 bytes\)$"):
            refuse_larger(handle, 2**20)
        refuse_larger(handle, 2**43)
        assert handle.tell() == 0
