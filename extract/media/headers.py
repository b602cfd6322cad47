"""What libsndfile does not tell of a sound: whether it is whole, how long an MP3 really is."""

import io
import struct
from typing import BinaryIO

# Programs that write to a pipe cannot go back to fill in a size: they leave 2**31 or 2**32, about.
_PLACEHOLDER = 0x7FFF_0000

_XING = (b"Xing", b"Info")


def missing_bytes(handle: BinaryIO) -> int:
    """How many bytes of samples a header promises beyond the end of the file.

    Of a WAV, RF64, AIFF, AU, Sony Wave64 or an MP3 with a Xing header; libsndfile reads what there
    is, without a word. 0 for a whole file, for one whose header leaves the size open, and for every
    other kind.
    """
    size = handle.seek(0, io.SEEK_END)
    handle.seek(0)
    head = handle.read(12)
    try:
        end = _promised_end(handle, head) or _xing_end(handle, size)
    except struct.error:
        # The header itself is cut; the decoder says so.
        return 0
    return max(0, end - size)


def _promised_end(handle: BinaryIO, head: bytes) -> int:
    """Where the samples end by the header; 0 where it does not say."""
    if head[:4] in (b"RIFF", b"RF64") and head[8:] == b"WAVE":
        return _riff_end(handle, "<", b"data")
    if head[:4] == b"FORM" and head[8:] in (b"AIFF", b"AIFC"):
        return _riff_end(handle, ">", b"SSND")
    if head[:4] == b".snd":
        start, length = struct.unpack(">II", head[4:])
        return 0 if length >= _PLACEHOLDER else start + length
    if head == b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb":
        # Wave64: a size of 64 bits after each name of 16 bytes; it counts the name and itself.
        handle.seek(16)
        length = int(struct.unpack("<Q", handle.read(8))[0])
        return 0 if length >= 2**62 else length
    return 0


def _riff_end(handle: BinaryIO, order: str, samples: bytes) -> int:
    long_length = 0
    while len(chunk := handle.read(8)) == 8:
        name, length = struct.unpack(f"{order}4sI", chunk)
        if name == b"ds64":
            # RF64 (EBU Tech 3306): the sizes that do not fit into 32 bits.
            long_length = int(struct.unpack("<QQ", handle.read(16))[1])
            length -= 16
        if name == samples:
            if length == 0xFFFF_FFFF and long_length:
                return handle.tell() + long_length
            return 0 if length >= _PLACEHOLDER else handle.tell() + int(length)
        handle.seek(length + length % 2, io.SEEK_CUR)
    return 0


def mp3_length_is_known(handle: BinaryIO) -> bool:
    """Whether an MP3 begins with a frame that tells its length (Xing, Info or VBRI)."""
    _, frame = _first_mp3_frame(handle)
    return any(mark in frame for mark in (*_XING, b"VBRI"))


def _xing_end(handle: BinaryIO, size: int) -> int:
    """Where an MP3 ends by its Xing or Info frame, less 1 %: encoders disagree on what counts."""
    start, frame = _first_mp3_frame(handle)
    at = next((frame.find(mark) for mark in _XING if mark in frame[:64]), -1)
    if frame[:1] != b"\xff" or at < 0:
        return 0
    (flags,) = struct.unpack(">I", frame[at + 4 : at + 8])
    if not flags & 2:
        return 0
    at += 12 if flags & 1 else 8
    (length,) = struct.unpack(">I", frame[at : at + 4])
    end = start + int(length)
    return end if end - length // 100 > size else 0


def _first_mp3_frame(handle: BinaryIO) -> tuple[int, bytes]:
    """Where an MP3 begins behind its ID3 tag, and 2048 bytes from there."""
    handle.seek(0)
    head = handle.read(10)
    start = 0
    if head[:3] == b"ID3":
        # Four bytes of seven bits each.
        for byte in head[6:]:
            start = start << 7 | byte & 0x7F
        start += len(head)
    handle.seek(start)
    return start, handle.read(2048)
