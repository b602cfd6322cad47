"""What the extraction benchmark reads: the stamps, photographs made here, texts made here."""

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from examples.quickstart import stamps
from extract.encoders.base import Modality

PHOTO_SIZE = (4000, 3000)
PHOTOS, TEXTS = 200, 5_000
MEDIAN_WORDS = 20

_WORDS = """\
the of and a to in is you that it he was for on are with as I his they be at one have this
from or had by hot word but what some we can out other were all there when up use your how
said an each she which do their time if will way about many then them write would like so
these her long make thing see him two has look more day could go come did number sound no
most people my over know water than call first who may down side been now find any new work
part take get place made live where after back little only round man year came show every
good me give our under name very through just form sentence great think say help low line
differ turn cause much mean before move right boy old too same tell does set three want air
well also play small end put home read hand port large spell add even land here must big
high such follow act why ask men change went light kind off need house picture try us again
animal point mother world near build self earth father head stand own page should country
found answer school grow study still learn plant cover food sun four between state keep eye
never last let thought city tree cross farm hard start might story saw far sea draw left
late
"""


@dataclass(frozen=True)
class Media:
    """One item table, and what to call it."""

    name: str
    modality: Modality
    table: Path
    column: str | None = None
    """None: the usual one of the modality."""


def stamps_pictures(folder: Path, count: int | None = None) -> Media:
    """The stamps that have a picture: PNG, sides of 19 to 2348 pixels.

    Raises:
        StampsError: they cannot be fetched here.
    """
    return Media("stamps", "image", _stamps_table(folder, count), "image")


def stamps_speech(folder: Path, count: int | None = None) -> Media:
    """What is said of the stamps in French: Ogg Vorbis, some seconds each.

    Raises:
        StampsError: they cannot be fetched here.
    """
    return Media("speech", "audio", _stamps_table(folder, count), "speech")


def _stamps_table(folder: Path, count: int | None) -> Path:
    found = stamps.fetch(folder / "media")
    rows = []
    for record in stamps.catalogue(found, folder):
        speech = found / f"{record['item_id']}_desc_fr.ogg"
        if speech.is_file():
            rows.append((record["item_id"], record["image"], speech.relative_to(folder).as_posix()))
    return _write(folder / "stamps.csv", ("item_id", "image", "speech"), rows[:count])


def photos(folder: Path, count: int | None = None, size: tuple[int, int] = PHOTO_SIZE) -> Media:
    """JPEGs of a camera's size: pieces of one large picture of clouds at all scales, seed 0.

    Those that are there already are taken as they are.
    """
    draw, count = np.random.default_rng(0), count or PHOTOS
    place = folder / f"photos-{size[0]}x{size[1]}"
    place.mkdir(parents=True, exist_ok=True)
    paths = [place / f"{n}.jpg" for n in range(count)]
    margin = 512
    offsets = draw.integers(margin, size=(count, 2))
    if not all(path.is_file() for path in paths):
        clouds = _clouds(size[0] + margin, size[1] + margin, draw)
        for path, (x, y) in zip(paths, offsets, strict=True):
            piece = clouds[y : y + size[1], x : x + size[0]]
            unfinished = path.with_suffix(".part")
            Image.fromarray(np.ascontiguousarray(piece)).save(unfinished, "JPEG", quality=90)
            unfinished.replace(path)
    rows = [(f"photo-{n}", path.relative_to(folder).as_posix()) for n, path in enumerate(paths)]
    return Media(
        "photos", "image", _write(folder / "photos.csv", ("item_id", "image"), rows), "image"
    )


def _clouds(width: int, height: int, draw: np.random.Generator) -> NDArray[np.uint8]:
    """Noise of every wavelength, from a quarter of the picture's to a pixel's: (h, w, 3)."""
    field = np.zeros((height, width, 3), dtype=np.float32)
    step = 1024
    while step >= 1:
        shape = (-(-height // step) + 1, -(-width // step) + 1)
        for channel in range(3):
            coarse = Image.fromarray(draw.standard_normal(shape).astype(np.float32))
            smooth = coarse.resize((width, height), Image.Resampling.BICUBIC)
            # A camera's pixels differ less from their neighbours than from those far away.
            field[..., channel] += np.asarray(smooth) * step**0.35
        step //= 2
    field *= 48 / field.std()
    return np.clip(field + 128, 0, 255).astype(np.uint8)


def texts(folder: Path, count: int | None = None) -> Media:
    """English words in texts of log-normal length: median 20 words, sigma 1, seed 0."""
    draw, words, count = np.random.default_rng(0), _WORDS.split(), count or TEXTS
    # As many as there are usually, so that the first of fewer are the same.
    lengths = draw.lognormal(np.log(MEDIAN_WORDS), 1.0, max(count, TEXTS))[:count]
    lengths = np.maximum(1, np.rint(lengths)).astype(int)
    rows = [
        (f"text-{n}", " ".join(words[word] for word in draw.integers(len(words), size=length)))
        for n, length in enumerate(lengths)
    ]
    return Media("texts", "text", _write(folder / "texts.csv", ("item_id", "text"), rows), "text")


MEDIA: dict[str, tuple[Modality, Callable[[Path, int | None], Media]]] = {
    "stamps": ("image", stamps_pictures),
    "photos": ("image", photos),
    "texts": ("text", texts),
    "speech": ("audio", stamps_speech),
}
"""By name: the modality, and what makes it in a folder, the first so many or all."""


def _write(path: Path, columns: tuple[str, ...], rows: list[tuple[str | None, ...]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as handle:
        csv.writer(handle).writerows([columns, *rows])
    return path
