"""Pixels of any kind as 8-bit RGB on white, in strips: a large picture is held twice only."""

from typing import Any

import numpy as np
from PIL import Image

# About 16 MiB of RGBA at a time.
_STRIP_PIXELS = 2**22

_BITS_PER_SAMPLE, _PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0


def range_problem(picture: Image.Image) -> str | None:
    """Why nobody can say which of a picture's values are black and white; None: it is known."""
    if picture.mode == "F":
        return "floating-point pixels have no known range"
    # Pillow's mode of 32-bit and of signed integers.
    return "32-bit or signed pixels have no known range" if picture.mode == "I" else None


def as_rgb(picture: Image.Image) -> Image.Image:
    """An 8-bit RGB picture of the same size, transparency laid on white.

    Args:
        picture: loaded, with a known range.
    """
    width, height = picture.size
    rows = max(1, _STRIP_PIXELS // width)
    convert = _grey if picture.mode.startswith("I;16") else _colour
    if rows >= height:
        return convert(picture)
    whole = Image.new("RGB", picture.size)
    for top in range(0, height, rows):
        strip = picture.crop((0, top, width, min(top + rows, height)))
        whole.paste(convert(strip, of=picture), (0, top))
    return whole


def _colour(picture: Image.Image, of: Image.Image | None = None) -> Image.Image:  # noqa: ARG001
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    rgba = picture.convert("RGBA")
    white = Image.new("RGBA", rgba.size, "white")
    return Image.alpha_composite(white, rgba).convert("RGB")


def _grey(picture: Image.Image, of: Image.Image | None = None) -> Image.Image:
    """12 or 16 bits; convert("RGB") would clip at 255 and make nearly every pixel white.

    Args:
        picture: what to convert.
        of: the picture that it is a strip of, which knows the file's tags.
    """
    tags: Any = getattr(of or picture, "tag_v2", {})
    top = 4095 if tags.get(_BITS_PER_SAMPLE) in (12, (12,)) else 65535
    values = np.asarray(picture).astype(np.uint32)
    # Rounded to the nearest.
    grey = (values * 255 + top // 2) // top
    if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        grey = 255 - grey
    # Of a grey PNG one value may be transparent.
    transparent = picture.info.get("transparency")
    if isinstance(transparent, int):
        grey[values == transparent] = 255
    return Image.fromarray(grey.astype(np.uint8)).convert("RGB")
