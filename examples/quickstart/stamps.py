"""The Tux Paint stamps: some 785 pictures with their words and sounds, fetched by apt.

They are GPL-2, so they are fetched and unpacked beside the project, never committed.
"""

import shutil
import subprocess
import tempfile
from pathlib import Path

PACKAGE = "tuxpaint-stamps-default"
STAMPS = Path("usr/share/tuxpaint/stamps")
# What a stamp offers to hear, best first: a sound of the thing, the description spoken in English,
# the same in French (nearly every stamp has it).
SOUNDS = (
    ("sound effect", ("{stem}.ogg", "{stem}.wav")),
    ("spoken English", ("{stem}_desc.ogg", "{stem}_desc.wav")),
    ("spoken French", ("{stem}_desc_fr.ogg", "{stem}_desc_fr.wav")),
)


class StampsError(Exception):
    """The stamps cannot be had on this machine; the message says why, in a few words."""


def fetch(media: Path) -> Path:
    """Download and unpack the stamps into ``media`` unless they are there; return their folder.

    ``media`` appears whole or not at all: a download that was interrupted leaves nothing behind.

    Raises:
        StampsError: no apt or dpkg here, no network, or no such package.
    """
    if (media / STAMPS).is_dir():
        return media / STAMPS
    missing = [tool for tool in ("apt-get", "dpkg") if shutil.which(tool) is None]
    if missing:
        raise StampsError(f"there is no {' or '.join(missing)} here")
    media.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=media.parent, prefix=".stamps-") as name:
        scratch = Path(name)
        # Needs root; without it the package lists may still be there, so a failure decides nothing.
        _run(["apt-get", "-qq", "update"], scratch)
        problem = _run(["apt-get", "-qq", "download", PACKAGE], scratch)
        archives = sorted(scratch.glob(f"{PACKAGE}_*.deb"))
        if problem or not archives:
            raise StampsError(f"apt-get download failed ({problem or 'no file came'})")
        unpacked = scratch / "unpacked"
        problem = _run(["dpkg", "-x", archives[0].name, unpacked.name], scratch)
        if problem or not (unpacked / STAMPS).is_dir():
            raise StampsError(f"dpkg could not unpack it ({problem or 'no stamps inside'})")
        unpacked.replace(media)
    return media / STAMPS


def catalogue(stamps: Path, project: Path) -> list[dict[str, str | None]]:
    """One record a stamp that has a PNG, in the order of their ids.

    The id is the stamp's path without its suffix; ``image`` and ``audio`` are relative to
    ``project``. A stamp without any sound stays, with ``audio`` None; the 165 stamps drawn as SVG
    only are left out, because the image decoder reads no vector graphics. The mirrored and flipped
    copies of a few stamps are no items of their own.
    """
    records: list[dict[str, str | None]] = []
    for picture in sorted(stamps.rglob("*.png")):
        words = picture.with_suffix(".txt")
        if picture.stem.endswith(("_mirror", "_flip")) or not words.is_file():
            continue
        item = picture.relative_to(stamps).with_suffix("")
        # Line 1 is English; the translations follow as `fr.utf8=...`.
        text = words.read_text(encoding="utf-8", errors="replace").splitlines()[0].strip()
        sound, kind = _sound(picture)
        records.append(
            {
                "item_id": item.as_posix(),
                "image": picture.relative_to(project).as_posix(),
                "text": text,
                "audio": sound.relative_to(project).as_posix() if sound else None,
                "category": item.parent.as_posix(),
                "sound": kind,
            }
        )
    return records


def _sound(picture: Path) -> tuple[Path | None, str | None]:
    for kind, patterns in SOUNDS:
        for pattern in patterns:
            path = picture.with_name(pattern.format(stem=picture.stem))
            if path.is_file():
                return path, kind
    return None, None


def _run(command: list[str], folder: Path) -> str | None:
    """Run a command; None when it went well, else the last line that it printed."""
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=600,
        )
    except subprocess.TimeoutExpired:
        return "no answer within ten minutes"
    if done.returncode == 0:
        return None
    return next(reversed(done.stdout.strip().splitlines()), f"exit code {done.returncode}")
