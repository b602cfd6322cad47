"""Files as libsndfile is to see them: a part of one, or one that claims to be longer.

libsndfile reads through callbacks, and whatever an exception in one of these says goes to standard
error, while the decoder takes it for the file's end. So none leaves a view: it is kept for the
caller, who asks ``check`` when decoding is over.
"""

import io
from typing import Any, BinaryIO


class View(io.RawIOBase):
    """A seekable file of ``size`` bytes; a subclass says what they are."""

    def __init__(self, handle: BinaryIO, size: int) -> None:
        """``handle`` stays open."""
        self._handle, self._size = handle, size
        self._at = 0
        self._error: Exception | None = None

    def _bytes(self, at: int, count: int) -> bytes:
        raise NotImplementedError

    def check(self) -> None:
        """Raise what reading raised, if it did."""
        if self._error is not None:
            raise self._error

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """The position within the view."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a position; damaged headers send decoders to before the beginning, which is 0."""
        self._at = max(0, offset + (0, self._at, self._size)[whence])
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Read what the view holds here, nothing behind its end or once reading has failed."""
        count = max(0, min(len(buffer), self._size - self._at))
        if not count or self._error is not None:
            return 0
        try:
            data = self._bytes(self._at, count)
        except Exception as error:
            self._error = error
            return 0
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


class Section(View):
    """Some bytes of a file as a file of their own."""

    def __init__(self, handle: BinaryIO, start: int = 0, end: int | None = None) -> None:
        """Bytes ``start`` to ``end`` (excluded; the file's end when left out) of ``handle``."""
        super().__init__(handle, (handle.seek(0, io.SEEK_END) if end is None else end) - start)
        self._start = start

    def _bytes(self, at: int, count: int) -> bytes:
        self._handle.seek(self._start + at)
        return self._handle.read(count)


# The lowest bit rate of an MP3 is a fortieth of the highest.
_STRETCH = 64

_ID3_TRAILER = 128


class Stretched(View):
    """A file that claims to be many times as long as it is.

    Without a header libsndfile takes an MP3's first bit rate for all of it and the file's length
    for the rest, and stops reading there: of a sound of variable bit rate it would give a quarter
    without a word. With a length that is certainly too great it reads to the real end.
    """

    def __init__(self, handle: BinaryIO) -> None:
        """``handle`` is read from its beginning."""
        self._real = handle.seek(0, io.SEEK_END)
        super().__init__(handle, self._real * _STRETCH + _ID3_TRAILER)

    def _bytes(self, at: int, count: int) -> bytes:
        """The file's bytes; where an ID3 tag would stand at the claimed end, zeros."""
        if at >= self._size - _ID3_TRAILER:
            return bytes(count)
        self._handle.seek(min(at, self._real))
        return self._handle.read(count)
