"""Items' own pictures and sounds: small pictures made here, sounds as they are."""

import hashlib
import io
import warnings
from collections.abc import Iterator
from contextlib import ExitStack
from typing import BinaryIO, NamedTuple

from PIL import Image

from extract.media.files import MediaError, UnavailableError, unreadable
from extract.media.image import decode_image
from mmssl.serve.cards import Cards

THUMBNAIL_PIXELS = 256
_QUALITY = 82
_CHUNK = 2**18

# What a sound's file begins with; at 8 of a RIFF stands WAVE, at 4 of an MP4 ftyp.
_SOUNDS = (
    (b"fLaC", "audio/flac"),
    (b"OggS", "audio/ogg"),
    (b"ID3", "audio/mpeg"),
)


class Thumbnail(NamedTuple):
    """A JPEG, and what tells it from others."""

    jpeg: bytes
    etag: str


def thumbnail(cards: Cards, row: int) -> Thumbnail:
    """An item's picture, no side longer than ``THUMBNAIL_PIXELS``.

    Raises:
        MediaError: it has none, or none that can be decoded.
        InputError: a remote store cannot be reached.
    """
    path = cards.path("image", row)
    if path is None:
        raise UnavailableError(f"item '{cards.ids[row]}' has no picture")
    try:
        with warnings.catch_warnings(), cards.readers["image"].open(path) as handle:
            warnings.filterwarnings("ignore", module=r"PIL\.")
            picture = decode_image(handle)
    except OSError as error:
        raise UnavailableError(unreadable(error.strerror)) from None
    picture.thumbnail((THUMBNAIL_PIXELS, THUMBNAIL_PIXELS), Image.Resampling.LANCZOS)
    # Pixels alone: no colour profile, EXIF or comment of the original's goes along.
    picture.info.clear()
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=_QUALITY, optimize=True)
    jpeg = buffer.getvalue()
    return Thumbnail(jpeg, f'"{hashlib.sha256(jpeg).hexdigest()[:32]}"')


class Sound:
    """An item's sound, open until ``close``."""

    def __init__(self, cards: Cards, row: int) -> None:
        """Open it.

        Raises:
            MediaError: the item has none, or what the table names is no sound that a browser plays.
            InputError: a remote store cannot be reached.
        """
        path = cards.path("audio", row)
        if path is None:
            raise UnavailableError(f"item '{cards.ids[row]}' has no sound")
        self._stack = ExitStack()
        try:
            self._handle: BinaryIO = self._stack.enter_context(cards.readers["audio"].open(path))
            self.type = _sound_type(self._handle.read(16))
            self.size = self._handle.seek(0, io.SEEK_END)
            # The name of a version need not be found out by reading all of a long file.
            told = f"{path}\n{self.size}\n{_ends(self._handle, self.size)}"
            self.etag = f'"{hashlib.sha256(told.encode()).hexdigest()[:32]}"'
        except OSError as error:
            self.close()
            raise UnavailableError(unreadable(error.strerror)) from None
        except BaseException:
            self.close()
            raise

    def chunks(self, start: int, stop: int) -> Iterator[bytes]:
        """Bytes ``start`` to ``stop`` (excluded), piece by piece; closes the sound."""
        try:
            self._handle.seek(start)
            while start < stop and (piece := self._handle.read(min(_CHUNK, stop - start))):
                start += len(piece)
                yield piece
        finally:
            self.close()

    def close(self) -> None:
        """Close the file."""
        try:
            self._stack.close()
        except MediaError:
            # It changed while it was sent; whoever plays it hears that, and has been promised
            # neither the old sound nor the new.
            return


def _sound_type(head: bytes) -> str:
    """The media type by a file's first 16 bytes.

    Raises:
        MediaError: it is no sound that a browser plays.
    """
    for mark, kind in _SOUNDS:
        if head.startswith(mark):
            return kind
    if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
        return "audio/wav"
    if head[4:8] == b"ftyp":
        return "audio/mp4"
    # An MP3 without tags begins with a frame: eleven bits set, and a layer.
    if len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0 and head[1] & 0x06:
        return "audio/mpeg"
    raise MediaError("not a sound of a kind that browsers play")


def _ends(handle: BinaryIO, size: int) -> str:
    digest = hashlib.sha256()
    for place in (0, max(0, size // 2 - _CHUNK // 2), max(0, size - _CHUNK)):
        handle.seek(place)
        digest.update(handle.read(_CHUNK))
    return digest.hexdigest()
