"""Paths that lead to no file, to something else, or to a file that changes under the reader."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from PIL import Image

import extract
from extract.media import reading

ROOT = Path(__file__).parents[2]
NOBODY = 65534
CANNOT = 77

PICTURES = ("--modality", "image", "--encoder", "shop_encoders:Deleting", "--workers", "1")

AS_ANOTHER = f"""
import os, sys
import cli

def extract(out):
    try:
        cli.run(cli.app, [*sys.argv[1:], "--out", out])
    except SystemExit as stop:
        return stop.code or 0

# Whatever is imported on the way is imported here: the other user may not read it.
code = extract("mine")
if code == 0 and os.geteuid() == 0:
    os.setgroups([])
    os.setgid({NOBODY})
    os.setuid({NOBODY})
    if not os.access("items.jsonl", os.R_OK):
        sys.exit({CANNOT})
sys.exit(code or extract("theirs"))
"""


def picture(path: Path, colour: tuple[int, int, int]) -> None:
    Image.new("RGB", (16, 16), colour).save(path)


def test_bad_files_beside_good_ones(shop, tmp_path_factory, table, compare, monkeypatch):
    picture(shop / "good.png", (10, 20, 30))
    picture(shop / "other.png", (40, 50, 60))
    picture(shop / "black.png", (0, 0, 0))
    picture(shop / "vanishing.png", (7, 7, 7))
    picture(shop / "cut.png", (8, 8, 8))
    picture(shop / "growing.png", (9, 9, 9))
    outside = tmp_path_factory.mktemp("outside") / "secret.png"
    picture(outside, (1, 1, 1))
    os.mkfifo(shop / "fifo.png")
    (shop / "folder.png").mkdir()
    (shop / "link.png").symlink_to(outside)
    (shop / "inner.png").symlink_to("other.png")
    (shop / "dangling.png").symlink_to("nowhere.png")

    size = (shop / "cut.png").stat().st_size
    decode = reading.decode_image

    def meanwhile(handle):
        """Somebody cuts one file, and writes on another, just when each has been opened."""
        here = os.fstat(handle.fileno())
        if os.path.samestat(here, Path("cut.png").stat()):
            os.truncate("cut.png", size // 2)
        if os.path.samestat(here, Path("growing.png").stat()):
            with Path("growing.png").open("ab") as more:
                more.write(b"more")
        return decode(handle)

    monkeypatch.setattr(reading, "decode_image", meanwhile)
    names = ("good", "fifo", "folder", "link", "inner", "dangling", "black", "vanishing")
    names += ("cut", "growing", "other")
    media = {name: f"{name}.png" for name in names}
    good = {name: media[name] for name in ("good", "black", "other")}
    expected = dict.fromkeys(names) | {
        "fifo": "not a regular file",
        "folder": "not a regular file",
        "link": "outside the media roots",
        "dangling": "file not found (a symbolic link that leads nowhere)",
        "vanishing": "file not found",
        "cut": "changed while it was read",
        "growing": "changed while it was read",
    }
    assert (shop / "vanishing.png").exists()
    found = compare(
        *(table("all.jsonl", "image", media), table("good.jsonl", "image", good), expected),
        *PICTURES,
    )
    assert not (shop / "vanishing.png").exists()
    assert (shop / "cut.png").stat().st_size == size // 2
    assert found.vectors["inner"].tolist() == [40, 50, 60] * 4
    assert found.vectors["good"].tolist() == [10, 20, 30] * 4


@pytest.fixture
def open_folder():
    """A folder that every user may enter; pytest's own are closed to others."""
    folder = Path(tempfile.mkdtemp(prefix="mmssl-open-"))
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)


def test_a_file_one_may_not_read_costs_no_other_its_vector(shop, open_folder):
    """As root, who may read everything, another user's run follows one's own."""
    shutil.copy(shop / "shop_encoders.py", open_folder)
    colours = {"good": (10, 20, 30), "closed": (70, 80, 90), "other": (40, 50, 60)}
    for name, colour in colours.items():
        picture(open_folder / f"{name}.png", colour)
    (open_folder / "closed.png").chmod(0)
    rows = [json.dumps({"item_id": name, "image": f"{name}.png"}) for name in colours]
    (open_folder / "items.jsonl").write_text("\n".join(rows))
    command = [sys.executable, "-c", AS_ANOTHER, "extract", "--items", "items.jsonl", *PICTURES]
    environment = {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command,
        cwd=open_folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if done.returncode == CANNOT:
        pytest.skip(f"user {NOBODY} may not enter {open_folder}: set TMPDIR to an open folder")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "  failed 1: no permission to read the file (closed)" in done.stdout.splitlines()
    store = extract.FeatureStore.open(open_folder / "theirs")
    assert store.statuses()["status"].to_list() == ["ok", "failed", "ok"]
    assert store.statuses()["reason"].to_list() == [None, "no permission to read the file", None]
    loaded = store.load()
    for row in (0, 2):
        assert loaded.vectors[row].tolist() == [*list(colours.values())[row]] * 4
    mine = extract.FeatureStore.open(open_folder / "mine").load()
    # The first run is the proof that nothing else was wrong with the file.
    assert mine.present.all() == (os.geteuid() == 0)
    assert mine.vectors[[0, 2]].tobytes() == loaded.vectors[[0, 2]].tobytes()
