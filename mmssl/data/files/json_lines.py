"""Files of one JSON object a line, read block by block: what is wrong has a line and a column.

A block is parsed by polars, with only the keys wanted. What polars refuses or reads otherwise than
the standard library - halves of surrogate pairs, texts where lists should be, a key that stands
twice - is read again by the latter, line by line, which also names what is wrong.
"""

import codecs
import io
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, NoReturn, cast

import numpy as np
import polars as pl

from extract.errors import InputError, nearest
from extract.files import atomic_path
from mmssl.data.files.finding import open_unpacked

_BLOCK_BYTES = 4 * 2**20
_LONGEST_LINE = 64 * 2**20
LINE = "line"
"""The column that says in which line of the file, from 1, an object stands."""

Keys = Mapping[str, pl.DataType]
"""Key to type: ``String``, ``List(String)``, or ``List(Struct)`` with fields of ``String``."""

_HALF_PAIR = re.compile("[\ud800-\udfff]")
_REPEATED = object()


def scan_json_lines(
    path: Path, keys: Keys, *, block_bytes: int = _BLOCK_BYTES
) -> Iterator[pl.DataFrame]:
    """Read a file, packed or not, a block of lines at a time: memory does not grow with the file.

    Numbers and truth values are given as text; half of a surrogate pair becomes U+FFFD; a text
    where a list should be is a list of one, and lists in lists are made flat. Blank lines and a
    byte-order mark are passed over.

    Args:
        path: the file; one that ends in ``.gz`` is unpacked on the way.
        keys: those to read, null where an object lacks one or has null.
        block_bytes: about what a block takes, unpacked.

    Yields:
        A frame with a column a key, of its type, and ``line`` (int64).

    Raises:
        InputError: missing, empty or not readable, a line that is no JSON object or holds a value
            of another type or a key twice; file, line and column are named.
    """
    done, found = 0, False
    with open_unpacked(path) as handle:
        for block in _line_blocks(path, handle, block_bytes):
            frame = _parsed(path, block, keys, done)
            done += block.count(b"\n")
            if frame.height:
                found = True
                yield frame
    if not found:
        raise InputError(f"{path}: the file is empty")


def read_json_lines(path: Path, keys: Keys, required: tuple[str, ...] = ()) -> pl.DataFrame:
    """Read all of ``scan_json_lines`` into one frame, without the keys that no object has.

    Args:
        path: as of ``scan_json_lines``.
        keys: as of ``scan_json_lines``.
        required: keys that may not be absent from all lines.

    Raises:
        InputError: as ``scan_json_lines``, or a required key is nowhere.
    """
    # What is parsed has room to spare in every block; a copy has not.
    frame = pl.concat(block.rechunk() for block in scan_json_lines(path, keys))
    absent = [key for key in keys if frame[key].null_count() == frame.height]
    for key in required:
        if key in absent:
            there = first_object(path)
            raise InputError(
                f"{path}, line {frame[LINE][0]}, column '{key}': no such key"
                f"{nearest(key, list(there))}"
            )
    return frame.drop(absent)


def first_object(path: Path) -> dict[str, Any]:
    """The object of the first line that is not blank; empty where there is none to be read.

    Never raises for what the file holds.
    """
    try:
        with open_unpacked(path) as handle:
            for block in _line_blocks(path, handle, 2**16):
                for line in block.split(b"\n"):
                    if line.strip():
                        value = json.loads(line)
                        return value if isinstance(value, dict) else {}
    except (InputError, ValueError, RecursionError):
        pass
    return {}


def write_json_lines(frame: pl.DataFrame, path: Path) -> None:
    """Write one object a row, atomically, null as null."""
    with atomic_path(path) as temporary:
        frame.write_ndjson(temporary)


def _line_blocks(path: Path, handle: IO[bytes], block_bytes: int) -> Iterator[bytes]:
    """Pieces that end with a line."""
    held = handle.read(block_bytes).removeprefix(codecs.BOM_UTF8)
    line = 1
    while held:
        end = held.rfind(b"\n") + 1
        more = handle.read(block_bytes)
        if not more:
            yield held
            return
        if end:
            yield held[:end]
            line += held.count(b"\n", 0, end)
        held = held[end:] + more
        if len(held) > _LONGEST_LINE and b"\n" not in held:
            raise InputError(
                f"{path}, line {line}, column {_LONGEST_LINE}: the line does not end; write one"
                " JSON object a line"
            )


def _parsed(path: Path, block: bytes, keys: Keys, done: int) -> pl.DataFrame:
    """A block's objects; ``done`` lines stand before it."""
    if not block.strip():
        return pl.DataFrame(schema={**keys, LINE: pl.Int64})
    try:
        frame = pl.read_ndjson(io.BytesIO(block), schema=dict(keys))
    except pl.exceptions.PolarsError:
        return _by_line(path, block.split(b"\n"), keys, done)
    ends = block.count(b"\n") + (not block.endswith(b"\n"))
    lines: list[bytes] | None = None
    numbers = np.arange(ends, dtype=np.int64)
    if frame.height != ends:
        lines = block.split(b"\n")
        numbers = np.array([at for at, line in enumerate(lines) if line.strip()], dtype=np.int64)
        if len(numbers) != frame.height:
            return _by_line(path, lines, keys, done)
    frame = frame.with_columns(pl.Series(LINE, numbers + (done + 1)))
    repeated = [
        mark for key in keys if block.count(mark := f'"{key}"'.encode()) > frame[key].count()
    ]
    odd = frame.select(pl.any_horizontal(_odd(key, type_) for key, type_ in keys.items()))
    again = odd.to_series().fill_null(False).arg_true().to_list()
    if repeated or again:
        lines = lines or block.split(b"\n")
    if lines is not None and repeated:
        rows = (row for row, at in enumerate(numbers) if _holds_twice(lines[at], repeated))
        again = sorted({*again, *rows})
    if lines is None or not again:
        return frame
    mended = pl.concat(
        [_by_line(path, [lines[numbers[row]]], keys, done + int(numbers[row])) for row in again]
    )
    kept = frame.with_row_index().filter(~pl.col("index").is_in(again)).drop("index")
    return pl.concat([kept, mended]).sort(LINE)


def _holds_twice(line: bytes, marks: list[bytes]) -> bool:
    return any(line.count(mark) > 1 for mark in marks)


def _odd(key: str, type_: pl.DataType) -> pl.Expr:
    """Where polars may have read half of a pair as NUL, or put a list or object down as text."""
    if type_ == pl.String:
        return pl.col(key).str.contains(r"^[\[{]|\x00")
    if type_ == pl.List(pl.String):
        return pl.col(key).list.eval(pl.element().str.contains(r"^[\[{]|\x00")).list.any()
    return pl.lit(False)


def _by_line(path: Path, lines: list[bytes], keys: Keys, done: int) -> pl.DataFrame:
    rows = [
        {LINE: number, **_row(path, line, keys, number)}
        for number, line in enumerate(lines, start=done + 1)
        if line.strip()
    ]
    return pl.DataFrame(rows, schema={**keys, LINE: pl.Int64}, orient="row")


def _row(path: Path, line: bytes, keys: Keys, number: int) -> dict[str, Any]:
    """A line's values, by the standard library."""
    try:
        value = json.loads(
            line.decode(),
            parse_float=_number_text,
            parse_int=str,
            parse_constant=lambda _: None,
            object_pairs_hook=_object,
        )
    except UnicodeDecodeError as error:
        column = len(line[: error.start].decode()) + 1
        _refuse(path, number, column, "not UTF-8; save the file as UTF-8")
    except json.JSONDecodeError as error:
        _refuse(path, number, error.colno, _not_json(path, line, error.msg))
    except RecursionError:
        _refuse(path, number, 1, "not JSON that can be read: it is nested too deep")
    if not isinstance(value, dict):
        _refuse(path, number, 1, f"holds {_kind(value)}; write one JSON object a line")
    if value.get(_REPEATED) in keys:
        _refuse(path, number, f"'{value[_REPEATED]}'", "the key stands twice; take one of them out")
    row = {}
    for key, type_ in keys.items():
        try:
            row[key] = _fitted(value.get(key), type_)
        except TypeError as error:
            _refuse(path, number, f"'{key}'", f"holds {error}; mend it")
    return row


def _refuse(path: Path, line: int, column: int | str, problem: str) -> NoReturn:
    raise InputError(f"{path}, line {line}, column {column}: {problem}")


def _not_json(path: Path, line: bytes, problem: str) -> str:
    if line.lstrip().startswith(b"{'"):
        packed = path.suffix == ".gz"
        made = path.stem if packed else f"strict.json && mv strict.json {path.name}"
        return (
            "not JSON but Python's own notation, with single quotes, as data sets of 2014 have it;"
            " such a file is not evaluated here; make it JSON, in which it is read:"
            f" {'zcat' if packed else 'cat'} {path.name} |"
            ' python3 -c "import ast, json, sys;'
            ' [print(json.dumps(ast.literal_eval(line))) for line in sys.stdin]"'
            f" > {made}"
        )
    return f"not JSON ({problem}); write one JSON object a line"


def _object(pairs: list[tuple[str, Any]]) -> dict[Any, Any]:
    made: dict[Any, Any] = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        made[_REPEATED] = next(name for at, name in enumerate(names) if name in names[:at])
    return made


def _number_text(text: str) -> str:
    """A number as polars writes it: 4.0 as ``4``."""
    number = float(text)
    return str(int(number)) if number.is_integer() and abs(number) < 2**53 else repr(number)


def _fitted(value: Any, type_: pl.DataType) -> Any:
    """A value as the type wants it.

    Raises:
        TypeError: it cannot be; what it is.
    """
    if value is None:
        return None
    if isinstance(type_, pl.List):
        inner = cast(pl.DataType, type_.inner)
        if inner != pl.String and not isinstance(value, list):
            raise TypeError(f"{_kind(value)}, where a list should be")
        return [_fitted(each, inner) for each in _flat(value)]
    if isinstance(type_, pl.Struct):
        if not isinstance(value, dict):
            raise TypeError(f"{_kind(value)}, where an object should be")
        return {
            field.name: _fitted(value.get(field.name), cast(pl.DataType, field.dtype))
            for field in type_.fields
        }
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str):
        raise TypeError(f"{_kind(value)}, where a text should be")
    return _HALF_PAIR.sub("\ufffd", value)


def _flat(value: Any) -> Iterator[Any]:
    if isinstance(value, list):
        for each in value:
            yield from _flat(each)
    elif value != "":
        yield value


def _kind(value: Any) -> str:
    kinds = {dict: "an object", list: "a list", str: "a text or number", type(None): "null"}
    return kinds.get(type(value), type(value).__name__)
