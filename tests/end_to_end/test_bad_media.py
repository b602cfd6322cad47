"""A catalogue full of bad media, through the real program and real encoders: every row's reason.

Each table holds usable items and bad ones in turn. The usable ones' vectors are, byte for byte,
those of a table without the bad ones; the exit code is 0; the summary counts the reasons.
"""

import io
import json
import os
import struct
import subprocess
import sys
import tempfile
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image, TiffImagePlugin

import cli
import extract
from extract.encoders.base import Encoder, Waveform
from extract.media.image import MAX_PIXELS
from extract.media.reading import Reader

ROOT = Path(__file__).parents[2]

Files = dict[str, bytes]
"""Name -> content, in the folder of the table."""

Expected = dict[str, str | None]
"""Name -> the exact reason; None where the medium is usable."""


# --- what stands in the folders ---------------------------------------------------------------


def picture(array_or_picture, kind: str, **options) -> bytes:
    if isinstance(array_or_picture, np.ndarray):
        array_or_picture = Image.fromarray(array_or_picture)
    data = io.BytesIO()
    array_or_picture.save(data, kind, **options)
    return data.getvalue()


def photo(seed: int) -> Image.Image:
    """Smooth colours, as of a photograph."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((96, 72), Image.Resampling.BICUBIC)


def sound(samples, kind: str = "WAV", subtype: str | None = None, rate: int = 16000) -> bytes:
    data = io.BytesIO()
    soundfile.write(data, samples, rate, format=kind, subtype=subtype)
    return data.getvalue()


def tone(seconds: float, rate: int = 16000, hertz: float = 440) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def bomb(side: int) -> bytes:
    """A PNG that promises more pixels than are allowed, in 80 bytes."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        checksum = zlib.crc32(kind + body)
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b"")


def images() -> tuple[Files, Expected]:
    turned = Image.Exif()
    turned[0x0112] = 6
    jpeg = picture(photo(1), "JPEG", quality=95)
    deep = (np.asarray(photo(2).convert("L")).astype(np.uint16)) * 257
    files = {
        "cmyk.jpg": picture(photo(3).convert("CMYK"), "JPEG", quality=95),
        "16bit.png": picture(deep, "PNG"),
        "palette_alpha.png": picture(photo(4).quantize(16), "PNG", transparency=b"\0\x80" * 8),
        "rotated.jpg": picture(photo(5).rotate(90, expand=True), "JPEG", quality=95, exif=turned),
        "animated.gif": picture(photo(6), "GIF", save_all=True, append_images=[photo(7)]),
        "truncated.jpg": jpeg[: len(jpeg) // 2],
        "bomb.png": bomb(60_000),
        "zero.png": b"",
        "html.jpg": b"<!DOCTYPE html>\n<html><body>404 Not Found</body></html>\n",
        "drawing.svg": b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'/>",
        "phone.heic": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200),
        "clip.mp4": b"\0\0\0\x18ftypisom\0\0\2\0isommp41" + bytes(200),
    }
    usable = ("cmyk.jpg", "16bit.png", "palette_alpha.png", "rotated.jpg", "animated.gif")
    expected: Expected = dict.fromkeys(usable) | {
        "truncated.jpg": "damaged picture (image file is truncated)",
        "bomb.png": f"picture too large (3600000000 pixels, at most {MAX_PIXELS})",
        "zero.png": "empty file",
        "html.jpg": "an HTML page, not a picture",
        "drawing.svg": "vector graphics (SVG) are not read",
        "phone.heic": "HEIC pictures are not read; convert them to JPEG or PNG",
        "clip.mp4": "a video (MP4 or QuickTime), not a picture; use --modality video",
    }
    return files, expected


def sounds() -> tuple[Files, Expected]:
    with_nan = tone(1).astype(np.float32)
    with_nan[5000] = np.nan
    six = np.stack([tone(1, hertz=100 * n) for n in range(1, 7)], axis=1)
    broken = bytearray(sound(tone(1)))
    broken[12:16] = b"junk"  # where the format stands
    mp3 = sound(tone(4, 44100), "MP3", rate=44100)
    short = mp3[: len(mp3) * 2 // 3]
    files = {
        "8bit.wav": sound(tone(1), subtype="PCM_U8"),
        "96khz.wav": sound(tone(1, 96000), rate=96000),
        "6channels.wav": sound(six),
        "10ms.wav": sound(tone(0.01)),
        "10minutes.flac": sound(tone(600, 4000), "FLAC", rate=4000),
        "longer.flac": sound(tone(601, 4000), "FLAC", rate=4000),
        "nan.wav": sound(with_nan, subtype="FLOAT"),
        "empty.wav": b"",
        "no_samples.wav": sound(np.zeros(0)),
        "silent.wav": sound(np.zeros(16000)),
        "broken.wav": bytes(broken),
        "cut.mp3": short,
        "html.mp3": b"<html><head><title>Sign in</title></head></html>",
        "song.m4a": b"\0\0\0\x18ftypM4A \0\0\0\0isomM4A " + bytes(200),
    }
    usable = ("8bit.wav", "96khz.wav", "6channels.wav", "10ms.wav", "10minutes.flac")
    to_convert = "convert them to WAV, FLAC, Ogg or MP3"
    expected: Expected = dict.fromkeys(usable) | {
        "longer.flac": "sound too long (more than 600 seconds)",
        "nan.wav": "sound with NaN or infinite samples",
        "empty.wav": "empty file",
        "no_samples.wav": "empty sound",
        "silent.wav": "silent",
        "broken.wav": "sound cannot be decoded (Error in WAV file. No 'data' chunk marker)",
        "cut.mp3": f"sound cut short ({len(mp3) - len(short)} bytes are missing)",
        "html.mp3": "an HTML page, not a sound",
        "song.m4a": f"AAC in MP4 (M4A) sounds are not read; {to_convert}",
    }
    return files, expected


TEXTS: dict[str, tuple[str, str | None]] = {
    "empty": ("", "empty text"),
    "space": (" \t\n", "empty text"),
    "zero width": ("\u200b\u200d\ufeff", "empty text"),
    "only NUL": ("\0\0", "empty text"),
    "NUL within": ("a red\0 fox", None),
    "1 MB": ("the quick brown fox " * 52_429, None),
    "one long word": ("Donaudampfschiff" * 5_000, None),
    "emoji only": ("\U0001f986\U0001f468\u200d\U0001f469\u200d\U0001f467", None),
    "right-to-left": ("\u0642\u0637\u0629 \u0633\u0648\u062f\u0627\u0621", None),
    "direction marks": ("\u202egip\u202c pig", None),
    "accents": ("e" + "\u0301" * 50_000, None),
    "control": ("\x1b[2Jcat\x07", None),
}
"""Name -> what a table's cell holds, and the reason; None where it is usable."""


def text_files() -> tuple[Files, Expected]:
    files = {
        "empty.txt": b"",
        "space.txt": b" \n\t",
        "nul.txt": b"a red\0 fox",
        "latin1.txt": "un héron".encode("latin-1"),
        "utf16.txt": "un héron".encode("utf-16"),
        "bom.txt": b"\xef\xbb\xbfa heron",
        "1mb.txt": b"the quick brown fox " * 52_429,
        "rtl.txt": "قطة سوداء".encode(),
        "picture.txt": picture(photo(0), "PNG"),
    }
    expected: Expected = dict.fromkeys(("nul.txt", "bom.txt", "1mb.txt", "rtl.txt")) | {
        "empty.txt": "empty file",
        "space.txt": "empty text",
        "latin1.txt": "not UTF-8 text (byte 4)",
        "utf16.txt": "UTF-16 text; save it as UTF-8",
        "picture.txt": "a picture, not a text",
    }
    return files, expected


def odd_places(folder: Path, good: bytes, name: str) -> dict[str, tuple[str, str]]:
    """Paths that lead nowhere good, by what is wrong: the cell and its reason."""
    (folder.parent / "outside").mkdir()
    (folder.parent / "outside" / name).write_bytes(good)
    os.mkfifo(folder / "fifo")
    (folder / "folder").mkdir()
    (folder / "link").symlink_to(folder.parent / "outside" / name)
    (folder / "dangling").symlink_to(folder / "nothing")
    (folder / "loop").symlink_to(folder / "loop")
    return {
        "FIFO": ("fifo", "not a regular file"),
        "folder": ("folder", "not a regular file"),
        "device": ("/dev/zero", "outside the media roots"),
        "symlink out": ("link", "outside the media roots"),
        "path out": (f"../outside/{name}", "outside the media roots"),
        "dangling": ("dangling", "file not found"),
        "loop": ("loop", "unreadable file (Too many levels of symbolic links)"),
        "absent": ("absent", "file not found"),
        "NUL in path": ("a\0b", "not a usable path"),
        "long path": ("x" * 5000, "file not found"),
        "web": (
            "https://example.org/a.png",
            "a web address, which is not fetched (download it and name the file)",
        ),
        "backslashes": ("a\\b.png", "file not found (its path has backslashes; write / instead)"),
    }


# --- running and comparing --------------------------------------------------------------------


Run = Callable[..., tuple[int, str, str]]
"""``extract`` with these arguments in the working folder: exit code, output, errors."""


@pytest.fixture
def here(capsys) -> Run:
    """The command line in this process."""

    def run(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            cli.run(cli.app, ["extract", *map(str, arguments)])
        printed = capsys.readouterr()
        return int(stop.value.code or 0), printed.out, printed.err

    return run


def in_a_process(*arguments: object) -> tuple[int, str, str]:
    """``python cli.py``."""
    command = [sys.executable, str(ROOT / "cli.py"), "extract", *map(str, arguments)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    return done.returncode, done.stdout, done.stderr


def write_table(path: Path, column: str, cells: dict[str, str | None]) -> None:
    rows = [json.dumps({"item_id": name, column: cell}) for name, cell in cells.items()]
    path.write_text("\n".join(rows), encoding="utf-8")


def vectors_of(store: Path) -> dict[str, bytes]:
    loaded = extract.FeatureStore.open(store).load()
    rows = zip(loaded.ids, loaded.vectors, loaded.present, strict=True)
    return {name: vector.tobytes() for name, vector, present in rows if present}


def check(
    run: Run,
    folder: Path,
    modality: str,
    encoder: str,
    rows: dict[str, tuple[str | None, str | None]],
) -> None:
    """Extract all rows (cell and reason), then those alone that are usable, and compare."""
    usable = {name: cell for name, (cell, reason) in rows.items() if reason is None and cell}
    write_table(folder / "all.jsonl", modality, {name: cell for name, (cell, _) in rows.items()})
    write_table(folder / "usable.jsonl", modality, dict(usable))
    options = ("--modality", modality, "--encoder", encoder, "--batch-size", 4)
    code, out, err = run(*options, "--items", folder / "all.jsonl", "--out", folder / "all")
    assert code == 0, err
    assert "Traceback" not in out + err
    alone = run(*options, "--items", folder / "usable.jsonl", "--out", folder / "usable")
    assert alone[0] == 0, alone[2]

    statuses = extract.FeatureStore.open(folder / "all").statuses()
    found = {name: (status, reason) for name, status, reason, _ in statuses.iter_rows()}
    expected: dict[str, tuple[str, str | None]] = {}
    for name, (cell, reason) in rows.items():
        if cell is None:
            expected[name] = ("missing", "no value in the table")
        else:
            expected[name] = ("ok" if reason is None else "failed", reason)
    assert found == expected

    vectors = vectors_of(folder / "all")
    assert vectors == vectors_of(folder / "usable")
    assert list(vectors) == list(usable)
    assert len(set(vectors.values())) == len(vectors)  # no two are alike: none is a stand-in

    count = Counter(status for status, _ in expected.values())
    assert f"ok {count['ok']}, failed {count['failed']}, missing {count['missing']}" in out
    reasons = Counter(reason for status, reason in expected.values() if status == "failed")
    lines = [line for line in out.splitlines() if line.startswith("  failed ")]
    assert sum(int(line.split()[1].rstrip(":")) for line in lines) == count["failed"]
    for reason, number in reasons.items():
        if number > 1:
            assert any(line.startswith(f"  failed {number}: {reason} (") for line in lines), reason


def among(good: dict[str, str], others: dict[str, tuple[str | None, str | None]]):
    """Good rows between the others, so that nothing bad stands at the edges only."""
    rows: dict[str, tuple[str | None, str | None]] = {}
    waiting = [(name, (cell, None)) for name, cell in good.items()]
    every = max(1, len(others) // len(good))
    for number, (name, row) in enumerate(others.items()):
        if number % every == 0 and waiting:
            rows |= [waiting.pop(0)]
        rows[name] = row
    return rows | dict(waiting)


@pytest.fixture
def shop(tmp_path) -> Path:
    """The table's folder; nothing beside it may be read."""
    (tmp_path / "shop").mkdir()
    return tmp_path / "shop"


def write_files(folder: Path, files: Files) -> None:
    for name, data in files.items():
        (folder / name).write_bytes(data)


def test_pictures(shop):
    files, expected = images()
    write_files(shop, files)
    good = {f"good {n}": f"good{n}.png" for n in range(6)}
    write_files(shop, {name: picture(photo(n + 10), "PNG") for n, name in enumerate(good.values())})
    others: dict[str, tuple[str | None, str | None]] = {
        name: (name, reason) for name, reason in expected.items()
    }
    others |= odd_places(shop, picture(photo(0), "PNG"), "a.png")
    others["no picture"] = (None, None)
    check(in_a_process, shop, "image", "packaged:efficientnet-lite0", among(good, others))


@pytest.mark.parametrize("encoder", ["melstats:64", "packaged:whisper-tiny-en"])
def test_sounds(shop, here, encoder):
    files, expected = sounds()
    if encoder.startswith("packaged:"):
        # Ten minutes through Whisper take a minute; melstats has them.
        del files["10minutes.flac"], expected["10minutes.flac"]
    write_files(shop, files)
    good = {f"good {n}": f"good{n}.wav" for n in range(4)}
    pieces = {name: sound(tone(1, hertz=210 * (n + 1))) for n, name in enumerate(good.values())}
    write_files(shop, pieces)
    others: dict[str, tuple[str | None, str | None]] = {
        name: (name, reason) for name, reason in expected.items()
    }
    others |= odd_places(shop, next(iter(pieces.values())), "a.wav")
    others["no sound"] = (None, None)
    check(here, shop, "audio", encoder, among(good, others))


def test_texts_of_a_table(shop, here):
    good = {f"good {n}": f"{thing} on a table" for n, thing in enumerate(("fox", "jar", "hat"))}
    others: dict[str, tuple[str | None, str | None]] = dict(TEXTS)
    others["no text"] = (None, None)
    check(here, shop, "text", "packaged:minilm", among(good, others))


def test_texts_of_a_folder(shop, here):
    """The files' stems are the ids; files of text are read where ``--items`` is their folder."""
    files, expected = text_files()
    write_files(shop, files)
    os.mkfifo(shop / "fifo.txt")
    (shop / "folder.txt").mkdir()
    (shop.parent / "secret.txt").write_text("a secret")
    (shop / "link.txt").symlink_to(shop.parent / "secret.txt")
    options = ("--modality", "text", "--encoder", "packaged:minilm", "--items", shop)
    code, out, err = here(*options, "--out", shop.parent / "features")
    assert code == 0, err
    statuses = extract.FeatureStore.open(shop.parent / "features").statuses()
    expected |= {"fifo.txt": "not a regular file", "folder.txt": "not a regular file"}
    expected["link.txt"] = "outside the media roots"
    found = dict(zip(statuses["id"], statuses["reason"], strict=True))
    assert found == {Path(name).stem: reason for name, reason in expected.items()}
    assert "ok 4, failed 8, missing 0" in out


def test_the_right_pixels_and_samples(shop):
    """What the encoder is given for the usable ones, computed otherwise."""
    files, _ = images()
    write_files(shop, files)
    reader = Reader(modality="image", base=shop, roots=[shop], max_seconds=1)

    def pixels(name: str) -> np.ndarray:
        _, raw = reader.read_file(name)
        assert isinstance(raw, Image.Image), raw
        return np.asarray(raw).astype(int)

    grey = np.asarray(photo(2).convert("L"))
    np.testing.assert_array_equal(pixels("16bit.png"), np.dstack([grey] * 3))
    # JPEG and a palette keep colours roughly; a wrong inversion or turn is off by far more.
    for name, seed, most in (("cmyk.jpg", 3, 4), ("rotated.jpg", 5, 4), ("animated.gif", 6, 25)):
        assert np.abs(pixels(name) - np.asarray(photo(seed)).astype(int)).mean() < most, name
    quantised = photo(4).quantize(16)
    opacity = np.where(np.asarray(quantised) % 2 == 0, 0.0, 128 / 255)[..., None]
    on_white = np.asarray(quantised.convert("RGB")) * opacity + 255 * (1 - opacity)
    assert np.abs(pixels("palette_alpha.png") - on_white).max() <= 1

    files, _ = sounds()
    write_files(shop, files)
    reader = Reader(modality="audio", base=shop, roots=[shop], max_seconds=600)
    six = np.mean([tone(1, hertz=100 * n) for n in range(1, 7)], axis=0)
    for name, rate, samples, error in (
        ("8bit.wav", 16000, tone(1), 1 / 127),
        ("96khz.wav", 96000, tone(1, 96000), 1e-4),
        ("6channels.wav", 16000, six, 1e-4),
        ("10ms.wav", 16000, tone(0.01), 1e-4),
        ("10minutes.flac", 4000, tone(600, 4000), 1e-4),
    ):
        _, raw = reader.read_file(name)
        assert isinstance(raw, Waveform), raw
        assert raw.sample_rate == rate
        np.testing.assert_allclose(raw.samples, samples, atol=error)


class Vanishing(Encoder):
    """Mean colour; while it looks at the first picture, the others are changed or deleted."""

    modalities = ("image",)
    dim = 3
    space = "vanishing"

    def __init__(self, changes: dict[str, Callable[[], object]]) -> None:
        self.changes = changes

    def preprocess(self, raw):
        colour = torch.from_numpy(np.asarray(raw, dtype=np.float32).mean(axis=(0, 1)))
        if change := self.changes.pop(str(int(colour[0])), None):
            change()
        return colour

    def encode(self, batch):
        return torch.stack(list(batch))

    def fingerprint(self):
        return {}


def test_files_that_vanish_or_shrink_during_the_run(shop, monkeypatch):
    for n in range(5):
        Image.new("RGB", (50, 50), (n, n, n)).save(shop / f"{n}.tif", compression="tiff_lzw")
    write_table(shop / "items.jsonl", "image", {f"i{n}": f"{n}.tif" for n in range(5)})
    load = TiffImagePlugin.TiffImageFile.load

    def shrinks(picture):
        if not (shop / "2.tif").exists():
            return load(picture)
        os.truncate(shop / "2.tif", 100)
        try:
            return load(picture)
        finally:
            (shop / "2.tif").unlink()

    def after_the_first() -> None:
        (shop / "1.tif").unlink()  # in the table, and gone before it is opened
        monkeypatch.setattr(TiffImagePlugin.TiffImageFile, "load", shrinks)

    config = extract.ExtractionConfig(
        items=shop / "items.jsonl",
        modality="image",
        out=shop / "features",
        encoder="vanishing",
        workers=1,
        batch_size=1,
        rows_per_part=1,
    )
    summary = extract.run(config, encoder=Vanishing({"0": after_the_first}))
    loaded = extract.FeatureStore.open(shop / "features")
    assert loaded.statuses()["reason"].to_list() == [
        None,
        "file not found",
        "changed while it was read",
        None,
        None,
    ]
    assert loaded.load().vectors[:, 0].tolist()[3:] == [3, 4]
    assert summary.reasons == {"file not found": 1, "changed while it was read": 1}


AS_NOBODY = """
import os, sys, torch, extract
from extract.encoders.base import Encoder

class Length(Encoder):
    modalities, dim, space = ("text",), 1, "length"
    def preprocess(self, raw): return torch.tensor([float(len(raw))])
    def encode(self, batch): return torch.stack(list(batch))
    def fingerprint(self): return {}

def run(out):
    config = extract.ExtractionConfig(
        items=sys.argv[1], modality="text", out=out, encoder="length", workers=1
    )
    return extract.run(config, encoder=Length())

run(sys.argv[2] + "-before")  # imports what the other user may not be able to
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
print(run(sys.argv[2]))
"""


def test_a_file_without_permission_is_one_rows_reason():
    # Root may read everything: as root, the run is another user's.
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        (base / "texts").mkdir()
        (base / "out").mkdir(mode=0o777)
        for path in (base, base / "texts", base / "out"):
            path.chmod(0o777)
        for stem in "abc":
            (base / f"texts/{stem}.txt").write_text(stem * 3)
        (base / "texts/b.txt").chmod(0)
        command = [sys.executable, "-c", AS_NOBODY, str(base / "texts"), str(base / "out/f")]
        run = subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=300
        )
        assert run.returncode == 0, run.stderr
        assert "ok 2, failed 1, missing 0" in run.stdout
        assert "failed 1: no permission to read the file (b)" in run.stdout


def test_reasons_that_differ_in_a_figure_are_counted_as_one(shop, here):
    whole = sound(tone(1))
    for n in range(12):
        (shop / f"{n}.wav").write_bytes(whole[: 5000 + n])
    (shop / "same.png").write_bytes(b"")
    rows = {f"i{n}": f"{n}.wav" for n in range(12)}
    write_table(shop / "items.jsonl", "audio", rows)
    options = ("--modality", "audio", "--encoder", "melstats:64", "--items", shop / "items.jsonl")
    code, out, _ = here(*options, "--out", shop / "f")
    assert code == 0
    assert "failed 12: sound cut short (N bytes are missing) (i0, i1, i2)" in out
    # Each row still has its own.
    reasons = extract.FeatureStore.open(shop / "f").statuses()["reason"].to_list()
    assert reasons[11] == f"sound cut short ({len(whole) - 5011} bytes are missing)"
