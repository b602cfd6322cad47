import shutil
import subprocess
from pathlib import Path

import pytest

from examples.quickstart import stamps


def put(path: Path, content: str = "x") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")


def script(folder: Path, name: str, body: str) -> None:
    """A program on the path that stands for apt or dpkg, which a test must not run for real."""
    put(folder / name, f"#!/bin/sh\n{body}\n")
    (folder / name).chmod(0o755)


@pytest.fixture
def programs(tmp_path, monkeypatch):
    folder = tmp_path / "programs"
    folder.mkdir()
    for tool in ("mkdir", "touch", "sh"):
        (folder / tool).symlink_to(shutil.which(tool))
    monkeypatch.setenv("PATH", str(folder))
    return folder


def test_a_stamp_becomes_an_item_with_its_best_sound(tmp_path):
    root = tmp_path / "media"
    for name in ("animals/dog", "animals/cat", "animals/emu", "food/a.b", "food/plum"):
        put(root / f"{name}.png")
        put(root / f"{name}.txt", f"A {name}.\nfr.utf8=Un autre.\n")
    put(root / "animals/dog.wav")
    put(root / "animals/dog_desc.ogg")
    put(root / "animals/cat_desc.ogg")
    put(root / "animals/cat_desc_fr.ogg")
    put(root / "animals/emu_desc_fr.ogg")
    put(root / "food/a.b_desc_fr.ogg")
    put(root / "animals/dog_mirror.png")
    put(root / "food/drawn.svg")

    found = stamps.catalogue(root, tmp_path)

    assert [(r["item_id"], r["sound"], r["audio"]) for r in found] == [
        ("animals/cat", "spoken English", "media/animals/cat_desc.ogg"),
        ("animals/dog", "sound effect", "media/animals/dog.wav"),
        ("animals/emu", "spoken French", "media/animals/emu_desc_fr.ogg"),
        ("food/a.b", "spoken French", "media/food/a.b_desc_fr.ogg"),
        ("food/plum", None, None),
    ]
    assert found[1]["image"] == "media/animals/dog.png"
    assert found[1]["text"] == "A animals/dog."
    assert found[1]["category"] == "animals"


def test_without_apt_the_reason_names_what_is_missing(tmp_path, programs):
    with pytest.raises(stamps.StampsError, match="no apt-get or dpkg here"):
        stamps.fetch(tmp_path / "media")


def test_a_failed_download_gives_its_last_line_and_leaves_nothing(tmp_path, programs):
    script(programs, "apt-get", 'echo "E: Unable to locate package"; exit 100')
    script(programs, "dpkg", "exit 0")
    with pytest.raises(stamps.StampsError, match="Unable to locate package"):
        stamps.fetch(tmp_path / "project" / "media")
    assert list((tmp_path / "project").iterdir()) == []


def test_stamps_appear_whole_and_are_not_fetched_twice(tmp_path, programs):
    archive = f"{stamps.PACKAGE}_1_all.deb"
    # As for a person who is not root: `update` fails, yet the lists are there.
    script(programs, "apt-get", f'[ "$2" = download ] && touch {archive} || exit 100')
    script(programs, "dpkg", f'[ "$2" = {archive} ] && mkdir -p "$3/{stamps.STAMPS}/food"')
    media = tmp_path / "project" / "media"
    assert stamps.fetch(media) == media / stamps.STAMPS
    assert (media / stamps.STAMPS / "food").is_dir()
    assert list((tmp_path / "project").iterdir()) == [media]

    script(programs, "apt-get", "exit 100")
    assert stamps.fetch(media) == media / stamps.STAMPS


def test_a_broken_package_is_told_from_a_missing_one(tmp_path, programs):
    script(programs, "apt-get", f'[ "$2" = download ] && touch {stamps.PACKAGE}_1_all.deb')
    script(programs, "dpkg", 'echo "not a Debian archive"; exit 2')
    with pytest.raises(stamps.StampsError, match=r"unpack it [(]not a Debian archive[)]"):
        stamps.fetch(tmp_path / "media")


def test_a_program_that_never_answers_is_given_up(tmp_path, monkeypatch):
    def never(command, **options):
        raise subprocess.TimeoutExpired(command, options["timeout"])

    monkeypatch.setattr(shutil, "which", lambda tool: f"/bin/{tool}")
    monkeypatch.setattr(subprocess, "run", never)
    with pytest.raises(stamps.StampsError, match="no answer within ten minutes"):
        stamps.fetch(tmp_path / "media")
