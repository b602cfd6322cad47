"""Tables that people bring - CSV, TSV, JSONL, Parquet - as polars frames of text columns."""

import codecs
import csv
import io
import json
import re
from pathlib import Path

import polars as pl

from extract.errors import InputError

TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")

_QUOTED = re.compile(r'^"(?:[^"]|"")*"$')


def table_suffix(path: Path) -> str:
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
        One row per record. CSV and TSV columns are strings (an empty field is null, blank lines at
        the end are left out); JSONL and Parquet keep the types they carry.

    Raises:
        InputError: unknown suffix, missing file, or content that is not such a table; where a line
            is at fault it is named.
    """
    suffix = table_suffix(path)
    try:
        if not path.is_file():
            raise InputError(f"{path}: no such file")
        if suffix == ".parquet":
            return pl.read_parquet(path, glob=False)
        if path.stat().st_size == 0:
            raise InputError(f"{path}: the file is empty")
        if suffix == ".jsonl":
            return _read_jsonl(path)
        return _read_separated(path, "\t" if suffix == ".tsv" else ",", header)
    except OSError as error:
        raise InputError(f"{path}: not readable ({error.strerror or _first_line(error)})") from None
    except pl.exceptions.PolarsError as error:
        raise InputError(f"{path}: not readable as {suffix[1:]} ({_first_line(error)})") from None


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _read_jsonl(path: Path) -> pl.DataFrame:
    data = path.read_bytes().removeprefix(codecs.BOM_UTF8)
    if not data.strip():
        raise InputError(f"{path}: the file is empty")
    try:
        return pl.read_ndjson(io.BytesIO(data), infer_schema_length=None)
    except pl.exceptions.PolarsError:
        # Polars does not say which line; Python's own parser does.
        for number, line in enumerate(data.split(b"\n"), start=1):
            if problem := _not_an_object(line):
                raise InputError(
                    f"{path}, line {number}: {problem}; write one JSON object a line"
                ) from None
        raise


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
    tabs = separator == "\t"
    try:
        frame = pl.read_csv(
            path,
            separator=separator,
            quote_char=None if tabs else '"',
            has_header=header,
            infer_schema=False,
            glob=False,
        )
    except pl.exceptions.PolarsError:
        # A mark within an unquoted value, which Python's reader takes; or it names the bad line.
        frame = _read_line_by_line(path, separator, header)
    if tabs:
        frame = frame.rename({name: _unquoted(name) for name in frame.columns}, strict=False)
        frame = frame.with_columns(
            pl.when(column.str.contains(_QUOTED.pattern))
            .then(column.str.slice(1, column.str.len_chars() - 2).str.replace_all('""', '"'))
            .otherwise(column)
            .name.keep()
            for column in map(pl.col, frame.columns)
        )
    if not header:
        frame = frame.rename({name: str(i) for i, name in enumerate(frame.columns)})
    if not frame.width:
        return frame
    filled = frame.select(pl.any_horizontal(pl.all().is_not_null())).to_series().arg_true()
    return frame.head(int(filled[-1]) + 1 if len(filled) else 0)


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
