"""How many times a JPEG makes its decoder go over the whole picture."""

import re
import struct
from typing import BinaryIO

# Within a scan a byte FF is followed by 00, and D0 to D7 mark restarts; anything else ends it.
_MARKER = re.compile(rb"\xff+([\x01-\xcf\xd8-\xfe])")

_PROGRESSIVE = (0xC2, 0xC6, 0xCA, 0xCE)
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_WITHOUT_LENGTH = {0x01, *range(0xD0, 0xD9)}
_START_OF_SCAN, _END = 0xDA, 0xD9

_SHORT_BLOCK, _BLOCK = 64, 2**20


def count_scans(handle: BinaryIO, at_most: int) -> int:
    """The scans of the first picture in a JPEG, counted up to ``at_most`` + 1.

    A scan may be a few bytes long, but costs the decoder a walk over all the picture's blocks: a
    megabyte of them keeps it busy for hours. A picture whose only scan holds all its components is
    not read beyond its header, so that the usual photo costs nothing.

    Args:
        handle: seekable, at any position.
        at_most: no more than this and one are counted.
    """
    handle.seek(0)
    if handle.read(2) != b"\xff\xd8":
        return 0
    components, scans = 0, 0
    progressive = False
    while (marker := _next_marker(handle)) not in (None, _END):
        if marker in _WITHOUT_LENGTH:
            continue
        length = handle.read(2)
        if len(length) < 2:
            break
        body = handle.read(max(0, struct.unpack(">H", length)[0] - 2))
        if marker in _FRAMES and len(body) > 5:
            components, progressive = body[5], marker in _PROGRESSIVE
        elif marker == _START_OF_SCAN:
            scans += 1
            if scans > at_most or (not progressive and body[:1] == bytes([components])):
                break
    return scans


def _next_marker(handle: BinaryIO) -> int | None:
    """Go behind the next marker; None at the end of the file."""
    start = handle.tell()
    # The next segment of a header follows at once; only a scan is long.
    size = _SHORT_BLOCK
    while len(block := handle.read(size)) > 1:
        if found := _MARKER.search(block):
            handle.seek(start + found.end())
            return found[1][0]
        # A marker may lie across the end of the block.
        start = handle.seek(start + len(block) - 1)
        size = _BLOCK
    return None
