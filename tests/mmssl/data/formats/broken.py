"""Good files broken at a random place, as disks, editors and people do."""

import re
from pathlib import Path

from hypothesis import strategies as st

from extract.errors import InputError

WAYS = ("drop field", "text", "cut", "bytes", "header", "extra field", "quote", "nul", "blank")

# A column that a header lacks has no number, and rows that are not there have no line.
PLACE = re.compile(r"line \d+, column |line 1: |: no (interactions|vector)")


def break_lines(path: Path, separator: str, draw: st.DataObject) -> None:
    """Break a file of lines and separators in one of ``WAYS``."""
    lines = path.read_bytes().splitlines(keepends=True)
    at = draw.draw(st.integers(0, len(lines) - 1), "line")
    unit = separator.encode()
    fields = lines[at].rstrip(b"\n").split(unit)
    place = draw.draw(st.integers(0, len(fields) - 1), "field")
    way = draw.draw(st.sampled_from(WAYS), "way")
    if way == "cut":
        data = b"".join(lines)
        path.write_bytes(data[: draw.draw(st.integers(0, len(data) - 1), "length")])
        return
    if way == "drop field":
        del fields[place]
    elif way == "text":
        fields[place] = b"none of these"
    elif way == "bytes":
        fields[place] += b"\xff\xfe"
    elif way == "extra field":
        fields += [b"more"] * 3
    elif way == "quote":
        fields[place] = b'"' + fields[place]
    elif way == "nul":
        fields[place] += b"\0"
    elif way == "blank":
        fields = []
    lines[at] = unit.join(fields) + b"\n"
    if way == "header":
        lines.insert(0, lines[0])
    path.write_bytes(b"".join(lines))


def fails_well(read, path: Path, *, lines: bool = True, place: re.Pattern[str] = PLACE) -> None:
    """Assert that ``read()`` succeeds, or says where in ``path`` it stopped.

    ``place`` is what says so; without ``lines`` the file's name is enough.
    """
    try:
        read()
    except InputError as error:
        message = str(error)
        assert "\n" not in message
        assert path.name in message
        # Of a file without a line there is nothing to number.
        if lines and path.read_bytes().strip():
            assert place.search(message), message
