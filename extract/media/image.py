"""Pictures: one file to one RGB picture as a person would see it on a white page."""

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from typing import Any, BinaryIO

from PIL import Image, UnidentifiedImageError
from PIL.Image import Transpose

from extract.media.files import MediaError
from extract.media.jpeg import count_scans
from extract.media.kinds import found_instead
from extract.media.pixels import as_rgb, range_problem
from extract.media.png import without_texts

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif")

MAX_PIXELS = 89_478_485
"""Width x height above which a picture is refused before decoding: 256 MiB as RGB bytes."""

MAX_IMAGE_BYTES = 512 * 2**20
"""A larger file is refused unread; some decoders hold all of it in memory."""

MAX_ASPECT = 100
"""Longer side over shorter side above which a picture is refused: encoders scale the shorter side
up to their own, and a line of 20000 x 1 pixels would become one of 4480000 x 224."""

MAX_SCANS = 100
"""Scans above which a JPEG is refused; a usual progressive one has ten, and each costs time."""

DECODING_BYTES = 20 * MAX_PIXELS
"""Memory that decoding one picture takes at most, with what its decoder holds: 1.7 GiB (WebP; the
others take less)."""

_LARGE_PIXELS = 2**25

# Many threads decode, and memory must not depend on how many: of the pictures that need much, one
# at a time.
_one_large = threading.Lock()

_ORIENTATION = 0x0112
_TURNS = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}
_TILE_WIDTH, _TILE_LENGTH = 322, 323


@cache
def _formats() -> list[str]:
    # Only formats that Pillow decodes itself: its EPS reader, for one, starts Ghostscript. Builds
    # differ in what they know, and Pillow fails on a name that it does not.
    Image.init()
    wanted = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "JPEG2000", "AVIF")
    return [name for name in wanted if name in Image.OPEN]


class _NoDescriptor:
    """A file without its descriptor.

    Given one, libtiff maps the file into memory, and the system kills a process that reads where
    somebody has meanwhile cut a mapped file short.
    """

    def __init__(self, handle: BinaryIO) -> None:
        self.read: Callable[..., bytes] = handle.read
        self.seek: Callable[..., int] = handle.seek
        self.tell: Callable[[], int] = handle.tell


def decode_image(handle: BinaryIO) -> Image.Image:
    """Decode the first frame of a picture, turned upright by its EXIF, as RGB.

    Transparency is laid on white; CMYK, Lab, palette, grey and 12- or 16-bit pictures become 8-bit
    RGB. Colour profiles are not applied, as torchvision, timm and CLIP apply none: the encoders saw
    such pictures in training. Of a picture of more than 32 million pixels one is decoded at a time.

    Raises:
        MediaError: not a picture (what it is instead is named where that can be told), truncated,
            damaged, larger than ``MAX_PIXELS``, of more than ``MAX_SCANS`` scans, narrower than
            ``MAX_ASPECT`` allows, or with pixels whose range is unknown (32 bits, signed, floating
            point).
    """
    with _as_media_errors(handle):
        try:
            return _decode(handle)
        except ValueError as error:
            # "Decompressed data too large for PngImagePlugin.MAX_TEXT_CHUNK" and the like.
            if "MAX_TEXT" not in str(error):
                raise
        return _decode(without_texts(handle))


def _decode(handle: BinaryIO) -> Image.Image:
    handle.seek(0)
    tiff = handle.read(2) in (b"II", b"MM")
    handle.seek(0)
    source: Any = _NoDescriptor(handle) if tiff else handle
    with Image.open(source, formats=_formats()) as picture:
        _check(picture, handle)
        with one_at_a_time_if_large(picture.width * picture.height):
            picture.load()
            return as_rgb(_upright(picture))


def one_at_a_time_if_large(pixels: int) -> AbstractContextManager[object]:
    """What is decoded within takes its turn with other media of more than 32 million pixels."""
    return _one_large if pixels > _LARGE_PIXELS else nullcontext()


@contextmanager
def _as_media_errors(handle: BinaryIO) -> Iterator[None]:
    try:
        yield
    except MediaError:
        raise
    except UnidentifiedImageError:
        reason = found_instead(handle, "picture") or "not a picture of a known format"
        raise MediaError(reason) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise MediaError(_too_large(_size_in(error))) from None
    except MemoryError:
        raise MediaError("out of memory while decoding the picture") from None
    # Hostile or damaged bytes make decoders raise nearly anything (struct.error, SyntaxError...);
    # whatever it is, it is this picture's fault and must not end the run.
    except Exception as error:
        raise MediaError(f"damaged picture ({_one_line(error)})") from None


def _check(picture: Image.Image, handle: BinaryIO) -> None:
    """Refuse, by the header alone, what would cost too much or has no known meaning."""
    width, height = picture.size
    if width * height > MAX_PIXELS:
        raise MediaError(_too_large(width * height))
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise MediaError(f"picture too narrow (longer side over {MAX_ASPECT} times the shorter)")
    if problem := range_problem(picture):
        raise MediaError(problem)
    if picture.format in ("JPEG", "MPO"):
        at = handle.tell()
        if count_scans(handle, MAX_SCANS) > MAX_SCANS:
            raise MediaError(f"picture of too many scans (more than {MAX_SCANS})")
        handle.seek(at)
    if picture.format == "PNG" and picture.mode == "P" and picture.palette is None:
        raise MediaError("damaged picture (no palette)")
    # libtiff unpacks a whole tile, of which the picture may be a corner.
    tags = getattr(picture, "tag_v2", {})
    tile = tags.get(_TILE_WIDTH, 0) * tags.get(_TILE_LENGTH, 0)
    if tile > MAX_PIXELS:
        raise MediaError(_too_large(tile))


def _too_large(pixels: int | str) -> str:
    return f"picture too large ({pixels} pixels, at most {MAX_PIXELS})"


def _size_in(error: Exception) -> str:
    # Pillow refuses the largest pictures itself, and gives their size in its message alone.
    found = re.search(r"\d+", str(error))
    return found[0] if found else "too many"


def _one_line(error: Exception) -> str:
    # Without figures and names of this very file, so that like failures are counted as one reason.
    words = re.sub(r" \((\d+ bytes not processed|chunk b.*)\)", "", str(error))
    return " ".join(words.split()) or type(error).__name__


def _upright(picture: Image.Image) -> Image.Image:
    try:
        turn = _TURNS.get(picture.getexif().get(_ORIENTATION, 1))
    except MemoryError:
        raise
    except Exception:
        # The pixels decoded; an EXIF block that does not parse says nothing about orientation.
        return picture
    # Not ImageOps.exif_transpose: it writes the EXIF anew, and where that fails nothing is turned.
    return picture if turn is None else picture.transpose(turn)
