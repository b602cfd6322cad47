"""Ogg files page by page (RFC 3533): whether the last page is whole, and sounds joined in a chain.

libsndfile plays the first sound of a chain, which is what joining two files gives, and of a file
cut short what is left of it; neither with a word.
"""

import io
from typing import BinaryIO

_HEADER = 27
_BEGINS = 2


def ogg_links(handle: BinaryIO) -> tuple[list[tuple[int, int]], bool]:
    """Where the sounds of a chain begin and end, and whether the last page is whole.

    Args:
        handle: seekable, at any position; only page headers are read.

    Returns:
        (start, end) in bytes for each link, and False if the file ends within a page. Bytes after a
        page that are no page belong to the last link. For what is no Ogg: no links, True.
    """
    size = handle.seek(0, io.SEEK_END)
    starts: list[int] = []
    at, previous_begins = 0, False
    whole = True
    while at < size:
        handle.seek(at)
        header = handle.read(_HEADER)
        if not header.startswith(b"OggS"):
            # A header of fewer than four bytes is a page cut off, too.
            whole = not (starts and b"OggS".startswith(header))
            break
        lengths = handle.read(header[26]) if len(header) == _HEADER else b""
        end = at + _HEADER + len(lengths) + sum(lengths)
        if len(header) < _HEADER or len(lengths) < header[26] or end > size:
            whole = False
            break
        begins = bool(header[5] & _BEGINS)
        # Streams that belong together, as sound and picture, all begin before any goes on.
        if begins and not previous_begins:
            starts.append(at)
        previous_begins = begins
        at = end
    ends = [*starts[1:], size]
    return list(zip(starts, ends, strict=False)), whole
