"""A PNG without what surrounds its pixels: texts and colour profile."""

import io
import struct
from typing import BinaryIO

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_LEFT_OUT = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")


def without_texts(handle: BinaryIO) -> io.BytesIO:
    """A copy that lacks text chunks and the colour profile.

    Pillow gives up on a picture whose texts unpack to more than a megabyte - a bomb, but also the
    history that a picture editor leaves - although the pixels are whole. Neither is looked at here.

    Args:
        handle: a PNG, seekable, at any position; as many bytes as it holds are held in memory.
    """
    handle.seek(0)
    kept = [handle.read(len(_SIGNATURE))]
    while len(head := handle.read(8)) == 8:
        length, name = struct.unpack(">I4s", head)
        if name in _LEFT_OUT:
            handle.seek(length + 4, io.SEEK_CUR)
        else:
            kept += [head, handle.read(length + 4)]
        if name == b"IEND":
            break
    return io.BytesIO(b"".join(kept))
