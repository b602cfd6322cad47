"""Texts: what a cell or a file says, fit for a tokeniser."""

import io
import unicodedata
from typing import BinaryIO

from extract.media.files import MediaError
from extract.media.kinds import found_instead, utf16_or_utf32

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
    if encoding := utf16_or_utf32(data[:4]):
        raise MediaError(f"{encoding} text; save it as UTF-8")
    try:
        return clean_text(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        instead = found_instead(io.BytesIO(data), "text")
        raise MediaError(instead or f"not UTF-8 text (byte {error.start})") from None


# Letters by their category, but nothing is drawn for them: Hangul fillers, the empty Braille cell.
_BLANK_LETTERS = frozenset("\u115f\u1160\u3164\uffa0\u2800")

# Space, control characters, and format characters as the zero-width space. Selectors of variants
# are marks (Mn) and never stand alone; other marks do no harm.
_BLANK_CATEGORIES = frozenset({"Zs", "Zl", "Zp", "Cc", "Cf"})


def clean_text(text: str) -> str:
    """The text without NUL characters, which tokenisers in C take for the end.

    All else stays: control characters, marks of direction, however many accents.

    Raises:
        MediaError: nothing in it can be seen (space, control characters, zero-width characters),
            half of a character that UTF-16 writes in two, or more than ``MAX_TEXT_BYTES``
            characters.
    """
    if len(text) > MAX_TEXT_BYTES:
        raise MediaError(f"text too large (more than {MAX_TEXT_BYTES} characters)")
    text = text.replace("\0", "")
    if all(map(_is_blank, text)):
        raise MediaError("empty text")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise MediaError("text with half a character (a lone surrogate)") from None
    return text


def _is_blank(character: str) -> bool:
    return unicodedata.category(character) in _BLANK_CATEGORIES or character in _BLANK_LETTERS
