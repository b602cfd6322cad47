"""A sample drawn by the program itself, for machines without apt: shapes, sentences and tones.

Five shapes in four colours make twenty categories. Within one, items differ in size, turn, place,
wording, loudness and length, so that the encoders have something to find and something to ignore.
"""

import math
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray
from PIL import Image, ImageDraw

# Corners of each shape on the unit circle as (angle in turns, radius); the disc has many.
SHAPES: dict[str, list[tuple[float, float]]] = {
    "disc": [(n / 48, 1.0) for n in range(48)],
    "triangle": [(n / 3, 1.0) for n in range(3)],
    "square": [(n / 4, 1.0) for n in range(4)],
    "star": [(n / 10, 1.0 if n % 2 == 0 else 0.42) for n in range(10)],
    "cross": [((q + o) / 4, r) for q in range(4) for o, r in ((-0.1, 1), (0.1, 1), (0.5, 0.45))],
}
COLOURS = {
    "red": (198, 40, 40),
    "green": (46, 125, 50),
    "blue": (30, 90, 180),
    "yellow": (249, 190, 30),
}
PITCHES = {"red": 220.0, "green": 330.0, "blue": 440.0, "yellow": 587.0}
OVERTONES = {
    "disc": (1.0,),
    "triangle": (1.0, 0.0, 0.11, 0.0, 0.04),
    "square": (1.0, 0.0, 0.33, 0.0, 0.2, 0.0, 0.14),
    "star": (1.0, 0.5, 0.33, 0.25, 0.2, 0.17),
    "cross": (0.3, 1.0, 0.2, 0.9, 0.1, 0.6),
}
PLACES = ("by the door", "on the table", "in the window", "under a tree", "at the harbour")
SENTENCES = (
    "A {size} {colour} {shape} {place}.",
    "This {colour} {shape} is {size}; it hangs {place}.",
    "Somebody painted a {size} {shape} in {colour} {place}.",
)
PIXELS = 160
RATE = 16_000


def catalogue(project: Path, items: int, seed: int) -> list[dict[str, str | None]]:
    """Draw ``items`` items into ``project/media/drawn`` and return their records.

    Every twentieth item has no sound, as catalogues have it. Equal arguments give equal files.
    """
    media = project / "media" / "drawn"
    media.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    kinds = [(shape, colour) for shape in SHAPES for colour in COLOURS]
    records: list[dict[str, str | None]] = []
    for n in range(items):
        shape, colour = kinds[n % len(kinds)]
        item = f"{shape}-{colour}-{n // len(kinds) + 1:02d}"
        size = float(rng.uniform(0.35, 0.95))
        image = media / f"{item}.png"
        _draw(shape, colour, size, rng).save(image)
        audio = None
        if n % 20 != 19:
            audio = media / f"{item}.wav"
            soundfile.write(audio, _tone(shape, colour, rng), RATE)
        text = str(rng.choice(SENTENCES)).format(
            size="small" if size < 0.55 else "large" if size > 0.75 else "middling",
            colour=colour,
            shape=shape,
            place=rng.choice(PLACES),
        )
        records.append(
            {
                "item_id": item,
                "image": image.relative_to(project).as_posix(),
                "text": text,
                "audio": audio.relative_to(project).as_posix() if audio else None,
                "category": f"{shape}/{colour}",
                "sound": "tone" if audio else None,
            }
        )
    return records


def _draw(shape: str, colour: str, size: float, rng: np.random.Generator) -> Image.Image:
    half, reach = PIXELS / 2, PIXELS / 2 * size
    x, y = half + rng.uniform(-1, 1, 2) * (half - reach)
    turn = rng.uniform()
    corners = [
        (
            x + r * reach * math.cos(2 * math.pi * (a + turn)),
            y + r * reach * math.sin(2 * math.pi * (a + turn)),
        )
        for a, r in SHAPES[shape]
    ]
    fill = tuple(int(c) for c in np.clip(COLOURS[colour] + rng.normal(0, 14, 3), 0, 255))
    picture = Image.new("RGB", (PIXELS, PIXELS), "white")
    ImageDraw.Draw(picture).polygon(corners, fill=fill, outline=(40, 40, 40), width=3)
    return picture


def _tone(shape: str, colour: str, rng: np.random.Generator) -> NDArray[np.float32]:
    time = np.arange(int(RATE * rng.uniform(0.5, 1.2))) / RATE
    pitch = PITCHES[colour] * 2 ** rng.normal(0, 0.04)
    wave = np.zeros_like(time)
    for k, strength in enumerate(OVERTONES[shape], start=1):
        wave += strength * np.sin(2 * np.pi * k * pitch * time)
    envelope = np.minimum(time / 0.02, 1) * np.exp(-3 * time)
    loudness = rng.uniform(0.4, 0.9) / np.abs(wave).max()
    return np.asarray(wave * envelope * loudness, dtype=np.float32)
