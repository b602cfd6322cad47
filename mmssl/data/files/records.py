"""Files of lines and separators as frames of text, block by block."""

import codecs
import csv
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl

from extract.errors import InputError
from mmssl.data.files.finding import open_unpacked

UNIT_SEPARATOR = "\x1f"
"""Stands for a separator of several characters, which the parser does not know: no text has it."""
# A file is parsed in blocks, so that memory holds what is kept of it, never the file itself.
_BLOCK_BYTES = 2**24
_BATCH = 2**16


def read_records(
    path: Path, separator: str, names: Sequence[str] | None, *, quoted: bool, encoding: str
) -> Iterator[pl.DataFrame]:
    """The records of a file.

    Args:
        path: as of ``read_delimited``, as are the others.
        separator: one character or several.
        names: the columns; None: the first record names them, and is yielded as the others are.
        quoted: whether quotes count.
        encoding: of the text.

    Yields:
        Text columns, a row a record, all null for a blank line.

    Raises:
        InputError: as ``read_delimited``, when the iteration comes to it.
    """
    unit = separator if len(separator) == 1 else UNIT_SEPARATOR
    fields = names
    for block in _whole(_blocks(path, encoding, separator, unit), unit, quoted):
        if fields is None:
            fields = _header(path, block, unit, quoted)
        yield from _parsed(path, block, unit, separator, fields, quoted)


@dataclass(frozen=True)
class _Block:
    """Whole lines of a file as UTF-8.

    ``line``: the number of the first, from 1. ``rest``: where a quoted value may reach beyond the
    end, the blocks that follow; else None.
    """

    data: bytes
    line: int
    rest: "Iterator[_Block] | None" = None

    def lines(self, path: Path, unit: str, errors: str = "strict") -> Iterator[str]:
        """The lines as text, with their ends, those of ``rest`` too."""
        for block in (self,) if self.rest is None else chain((self,), self.rest):
            try:
                text = block.data.decode(errors=errors)
            except UnicodeDecodeError as error:
                start = block.data.rfind(b"\n", 0, error.start) + 1
                line = block.line + block.data.count(b"\n", 0, error.start)
                column = block.data.count(unit.encode(), start, error.start) + 1
                raise InputError(
                    f"{path}, line {line}, column {column}: not UTF-8; save the file as UTF-8"
                ) from None
            yield from io.StringIO(text, newline="")


def _blocks(path: Path, encoding: str, separator: str, unit: str) -> Iterator[_Block]:
    """The file in blocks, unpacked, as UTF-8 without a byte-order mark, ``unit`` the separator."""
    line, held, blank = 1, b"", True
    with open_unpacked(path) as opened:
        while more := opened.read(_BLOCK_BYTES):
            if line == 1 and not held:
                more = more.removeprefix(codecs.BOM_UTF8)
            end = more.rfind(b"\n") + 1
            if not end:
                held += more
                continue
            data, held = held + more[:end], more[end:]
            blank = blank and not data.strip()
            yield _Block(_translated(data, encoding, separator, unit), line)
            line += data.count(b"\n")
    if blank and not held.strip():
        raise InputError(f"{path}: the file is empty")
    if held:
        yield _Block(_translated(held, encoding, separator, unit), line)


def _translated(data: bytes, encoding: str, separator: str, unit: str) -> bytes:
    if encoding != "utf-8":
        data = data.decode(encoding).encode()
    return data if unit == separator else data.replace(separator.encode(), unit.encode())


def _whole(blocks: Iterator[_Block], unit: str, quoted: bool) -> Iterator[_Block]:
    """Blocks that end with a record; the last of them may hold all that follows, unread."""
    for block in blocks:
        if quoted and not _plainly_quoted(block.data, unit):
            yield _Block(block.data, block.line, blocks)
            return
        yield block


def _plainly_quoted(data: bytes, unit: str) -> bool:
    """Whether each quote opens or closes a value as a whole, and all are closed.

    Only then polars reads as Python does: it takes the mark of ``12" disc`` for the start of a
    quoted value that holds the lines after it.
    """
    if b'"' not in data:
        return True
    # A line feed around, for the borders of a block are those of a line.
    padded = np.frombuffer(b"\n" + data + b"\n", dtype=np.uint8)
    quotes = np.flatnonzero(padded == ord('"'))
    borders = np.zeros(256, dtype=np.bool_)
    borders[[ord(unit), ord("\r"), ord("\n")]] = True
    opens, closes = borders[padded[quotes[::2] - 1]], borders[padded[quotes[1::2] + 1]]
    return len(opens) == len(closes) and bool(opens.all() and closes.all())


def _parsed(
    path: Path, block: _Block, unit: str, separator: str, fields: Sequence[str], quoted: bool
) -> Iterator[pl.DataFrame]:
    """The records of a block as text columns, null where a field is empty."""
    if block.rest is None:
        try:
            frame = pl.read_csv(
                io.BytesIO(block.data),
                separator=unit,
                has_header=False,
                schema=dict.fromkeys(fields, pl.String),
                missing_columns="insert",
                quote_char='"' if quoted else None,
            )
        except pl.exceptions.PolarsError as error:
            # It does not say where: read again, slowly.
            for _ in _read_by_line(path, block, unit, separator, fields, quoted):
                pass
            first = next(iter(str(error).splitlines()), "")
            raise InputError(f"{path}: not readable as lines of fields ({first})") from None
        yield _nulls(frame) if quoted and b'""' in block.data else frame
        return
    yield from map(_nulls, _read_by_line(path, block, unit, separator, fields, quoted))


def _nulls(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(pl.when(pl.all() != "").then(pl.all()).name.keep())


def _read_by_line(
    path: Path, block: _Block, unit: str, separator: str, fields: Sequence[str], quoted: bool
) -> Iterator[pl.DataFrame]:
    """As Python reads it, with line and column of what is wrong."""
    reader = csv.reader(
        block.lines(path, unit), delimiter=unit, quoting=_quoting(quoted), strict=True
    )
    width = len(fields)
    schema = dict.fromkeys(fields, pl.String)
    records: list[list[str | None]] = []
    line = block.line
    try:
        for record in reader:
            if len(record) > width:
                raise InputError(
                    f"{path}, line {line}, column {width + 1}: {len(record)} fields where {width}"
                    f" are wanted; take out the {separator!r} that a value holds"
                )
            records.append([*record, *[None] * (width - len(record))])
            line = block.line + reader.line_num
            if len(records) == _BATCH:
                yield pl.DataFrame(records, schema=schema, orient="row")
                records = []
    except csv.Error as error:
        raise InputError(
            f"{path}, line {line}, column 1: a quoted value is not closed or not separated"
            f" ({error}); write a quotation mark within quotes twice"
        ) from None
    yield pl.DataFrame(records, schema=schema, orient="row")


def _header(path: Path, block: "_Block", separator: str, quoted: bool) -> list[str]:
    """The names of the columns."""
    first = block.lines(path, separator, errors="replace")
    try:
        names = next(csv.reader(first, delimiter=separator, quoting=_quoting(quoted), strict=True))
    except csv.Error as error:
        raise InputError(f"{path}, line 1: not a line of column names ({error})") from None
    if not names:
        raise InputError(f"{path}, line 1: empty, where the names of the columns should stand")
    for place, name in enumerate(names):
        if name in names[:place]:
            raise InputError(f"{path}, line 1, column {place + 1}: a second column '{name}'")
    return names


def _quoting(quoted: bool) -> Literal[0, 3]:
    return csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE


@contextmanager
def open_lines(path: Path, encoding: str) -> Iterator[io.TextIOWrapper]:
    """A text file, unpacked, with its line ends as they are.

    Args:
        path: the file.
        encoding: of the text; a byte-order mark of UTF-8 is no part of it.
    """
    encoding = "utf-8-sig" if encoding == "utf-8" else encoding
    with (
        open_unpacked(path) as opened,
        io.TextIOWrapper(opened, encoding=encoding, newline="") as lines,
    ):
        yield lines
