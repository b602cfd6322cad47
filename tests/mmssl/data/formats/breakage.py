"""What property tests do to a good file, and what a reader may answer."""

import re
from pathlib import Path

from hypothesis import strategies as st

from extract.errors import InputError

_PLACE = re.compile(r"line \d+(, column|: )")


@st.composite
def broken(draw: st.DrawFn, data: bytes, separator: bytes) -> bytes:
    """A file with one thing wrong, or changed, at a random place."""
    lines = data.splitlines(keepends=True)
    at = draw(st.integers(0, len(lines) - 1))
    fields = lines[at].rstrip(b"\r\n").split(separator)
    field = draw(st.integers(0, len(fields) - 1))
    kind = draw(
        st.sampled_from(["drop", "add", "word", "cut", "bytes", "header", "quote", "blank", "nul"])
    )
    if kind == "drop":
        fields.pop(field)
    elif kind == "add":
        fields.insert(field, b"more")
    elif kind == "word":
        fields[field] = b"word"
    elif kind == "bytes":
        fields[field] += b"\xff\xfe"
    elif kind == "quote":
        fields[field] = b'"' + fields[field]
    elif kind == "nul":
        fields[field] += b"\0"
    elif kind == "blank":
        fields = []
    elif kind == "header":
        lines.insert(at, lines[0])
    else:
        return data[: draw(st.integers(0, len(data) - 1))]
    if kind != "header":
        lines[at] = separator.join(fields) + b"\n"
    return b"".join(lines)


def reads_or_names(read, path: Path) -> None:
    """Assert that a call succeeds, or says of the file what is wrong, and on which line."""
    try:
        read()
    except InputError as error:
        message = str(error)
        assert path.name in message, message
        assert "\n" not in message
        # A file as a whole may be empty, or have nothing in it but a header.
        assert _PLACE.search(message) or "empty" in message or "no interactions" in message, message
