"""Texts: what a cell or a file says, fit for a tokeniser."""

from typing import BinaryIO

from extract.media.files import MediaError

TEXT_SUFFIXES = (".txt",)

MAX_TEXT_BYTES = 16 * 2**20
"""A text file larger than this is refused; no more of it than this is held in memory."""


def decode_text(handle: BinaryIO) -> str:
    """Read a UTF-8 file (a byte order mark is dropped) and clean it as ``clean_text`` does.

    Raises:
        MediaError: not UTF-8, larger than ``MAX_TEXT_BYTES``, or nothing but space.
    """
    data = handle.read(MAX_TEXT_BYTES + 1)
    if len(data) > MAX_TEXT_BYTES:
        raise MediaError(f"text too large (more than {MAX_TEXT_BYTES} bytes)")
    try:
        return clean_text(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise MediaError(f"not UTF-8 text (byte {error.start})") from None


def clean_text(text: str) -> str:
    """The text without NUL characters, which tokenisers in C take for the end.

    Raises:
        MediaError: the text is empty or nothing but space.
    """
    text = text.replace("\0", "")
    if not text.strip():
        raise MediaError("empty text")
    return text
