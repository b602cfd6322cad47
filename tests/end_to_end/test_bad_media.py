"""Bad media and odd paths beside good ones, through the encoders that a person starts with.

What the unusual but usable ones hold is told by test_bad_pictures.py, test_bad_sounds.py and
test_bad_texts.py; here nothing but good and bad rows, so that the good ones' batches, and therefore
their bytes, are the same with and without the bad ones.
"""

import io
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

OUTSIDE = "outside the media roots"


def good_picture(seed: int) -> bytes:
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    data = io.BytesIO()
    Image.fromarray(coarse).resize((96, 72), Image.Resampling.BICUBIC).save(data, "JPEG")
    return data.getvalue()


def good_sound(seed: int, kind: str = "WAV") -> bytes:
    tone = 0.5 * np.sin(2 * np.pi * 200 * (seed + 1) * np.arange(96_000) / 48_000)
    data = io.BytesIO()
    soundfile.write(data, tone, 48_000, format=kind)
    return data.getvalue()


def iso(brand: bytes) -> bytes:
    return b"\0\0\0\x14ftyp" + brand + bytes(4) + brand + bytes(200)


def bad_pictures() -> dict[str, tuple[bytes, str]]:
    whole = good_picture(99)
    return {
        "cut.jpg": (whole[: len(whole) // 2], "damaged picture (image file is truncated)"),
        "page.jpg": (b"<html><body>Sign in</body></html>", "an HTML page, not a picture"),
        "denied.png": (b"<?xml version='1.0'?><Error/>", "an XML document, not a picture"),
        "phone.heic": (
            iso(b"heic"),
            "HEIC pictures are not read; convert them to JPEG or PNG",
        ),
        "clip.mp4": (
            iso(b"isom"),
            "a video (MP4 or QuickTime), not a picture; use --modality video",
        ),
        "song.wav": (good_sound(1), "a sound, not a picture"),
    }


def bad_sounds() -> dict[str, tuple[bytes, str]]:
    ogg, wav = good_sound(2, "OGG"), good_sound(2)
    return {
        "cut.ogg": (ogg[:-40], "sound cut short (its last Ogg page is not whole)"),
        "cut.wav": (wav[:-100], "sound cut short (100 bytes are missing)"),
        "page.mp3": (b"<html><body>Sign in</body></html>", "an HTML page, not a sound"),
        "photo.wav": (good_picture(3), "a picture, not a sound"),
        "noise.mp3": (bytes(range(256)) * 40, "not a readable sound"),
    }


def odd_paths(folder: Path, outside: Path) -> dict[str, tuple[str, str]]:
    """Item -> what stands in the table, and the reason; the summary names ten reasons in all."""
    os.mkfifo(folder / "fifo")
    (outside / "secret").write_bytes(b"secret")
    (folder / "link").symlink_to(outside / "secret")
    url = "a URL outside the media roots (--media-root permits a folder of them)"
    backslashes = "file not found (its path has backslashes; write / instead)"
    return {
        "FIFO": ("fifo", "not a regular file"),
        "device": ("/dev/zero", OUTSIDE),
        "link": ("link", OUTSIDE),
        "web": ("https://example.org/a.png", url),
        "up": ("../" * 9 + "etc/passwd", OUTSIDE),
        "Windows": ("album\\a.png", backslashes),
    }


@pytest.mark.parametrize(
    ("modality", "encoder", "good", "bad"),
    [
        ("image", "packaged:efficientnet-lite0", good_picture, bad_pictures),
        ("audio", "packaged:whisper-tiny-en", good_sound, bad_sounds),
    ],
)
def test_files(shop, table, compare, tmp_path_factory, modality, encoder, good, bad):
    media: dict[str, str] = {}
    expected: dict[str, str | None] = {}
    files = bad()
    odd = odd_paths(shop, tmp_path_factory.mktemp("outside"))
    for number, (name, (data, reason)) in enumerate(files.items()):
        (shop / f"good{number}").write_bytes(good(number))
        media |= {f"good{number}": f"good{number}", name: name}
        (shop / name).write_bytes(data)
        expected |= {f"good{number}": None, name: reason}
    media |= {item: path for item, (path, _) in odd.items()}
    expected |= {item: reason for item, (_, reason) in odd.items()}
    alone = {item: path for item, path in media.items() if expected[item] is None}
    found = compare(
        *(table("all.jsonl", modality, media), table("good.jsonl", modality, alone), expected),
        *("--modality", modality, "--encoder", encoder, "--batch-size", 4),
    )
    assert len({vector.tobytes() for vector in found.vectors.values()}) == len(files)


def test_texts(table, compare):
    bad = {"empty": "", "space": " \n", "zero width": "\u200b\u200d\ufeff", "NUL": "\0\0"}
    good = {"short": "a red fox", "long": "the quick brown fox " * 52_429, "emoji": "🦆👨‍👩‍👧"}
    good |= {"right to left": "قطة سوداء", "accents": "e" + "\u0301" * 20_000}
    good |= {"word": "Donaudampfschiff" * 2_000, "control": "\x1b[2Jcat\x07", "last": "a hat"}
    media: dict[str, str] = {}
    for number, item in enumerate(good):
        media[item] = good[item]
        if number < len(bad):
            media |= [list(bad.items())[number]]
    expected = {item: "empty text" if item in bad else None for item in media}
    tables = table("all.jsonl", "text", media), table("good.jsonl", "text", good)
    found = compare(*tables, expected, "--modality", "text", "--encoder", "packaged:minilm")
    assert all(np.isfinite(vector).all() for vector in found.vectors.values())
