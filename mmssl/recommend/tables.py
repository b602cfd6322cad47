"""What ``recommend`` reads and writes: ids in, a table of recommendations out."""

from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from extract.errors import InputError
from extract.files import atomic_path
from extract.tables import TABLE_SUFFIXES, read_id_lines, read_table, table_suffix
from mmssl.data.ids import id_texts
from mmssl.data.interactions import DEFAULT_NAMES

SCHEMA = {
    "user_id": pl.String,
    "item_id": pl.String,
    "score": pl.Float32,
    "rank": pl.Int32,
    "source": pl.String,
}
_ARROW_SCHEMA = pa.schema(
    {
        "user_id": pa.string(),
        "item_id": pa.string(),
        "score": pa.float32(),
        "rank": pa.int32(),
        "source": pa.string(),
    }
)


@contextmanager
def open_writer(path: Path) -> Iterator[Callable[[pl.DataFrame], None]]:
    """Yield a function that appends a frame of ``SCHEMA``; the file appears whole, at the end.

    Raises:
        InputError: a suffix other than .parquet, .csv, .tsv, .jsonl, or an unwritable path.
    """
    suffix = table_suffix(path)
    try:
        with atomic_path(path) as temporary:
            if suffix == ".parquet":
                with pq.ParquetWriter(temporary, _ARROW_SCHEMA) as writer:
                    yield lambda frame: writer.write_table(frame.to_arrow().cast(_ARROW_SCHEMA))
                return
            with temporary.open("wb") as handle:
                if suffix == ".jsonl":
                    yield lambda frame: frame.write_ndjson(handle)
                    return
                separator = "\t" if suffix == ".tsv" else ","
                pl.DataFrame(schema=SCHEMA).write_csv(handle, separator=separator)
                yield lambda frame: frame.write_csv(
                    handle, separator=separator, include_header=False
                )
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error})") from None


def read_ids(
    given: str, known: Container[str], kind: Literal["user", "item"], option: str
) -> list[str]:
    """The ids meant by ``--users`` and the like: a file that holds them, or ids between commas.

    A ``.txt`` file holds one id a line; a table (.csv, .tsv, .jsonl, .parquet) has a column named
    ``user``, ``user_id`` or ``userId`` (``item``, ...), read as ``prepare`` reads it.

    Args:
        given: the option's value.
        known: the ids that there are. Spaces around an id in a list or a ``.txt`` file belong to it
            where such an id is known, and to the way it was typed elsewhere.
        kind: what the ids are of.
        option: its name, as ``--users``.

    Raises:
        InputError: the file is missing or unreadable, has no such column, or an id is empty.
    """
    path = Path(given)
    suffix = path.suffix.lower()
    if not _is_file(path):
        if suffix in (".txt", *TABLE_SUFFIXES):
            raise InputError(f"{option} {given}: no such file")
        return _typed(given.split(","), known, kind, option, "place")
    if suffix == ".txt":
        return _typed(read_id_lines(path), known, kind, str(path), "line")
    return _id_column(path, read_table(path), kind)


def read_histories(path: Path) -> dict[str, list[str]]:
    """User id -> item ids, in the order of a table with a column of each, as ``prepare`` reads it.

    Raises:
        InputError: the file is missing or unreadable, lacks a column, is empty, or has an empty id.
    """
    if not _is_file(path):
        raise InputError(f"{path}: no such file")
    frame = read_table(path)
    users, items = _id_column(path, frame, "user"), _id_column(path, frame, "item")
    histories: dict[str, list[str]] = {}
    for user, item in zip(users, items, strict=True):
        histories.setdefault(user, []).append(item)
    return histories


def _id_column(path: Path, frame: pl.DataFrame, kind: Literal["user", "item"]) -> list[str]:
    names = [name for name in DEFAULT_NAMES[kind] if name in frame.columns]
    if not names:
        raise InputError(
            f"{path}: no column of {kind} ids; expected {' or '.join(DEFAULT_NAMES[kind])}, found"
            f" {', '.join(frame.columns)}"
        )
    ids = id_texts(path, frame[names[0]]).fill_null("").to_list()
    return _without_empty(ids, kind, str(path), "row")


def _typed(ids: list[str], known: Container[str], kind: str, where: str, unit: str) -> list[str]:
    return _without_empty([id_ if id_ in known else id_.strip() for id_ in ids], kind, where, unit)


def _without_empty(ids: list[str], kind: str, where: str, unit: str) -> list[str]:
    if not ids:
        raise InputError(f"{where}: no {kind} id in it")
    if "" in ids:
        raise InputError(f"{where}, {unit} {ids.index('') + 1}: an empty {kind} id")
    return ids


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # A long list of ids is no file name.
        return False
