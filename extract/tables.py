"""Tables that people bring - CSV, TSV, JSONL, Parquet - as polars frames of text columns."""

import codecs
import csv
import io
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from extract.errors import InputError
from extract.locations import Location

TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")

_QUOTED = re.compile(r'^"(?:[^"]|"")*"$')


def table_suffix(path: Location) -> str:
    """The suffix that says what kind of table a path is, in lower case.

    Raises:
        InputError: it is none of ``TABLE_SUFFIXES``.
    """
    suffix = path.suffix.lower()
    if suffix not in TABLE_SUFFIXES:
        raise InputError(f"{path}: unknown kind of table; use one of {', '.join(TABLE_SUFFIXES)}")
    return suffix


def read_table(path: Path, *, header: bool = True) -> pl.DataFrame:
    """Read a table by its suffix; CSV and TSV values stay text, so that an id ``007`` stays itself.

    In a TSV a quotation mark is an ordinary character; only a value that is quoted as a whole loses
    its quotes. A CSV is read the same way where a mark stands within an unquoted value: ``19" tv``.

    Args:
        path: a ``.csv``, ``.tsv``, ``.jsonl`` or ``.parquet`` file; ``*`` and ``[`` in its name
            are ordinary characters.
        header: False for CSV or TSV without a header row; columns are then ``"0"``, ``"1"``...

    Returns:
        One row per record. CSV and TSV columns are strings (an empty field, quoted or not, is null;
        blank lines at the end are left out); JSONL and Parquet keep the types they carry.

    Raises:
        InputError: unknown suffix, missing file, or content that is not such a table; where a line
            is at fault it is named.
    """
    suffix = table_suffix(path)
    with _table_errors(path):
        if suffix == ".parquet":
            return pl.read_parquet(path, glob=False)
        if suffix == ".jsonl":
            return _read_jsonl(path)
        return _read_separated(path, "\t" if suffix == ".tsv" else ",", header)


def scan_table(
    path: Path, columns: Sequence[str] | None = None, *, block_bytes: int = 4 * 2**20
) -> Iterator[pl.DataFrame]:
    """Read a table with a header as ``read_table`` does, block by block: memory does not grow.

    Args:
        path: as ``read_table``.
        columns: those to read, all of which the table has (``table_columns``); all when left out.
        block_bytes: about what a block takes in the file.

    Yields:
        Frames of the same columns and types, which together are what ``read_table`` gives.

    Raises:
        InputError: as ``read_table``, when the iteration comes to it.
    """
    suffix = table_suffix(path)
    with _table_errors(path):
        if suffix == ".parquet":
            blocks = _scan_parquet(path, columns, block_bytes)
        elif suffix == ".jsonl":
            blocks = _scan_jsonl(path, columns, block_bytes)
        else:
            blocks = _scan_separated(path, "\t" if suffix == ".tsv" else ",", columns, block_bytes)
        yield from blocks


def table_columns(path: Path) -> list[str]:
    """The names of a table's columns, in its order.

    Raises:
        InputError: as ``read_table``.
    """
    with _table_errors(path):
        if table_suffix(path) == ".parquet":
            return list(pl.read_parquet_schema(path))
        if table_suffix(path) == ".jsonl":
            return list(_jsonl_schema(path, 4 * 2**20))
    first = next(scan_table(path), None)
    return [] if first is None else first.columns


@contextmanager
def _table_errors(path: Path) -> Iterator[None]:
    """What can be wrong with any table, in one line."""
    suffix = table_suffix(path)
    try:
        if not path.is_file():
            raise InputError(f"{path}: no such file")
        if suffix != ".parquet" and path.stat().st_size == 0:
            raise InputError(f"{path}: the file is empty")
        yield
    except OSError as error:
        raise InputError(f"{path}: not readable ({error.strerror or _first_line(error)})") from None
    except (pl.exceptions.PolarsError, pa.ArrowException) as error:
        raise InputError(f"{path}: not readable as {suffix[1:]} ({_first_line(error)})") from None


def read_id_lines(path: Path) -> list[str]:
    """The lines of a UTF-8 text file of ids, each as it stands; a byte-order mark is no part of it.

    Lines end in LF or CR LF, and in nothing else that Unicode has for it: ids may hold that.

    Raises:
        InputError: the file is missing or is not UTF-8 text.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (UnicodeDecodeError, OSError) as error:
        raise InputError(f"{path}: not readable as UTF-8 text ({error})") from None
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    return lines if lines[-1] else lines[:-1]


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _read_jsonl(path: Path) -> pl.DataFrame:
    data = path.read_bytes().removeprefix(codecs.BOM_UTF8)
    if not data.strip():
        raise InputError(f"{path}: the file is empty")
    try:
        return pl.read_ndjson(io.BytesIO(data), infer_schema_length=None)
    except pl.exceptions.PolarsError:
        _refuse_bad_line(path)
        raise


def _refuse_bad_line(path: Path) -> None:
    """Name the line of a JSONL file that polars could not read: it does not say which."""
    with path.open("rb") as handle:
        handle.seek(len(codecs.BOM_UTF8) if handle.read(3) == codecs.BOM_UTF8 else 0)
        for number, line in enumerate(handle, start=1):
            if problem := _not_an_object(line):
                raise InputError(f"{path}, line {number}: {problem}; write one JSON object a line")


def _not_an_object(line: bytes) -> str | None:
    if not line.strip():
        return None
    try:
        value = json.loads(line)
    except UnicodeDecodeError:
        return "not UTF-8"
    except (ValueError, RecursionError) as error:
        return f"not JSON ({_first_line(error)})"
    if half := re.search("[\ud800-\udfff]", json.dumps(value, ensure_ascii=False)):
        # Python's parser lets it pass; it is no character and no UTF-8.
        return f"half of a character (\\u{ord(half[0]):04x}), which a text cut in two leaves behind"
    return None if isinstance(value, dict) else f"holds a {type(value).__name__}, not an object"


def _read_separated(path: Path, separator: str, header: bool) -> pl.DataFrame:
    try:
        frame = pl.read_csv(path, has_header=header, **_csv_options(separator))
    except pl.exceptions.PolarsError:
        # A mark within an unquoted value, which Python's reader takes; or it names the bad line.
        frame = _read_line_by_line(path, separator, header)
    frame = _tidied(frame, separator)
    if not header:
        frame = frame.rename({name: str(i) for i, name in enumerate(frame.columns)})
    return frame.head(_filled_rows(frame))


def _csv_options(separator: str) -> dict[str, Any]:
    return {
        "separator": separator,
        "quote_char": None if separator == "\t" else '"',
        "infer_schema": False,
        "glob": False,
    }


def _tidied(frame: pl.DataFrame, separator: str) -> pl.DataFrame:
    """Quotes around whole values of a TSV taken off; a field that is empty, quoted or not, null."""
    if separator == "\t":
        frame = frame.rename({name: _unquoted(name) for name in frame.columns}, strict=False)
        frame = frame.with_columns(
            pl.when(column.str.contains(_QUOTED.pattern))
            .then(column.str.slice(1, column.str.len_chars() - 2).str.replace_all('""', '"'))
            .otherwise(column)
            .name.keep()
            for column in map(pl.col, frame.columns)
        )
    return frame.with_columns(pl.when(pl.all() != "").then(pl.all()).name.keep())


def _filled_rows(frame: pl.DataFrame) -> int:
    """How many rows there are up to the last that is not blank."""
    if not frame.width or not frame.height:
        return frame.height
    filled = frame.select(pl.any_horizontal(pl.all().is_not_null())).to_series().arg_true()
    return int(filled[-1]) + 1 if len(filled) else 0


def _unquoted(text: str) -> str:
    return text[1:-1].replace('""', '"') if _QUOTED.fullmatch(text) else text


def _read_line_by_line(path: Path, separator: str, header: bool) -> pl.DataFrame:
    """As polars reads it, but slower, with marks in unquoted values, and with the line in errors.

    Raises:
        InputError: not UTF-8, a quoted value that is not closed, or a row of too many fields.
    """
    data = path.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}, line {line}: not UTF-8; save the table as UTF-8") from None
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=separator,
        quoting=csv.QUOTE_NONE if separator == "\t" else csv.QUOTE_MINIMAL,
        strict=True,
    )
    rows: list[list[str | None]] = []
    line = 1
    try:
        for row in reader:
            if rows and len(row) > len(rows[0]):
                kind = "a tab" if separator == "\t" else f"{separator!r}"
                remedy = "take it out" if separator == "\t" else "put the value in quotes"
                raise InputError(
                    f"{path}, line {line}: not readable as {path.suffix[1:]}: {len(row)} fields,"
                    f" but the first row has {len(rows[0])}; where a value itself holds {kind},"
                    f" {remedy}"
                )
            if rows or row:
                rows.append([value or None for value in row])
            line = reader.line_num + 1
    except csv.Error as error:
        raise InputError(
            f"{path}, line {line}: a quoted value is not closed or not separated ({error}); write"
            " a quotation mark within quotes twice"
        ) from None
    width = len(rows[0]) if rows else 0
    names: list[str] = []
    for name in rows.pop(0) if header and rows else [str(i) for i in range(width)]:
        repeated = names.count(name or "")
        names.append(f"{name}_duplicated_{repeated - 1}" if repeated else name or "")
    padded = [row + [None] * (width - len(row)) for row in rows]
    return pl.DataFrame(padded, schema=dict.fromkeys(names, pl.String), orient="row")


def _scan_parquet(
    path: Path, columns: Sequence[str] | None, block_bytes: int
) -> Iterator[pl.DataFrame]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        rows = max(1, file.metadata.num_rows)
        size = sum(file.metadata.row_group(i).total_byte_size for i in range(file.num_row_groups))
        batch = max(1, min(2**16, block_bytes * rows // max(1, size)))
        for block in file.iter_batches(batch, columns=None if columns is None else list(columns)):
            yield pl.DataFrame(pl.from_arrow(block))


def _scan_jsonl(
    path: Path, columns: Sequence[str] | None, block_bytes: int
) -> Iterator[pl.DataFrame]:
    schema = _jsonl_schema(path, block_bytes)
    wanted = schema if columns is None else {name: schema[name] for name in columns}
    for block in _line_blocks(path, block_bytes, quote=None):
        if block.strip():
            yield pl.read_ndjson(io.BytesIO(block), schema=wanted)


def _jsonl_schema(path: Path, block_bytes: int) -> dict[str, pl.DataType]:
    """The columns of all lines, each of a type that holds the values of all."""
    schemas: dict[tuple[tuple[str, pl.DataType], ...], None] = {}
    try:
        for block in _line_blocks(path, block_bytes, quote=None):
            if block.strip():
                found = pl.read_ndjson(io.BytesIO(block), infer_schema_length=None).schema
                schemas[tuple(found.items())] = None
    except pl.exceptions.PolarsError:
        _refuse_bad_line(path)
        raise
    if not schemas:
        raise InputError(f"{path}: the file is empty")
    frames = [pl.DataFrame(schema=dict(schema)) for schema in schemas]
    return dict(pl.concat(frames, how="diagonal_relaxed").schema)


def _scan_separated(
    path: Path, separator: str, columns: Sequence[str] | None, block_bytes: int
) -> Iterator[pl.DataFrame]:
    """Blocks that end with a record, parsed one by one as ``read_table`` parses the whole."""
    options = _csv_options(separator)
    names: list[str] | None = None
    blank = pl.DataFrame()
    done = 0
    blocks = _line_blocks(path, block_bytes, quote=options["quote_char"])
    try:
        for block in blocks:
            if names is None:
                frame = pl.read_csv(io.BytesIO(block), **options)
                names = frame.columns
            else:
                # With a header, because what comes first in a file is read otherwise.
                header = separator.join(f"c{i}" for i in range(len(names)))
                frame = pl.read_csv(io.BytesIO(header.encode() + b"\n" + block), **options)
                frame.columns = names
            done += frame.height
            frame = _tidied(frame, separator)
            # Blank lines are rows only where another row follows.
            frame = pl.concat([blank, frame]) if blank.height else frame
            filled = _filled_rows(frame)
            frame, blank = frame.head(filled), frame.slice(filled)
            if frame.height:
                yield _chosen(frame, columns)
    except pl.exceptions.PolarsError:
        # As in _read_separated; such a table is held whole.
        rest = _tidied(_read_line_by_line(path, separator, header=True), separator)
        rest = rest.slice(done - blank.height)
        rest = rest.head(_filled_rows(rest))
        if rest.height or not done:
            yield _chosen(rest, columns)
    else:
        if names is not None and not done - blank.height:
            empty = pl.DataFrame(schema=dict.fromkeys(names, pl.String))
            yield _chosen(_tidied(empty, separator), columns)


def _chosen(frame: pl.DataFrame, columns: Sequence[str] | None) -> pl.DataFrame:
    return frame if columns is None else frame.select(columns)


def _line_blocks(path: Path, block_bytes: int, quote: str | None) -> Iterator[bytes]:
    """A file in pieces that end with a line, where ``quote`` marks say so the end of a record."""
    mark = None if quote is None else quote.encode()
    with path.open("rb") as handle:
        held = handle.read(block_bytes).removeprefix(codecs.BOM_UTF8)
        while held:
            end = _end_of_record(held, mark)
            more = handle.read(block_bytes)
            if not more:
                yield held
                return
            if end:
                yield held[:end]
            held = held[end:] + more


def _end_of_record(data: bytes, mark: bytes | None) -> int:
    """Where the last whole record ends: after a line feed outside of quotes; 0 if there is none."""
    end = data.rfind(b"\n") + 1
    if mark is None:
        return end
    open_marks = data.count(mark, 0, end) % 2
    while end and open_marks:
        before = data.rfind(b"\n", 0, end - 1) + 1
        open_marks = (open_marks + data.count(mark, before, end)) % 2
        end = before
    return end


def write_table(frame: pl.DataFrame, path: Path) -> None:
    """Write a frame atomically as ``.csv``, ``.tsv``, ``.jsonl`` or ``.parquet``, by the suffix.

    Raises:
        InputError: unknown suffix.
    """
    from extract.files import atomic_path

    suffix = table_suffix(path)
    with atomic_path(path) as temporary:
        if suffix == ".parquet":
            frame.write_parquet(temporary)
        elif suffix == ".jsonl":
            frame.write_ndjson(temporary)
        else:
            frame.write_csv(temporary, separator="\t" if suffix == ".tsv" else ",")
