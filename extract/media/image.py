"""Pictures: one file to one RGB picture as a person would see it on a white page."""

import re
from functools import cache
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from extract.media.files import MediaError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif")

MAX_PIXELS = 89_478_485
"""Width x height above which a picture is refused before decoding: 256 MiB as RGB."""

MAX_ASPECT = 100
"""Longer side over shorter side above which a picture is refused: encoders scale the shorter side
up to their own, and a line of 20000 x 1 pixels would become one of 4480000 x 224."""


@cache
def _formats() -> list[str]:
    # Only formats that Pillow decodes itself: its EPS reader, for one, starts Ghostscript. Builds
    # differ in what they know, and Pillow fails on a name that it does not.
    Image.init()
    wanted = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "JPEG2000", "AVIF")
    return [name for name in wanted if name in Image.OPEN]


def decode_image(handle: BinaryIO) -> Image.Image:
    """Decode the first frame of a picture, turned upright by its EXIF, as RGB.

    Transparency is laid on white; CMYK, palette, grey and 16-bit pictures become 8-bit RGB.

    Raises:
        MediaError: not a picture, truncated, damaged, larger than ``MAX_PIXELS``, or narrower than
            ``MAX_ASPECT`` allows.
    """
    try:
        with Image.open(handle, formats=_formats()) as picture:
            _check_size(picture.width, picture.height)
            picture.load()
            return _as_rgb(_upright(picture))
    except MediaError:
        raise
    except UnidentifiedImageError:
        raise MediaError("not a picture of a known format") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise MediaError(_too_large(_size_in(error))) from None
    except MemoryError:
        raise MediaError("out of memory while decoding the picture") from None
    # Hostile or damaged bytes make decoders raise nearly anything (struct.error, SyntaxError...);
    # whatever it is, it is this picture's fault and must not end the run.
    except Exception as error:
        raise MediaError(f"damaged picture ({_one_line(error)})") from None


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise MediaError(_too_large(width * height))
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise MediaError(f"picture too narrow (longer side over {MAX_ASPECT} times the shorter)")


def _too_large(pixels: int | str) -> str:
    return f"picture too large ({pixels} pixels, at most {MAX_PIXELS})"


def _size_in(error: Exception) -> str:
    # Pillow refuses the largest pictures itself, and gives their size in its message alone.
    found = re.search(r"\d+", str(error))
    return found[0] if found else "too many"


def _one_line(error: Exception) -> str:
    # Without numbers of this very file, so that like failures are counted as one reason.
    words = re.sub(r" \(\d+ bytes not processed\)", "", str(error))
    return " ".join(words.split()) or type(error).__name__


def _upright(picture: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(picture)
    except Exception:
        # The pixels decoded; an EXIF block that does not parse says nothing about orientation.
        return picture


def _as_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode == "F":
        raise MediaError("floating-point pixels have no known range")
    if picture.mode == "I" or picture.mode.startswith("I;16"):
        # convert("RGB") would clip at 255 and make nearly every pixel white.
        grey = np.asarray(picture).astype(np.float64) / 257
        return Image.fromarray(np.clip(np.rint(grey), 0, 255).astype(np.uint8)).convert("RGB")
    if picture.has_transparency_data:
        rgba = picture.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return picture.convert("RGB")
