"""Paths as tables hold them: what may be wrong with one that leads to no file."""

import re
import unicodedata

_PERCENT = re.compile(r"%[0-9A-Fa-f]{2}")


def canonical_forms(path: str) -> list[str]:
    """The other Unicode spellings of a path: composed (NFC) and decomposed (NFD).

    A table written on macOS may spell é as e and an accent where the file's name has one character,
    or the other way round. People see one name, file systems other than macOS' two.
    """
    forms = [unicodedata.normalize("NFC", path), unicodedata.normalize("NFD", path)]
    return [form for form in dict.fromkeys(forms) if form != path]


def why_absent(path: str) -> str:
    """The reason of a row whose path leads to no file, with what a look at the path suggests."""
    if path[:5].lower() == "data:":
        return "a data: URI, which is not read (write what it holds to a file)"
    if path != path.strip():
        return "file not found (its path begins or ends with space)"
    if "\\" in path:
        return "file not found (its path has backslashes; write / instead)"
    if _PERCENT.search(path):
        return "file not found (its path looks percent-encoded, as %20 for a space)"
    return "file not found"
