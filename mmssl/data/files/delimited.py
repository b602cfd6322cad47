"""Files of lines and separators; what is wrong in one has a line and a column."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from extract.errors import InputError, nearest
from extract.files import atomic_path
from mmssl.data.files.records import UNIT_SEPARATOR, open_lines, read_records
from mmssl.data.interactions import InteractionTable, InvalidRows, check_interactions


@dataclass(frozen=True)
class DelimitedTable:
    """What a file holds.

    ``frame``: text columns, null where a field is empty. ``rows``: int64, the number of each record
    in the file, the first after the header being 1, blank lines counted.
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
            InputError: a column is absent, or a value cannot be read.
        """
        self.require(*columns.values())
        frame = self.frame.select(
            *(pl.col(column).alias(role) for role, column in columns.items()),
            self.rows.alias("row"),
        )
        return check_interactions(
            self.path, frame, invalid_rows, lambda role, row: self.place(columns[role], row)
        )

    def _line(self, row: int) -> int:
        if not self.quoted:
            return row + self.header
        # A quoted value may hold line breaks, so lines have to be counted.
        with open_lines(self.path, self.encoding) as lines:
            reader = csv.reader(lines, delimiter=self.separator)
            line = 1
            for record, _ in enumerate(reader):
                if record == row - 1 + self.header:
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
    frames: list[pl.DataFrame] = []
    rows: list[pl.Series] = []
    done = 0 if names is None else 1  # the header is record 0
    for frame in read_records(path, separator, names, quoted=quoted, encoding=encoding):
        numbers = pl.int_range(done, done + frame.height, dtype=pl.Int64, eager=True)
        done += frame.height
        filled = frame.select(pl.any_horizontal(pl.all().is_not_null())).to_series()
        if columns is not None:
            frame = frame.select(name for name in frame.columns if name in columns)
        if not filled.all():
            frame, numbers = frame.filter(filled), numbers.filter(filled)
        frames.append(frame)
        rows.append(numbers.alias("row"))
    frame, numbers = pl.concat(frames), pl.concat(rows)
    if names is None:
        frame, numbers = frame.slice(1), numbers.slice(1)
    return DelimitedTable(path, frame, numbers, separator, quoted, names is None, encoding)


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
            odd = frame[name].str.contains_any([separator, "\n", "\r", UNIT_SEPARATOR])
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
