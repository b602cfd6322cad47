"""Files of lines and separators; what is wrong in one has a line and a column."""

import codecs
import csv
import gzip
import io
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import polars as pl

from extract.errors import InputError, nearest
from extract.files import atomic_path
from mmssl.data.interactions import InteractionTable, InvalidRows, check_interactions

# Stands for a separator of several characters, which the parser does not know: no text holds it.
_UNIT_SEPARATOR = "\x1f"


@dataclass(frozen=True)
class DelimitedTable:
    """What a file holds.

    ``frame``: text columns, null where a field is empty. ``rows``: int64, the number of each record
    in the file, from 0, blank lines counted.
    """

    path: Path
    frame: pl.DataFrame
    rows: pl.Series
    separator: str
    quoted: bool
    header: bool
    encoding: str

    def place(self, column: str, row: int) -> str:
        """The words for where a value stands, as ``line 3, column 'rating'``.

        Args:
            column: its name.
            row: the record's number, as in ``rows``.
        """
        return f"line {self._line(row)}, column '{column}'"

    def require(self, *columns: str) -> None:
        """Refuse a file that lacks a column.

        Raises:
            InputError: names the file, its first line and the column.
        """
        for column in columns:
            if column not in self.frame.columns:
                raise InputError(
                    f"{self.path}, line 1: no column '{column}'"
                    f"{nearest(column, self.frame.columns)}"
                )

    def fault(self, column: str, row: int, problem: str) -> InputError:
        """An error about one value.

        Args:
            column: its name.
            row: the record's number, as in ``rows``.
            problem: what is wrong with it, and what to do.
        """
        return InputError(f"{self.path}, {self.place(column, row)}: {problem}")

    def unique_ids(self, column: str) -> pl.Series:
        """A column of ids, one a record.

        Raises:
            InputError: an id is empty or stands there twice.
        """
        self.require(column)
        ids, rows = self.frame[column], self.rows
        empty = (ids.is_null() | (ids.str.strip_chars() == "")).arg_true()
        if len(empty):
            raise self.fault(column, rows[empty[0]], "the id is empty")
        repeated = (~ids.is_first_distinct()).arg_true()
        if len(repeated):
            id_ = ids[repeated[0]]
            first = self._line(rows[ids.index_of(id_) or 0])
            raise self.fault(
                column, rows[repeated[0]], f"id '{id_}' stands in line {first} already"
            )
        return ids

    def numbers(self, column: str) -> pl.Series:
        """A column of whole numbers, int64.

        Raises:
            InputError: a field holds something else, or nothing.
        """
        self.require(column)
        numbers = self.frame[column].cast(pl.Int64, strict=False)
        if numbers.null_count():
            at = int(numbers.is_null().arg_true()[0])
            value = self.frame[column][at]
            shown = "nothing there" if value is None else repr(value)
            raise self.fault(column, self.rows[at], f"not a whole number ({shown})")
        return numbers

    def interactions(
        self, columns: dict[str, str], invalid_rows: InvalidRows = "error"
    ) -> InteractionTable:
        """The table as interactions.

        Args:
            columns: role (``user``, ``item``, ``rating``, ``timestamp``) to column.
            invalid_rows: as of ``read_interactions``.

        Raises:
            InputError: a column is absent, a value cannot be read, or nothing is left.
        """
        self.require(*columns.values())
        if not self.frame.height:
            raise InputError(f"{self.path}: no interactions in it")
        frame = self.frame.select(
            *(pl.col(column).alias(role) for role, column in columns.items()),
            self.rows.alias("row"),
        )
        return check_interactions(
            self.path, frame, invalid_rows, lambda role, row: self.place(columns[role], row)
        )

    def _line(self, row: int) -> int:
        if not self.quoted:
            return row + 1 + self.header
        # A quoted value may hold line breaks, so lines have to be counted.
        with _lines(self.path, self.encoding) as lines:
            reader = csv.reader(lines, delimiter=self.separator)
            line = 1
            for record, _ in enumerate(reader):
                if record == row + self.header:
                    break
                line = reader.line_num + 1
        return line


def read_delimited(
    path: Path,
    separator: str,
    *,
    names: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    quoted: bool = False,
    encoding: str = "utf-8",
) -> DelimitedTable:
    """Read a file, whatever its suffix; one that ends in ``.gz`` is unpacked on the way.

    Args:
        path: the file.
        separator: one character or several.
        names: the columns of a file without a header line; None: the first line names them.
        columns: those to keep, as far as they are there; None: all of them.
        quoted: whether ``"`` around a value lets it hold separators and line breaks.
        encoding: of the text.

    Raises:
        InputError: missing, empty or not readable; a line of more fields than columns, a quote
            that is not closed, bytes that are not of the encoding, a name twice in the header.
    """
    data = _read(path, encoding)
    unit = separator
    if len(separator) > 1:
        unit = _UNIT_SEPARATOR
        data = data.replace(separator.encode(), unit.encode())
    fields = list(names) if names is not None else _header(path, data, unit, quoted)
    if quoted and b'"' in data:
        frame = _read_quoted(path, data, unit, separator, fields)
    else:
        frame = _read_plain(path, data, unit, separator, fields)
    rows = pl.int_range(frame.height, dtype=pl.Int64, eager=True).alias("row")
    if names is None:
        frame, rows = frame.slice(1), rows.slice(1) - 1
    frame = frame.with_columns(pl.when(pl.all() != "").then(pl.all()).name.keep())
    filled = frame.select(pl.any_horizontal(pl.all().is_not_null())).to_series()
    if columns is not None:
        frame = frame.select(name for name in fields if name in columns)
    return DelimitedTable(
        path, frame.filter(filled), rows.filter(filled), separator, quoted, names is None, encoding
    )


def first_line(path: Path) -> str:
    """The first line of a text file, without its end; "" where there is no such file or text."""
    try:
        with _lines(path, "utf-8") as lines:
            return lines.readline(2**16).rstrip("\r\n")
    except (OSError, EOFError, UnicodeDecodeError, zlib.error):
        return ""


def write_delimited(
    frame: pl.DataFrame, path: Path, separator: str, *, header: bool, quoted: bool = False
) -> None:
    """Write a frame so that ``read_delimited`` with the same arguments reads it again.

    Args:
        frame: its columns are written as text, null as nothing.
        path: the file.
        separator: one character or several.
        header: whether the first line names the columns.
        quoted: whether values that hold separators or line breaks are put between quotes.

    Raises:
        InputError: without quotes, a value that holds a separator or a line break; no room.
    """
    if not quoted:
        for name in (column for column in frame.columns if frame[column].dtype == pl.String):
            odd = frame[name].str.contains_any([separator, "\n", "\r", _UNIT_SEPARATOR])
            if odd.any():
                value = frame[name].filter(odd)[0]
                raise InputError(
                    f"{path.name}: {name} {value!r} cannot stand in it: it holds a separator or a"
                    " line break; mend the value, or choose another format"
                )
    with atomic_path(path) as temporary:
        if len(separator) == 1:
            frame.write_csv(
                temporary,
                separator=separator,
                include_header=header,
                quote_style="necessary" if quoted else "never",
            )
            return
        joined = frame.select(
            pl.concat_str(pl.all().cast(pl.String).fill_null(""), separator=separator)
        ).to_series()
        head = [separator.join(frame.columns)] if header else []
        text = "".join(f"{line}\n" for line in [*head, *joined.to_list()])
        temporary.write_bytes(text.encode())


def _read(path: Path, encoding: str) -> bytes:
    """The file's bytes, unpacked, as UTF-8 without a byte-order mark."""
    try:
        data = path.read_bytes()
        if path.suffix == ".gz":
            data = gzip.decompress(data)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: not readable ({error})") from None
    if encoding != "utf-8":
        data = data.decode(encoding).encode()
    data = data.removeprefix(codecs.BOM_UTF8)
    if not data.strip():
        raise InputError(f"{path}: the file is empty")
    return data


def _read_plain(
    path: Path, data: bytes, unit: str, separator: str, fields: list[str]
) -> pl.DataFrame:
    """All lines, where no quotes count, as text columns."""
    try:
        return pl.read_csv(
            io.BytesIO(data),
            separator=unit,
            has_header=False,
            schema=dict.fromkeys(fields, pl.String),
            missing_columns="insert",
            quote_char=None,
        )
    except pl.exceptions.PolarsError as error:
        _refuse_bad_line(path, data, unit, separator, len(fields), quoted=False)
        first = next(iter(str(error).splitlines()), "")
        raise InputError(f"{path}: not readable as lines of fields ({first})") from None


def _read_quoted(
    path: Path, data: bytes, unit: str, separator: str, fields: list[str]
) -> pl.DataFrame:
    """All records, where quotes count, as text columns.

    By Python's parser, since the faster one takes the quotation mark of ``12" disc`` for the start
    of a quoted value that holds the lines after it.
    """
    _refuse_bad_line(path, data, unit, separator, len(fields), quoted=True)
    text = io.StringIO(data.decode(), newline="")
    width = len(fields)
    records = [
        record + [None] * (width - len(record))
        for record in csv.reader(text, delimiter=unit, strict=True)
    ]
    return pl.DataFrame(records, schema=dict.fromkeys(fields, pl.String), orient="row")


def _header(path: Path, data: bytes, separator: str, quoted: bool) -> list[str]:
    """The names of the columns."""
    first = io.TextIOWrapper(io.BytesIO(data), encoding="utf-8", errors="replace", newline="")
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


def _refuse_bad_line(
    path: Path, data: bytes, unit: str, separator: str, width: int, quoted: bool
) -> None:
    """Name line and column of what the parser stumbled over: it does not say where."""
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        start = data.rfind(b"\n", 0, error.start) + 1
        line = data.count(b"\n", 0, error.start) + 1
        column = data.count(unit.encode(), start, error.start) + 1
        raise InputError(
            f"{path}, line {line}, column {column}: not UTF-8; save the file as UTF-8"
        ) from None
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=unit, quoting=_quoting(quoted), strict=True
    )
    line = 1
    try:
        for fields in reader:
            if len(fields) > width:
                raise InputError(
                    f"{path}, line {line}, column {width + 1}: {len(fields)} fields where {width}"
                    f" are wanted; take out the {separator!r} that a value holds"
                )
            line = reader.line_num + 1
    except csv.Error as error:
        raise InputError(
            f"{path}, line {line}, column 1: a quoted value is not closed or not separated"
            f" ({error}); write a quotation mark within quotes twice"
        ) from None


@contextmanager
def _lines(path: Path, encoding: str) -> Iterator[io.TextIOWrapper]:
    """A text file, unpacked, with its line ends as they are."""
    encoding = "utf-8-sig" if encoding == "utf-8" else encoding
    with (
        gzip.open(path) if path.suffix == ".gz" else path.open("rb") as opened,
        io.TextIOWrapper(opened, encoding=encoding, newline="") as lines,
    ):
        yield lines
