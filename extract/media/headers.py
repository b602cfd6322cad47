"""What libsndfile does not tell of a sound: whether a WAV is whole, how long an MP3 really is."""

import io
import struct
from typing import Any, BinaryIO

# Programs that write to a pipe cannot go back to fill in a size: they leave 2**31 or 2**32, about.
_PLACEHOLDER = 0x7FFF_0000

# The lowest bit rate of an MP3 is a fortieth of the highest.
_STRETCH = 64

_ID3_TRAILER = 128


def missing_wav_bytes(handle: BinaryIO) -> int:
    """How many bytes of samples a WAV's header promises beyond the end of the file.

    0 for a whole file, for one whose header leaves the size open, and for what is no RIFF WAV.
    """
    size = handle.seek(0, io.SEEK_END)
    handle.seek(0)
    head = handle.read(12)
    if head[:4] != b"RIFF" or head[8:] != b"WAVE":
        return 0
    while len(chunk := handle.read(8)) == 8:
        name, length = struct.unpack("<4sI", chunk)
        if name == b"data":
            return 0 if length >= _PLACEHOLDER else max(0, handle.tell() + length - size)
        handle.seek(length + length % 2, io.SEEK_CUR)
    return 0


def mp3_length_is_known(handle: BinaryIO) -> bool:
    """Whether an MP3 begins with a frame that tells its length (Xing, Info or VBRI)."""
    handle.seek(0)
    head = handle.read(10)
    start = 0
    if head[:3] == b"ID3":
        # Four bytes of seven bits each.
        for byte in head[6:]:
            start = start << 7 | byte & 0x7F
        start += len(head)
    handle.seek(start)
    frame = handle.read(2048)
    return any(mark in frame for mark in (b"Xing", b"Info", b"VBRI"))


class Stretched(io.RawIOBase):
    """A file that claims to be many times as long as it is.

    Without a header libsndfile takes an MP3's first bit rate for all of it and the file's length
    for the rest, and stops reading there: of a sound of variable bit rate it would give a quarter
    without a word. With a length that is certainly too great it reads to the real end.
    """

    def __init__(self, handle: BinaryIO) -> None:
        """``handle`` is read from its beginning and stays open."""
        self._handle = handle
        self._size = handle.seek(0, io.SEEK_END)
        self._claimed = self._size * _STRETCH + _ID3_TRAILER
        self._at = 0

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """The position."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a position of the claimed length."""
        self._at = offset + (0, self._at, self._claimed)[whence]
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Read the file's bytes; where an ID3 tag would stand at the claimed end, zeros."""
        if self._at >= self._claimed - _ID3_TRAILER:
            count = min(len(buffer), self._claimed - self._at)
            buffer[:count] = bytes(count)
        else:
            self._handle.seek(min(self._at, self._size))
            data = self._handle.read(len(buffer))
            count = len(data)
            buffer[:count] = data
        self._at += count
        return count
