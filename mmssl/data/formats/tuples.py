"""Files of tuples without a header, as several tools have them: user, item, rating, timestamp."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl

from extract.errors import InputError
from mmssl.data.features import read_row_ids
from mmssl.data.files.delimited import DelimitedTable, read_delimited
from mmssl.data.files.finding import first_line
from mmssl.data.formats.base import PARTS, RawDataset, uneven
from mmssl.data.interactions import DEFAULT_NAMES, InteractionTable, InvalidRows

ROLES = ("user", "item", "rating", "timestamp")
_NAMES = frozenset(DEFAULT_NAMES["user"] + DEFAULT_NAMES["item"])


def names_columns(path: Path) -> bool:
    """Whether a TSV's first line names the users' or the items' column: a header, not a tuple."""
    return any(name.strip('"') in _NAMES for name in first_line(path).split("\t"))


def read_tuples(
    path: Path,
    separator: str,
    invalid_rows: InvalidRows = "error",
    names: Mapping[str, Sequence[str]] | None = None,
) -> InteractionTable:
    """Read a file whose first line says how many of the four columns there are.

    Args:
        path: the file. A column of ratings or timestamps that is empty throughout is not there.
        separator: between the fields.
        invalid_rows: as of ``read_interactions``.
        names: ``user`` or ``item`` to a list of ids, if the file has their places in it, from 0.

    Raises:
        InputError: as ``read_delimited`` and ``DelimitedTable.interactions``; the first line is a
            header; a number beyond the list of ids.
    """
    width = first_line(path).count(separator) + 1
    table = read_delimited(path, separator, names=ROLES[:width] if width > 1 else ROLES)
    if table.frame.height and all(
        table.frame[kind][0] in DEFAULT_NAMES[kind] for kind in ("user", "item")
    ):
        raise InputError(
            f"{path}, {table.place('user', table.rows[0])}: a header, which such files have not;"
            " take the line out"
        )
    for kind, ids in (names or {}).items():
        table = _with_names(table, kind, ids)
    columns = [
        role
        for role in table.frame.columns
        if role in ("user", "item") or table.frame[role].count()
    ]
    return table.interactions(dict(zip(columns, columns, strict=True)), invalid_rows)


def read_split(
    files: Mapping[str, Path],
    separator: str,
    invalid_rows: InvalidRows,
    names: Mapping[str, Sequence[str]] | None = None,
) -> tuple[dict[str, InteractionTable], tuple[str, ...]]:
    """Read the parts of a ready split; one without a validation part gets one without rows.

    Args:
        files: ``train``, ``test`` and perhaps ``val``, to files.
        separator: as of ``read_tuples``.
        invalid_rows: as of ``read_tuples``.
        names: as of ``read_tuples``.

    Returns:
        ``train``, ``val`` and ``test`` to tables; warnings.
    """
    read = {part: read_tuples(path, separator, invalid_rows, names) for part, path in files.items()}
    if "val" in read:
        return {part: read[part] for part in PARTS}, ()
    train = read["train"]
    read["val"] = InteractionTable(train.path, train.frame.clear())
    warning = f"{train.path.parent}: no validation part there; it is left empty"
    return {part: read[part] for part in PARTS}, (warning,)


def read_names(folder: Path) -> dict[str, list[str]]:
    """``user`` and ``item`` to the lines of ``<kind>_ids.txt``, as far as there are such files.

    Raises:
        InputError: as ``read_row_ids``.
    """
    files = {kind: folder / f"{kind}_ids.txt" for kind in ("user", "item")}
    return {kind: read_row_ids(path, kind) for kind, path in files.items() if path.is_file()}


def tuple_frames(content: RawDataset, tool: str) -> tuple[dict[str, pl.DataFrame], list[str]]:
    """The parts' frames with the columns that all of them have, in the order of ``ROLES``.

    An empty validation part is left out, for the tools read no empty files.

    Returns:
        Part to frame; a note on what that loses.

    Raises:
        InputError: another part is empty; the message names ``tool``.
    """
    parts = {
        part: table for part, table in content.parts.items() if table.frame.height or part != "val"
    }
    for part, table in parts.items():
        if not table.frame.height:
            raise InputError(f"{tool} wants a {part} part that is not empty; split otherwise")
    frames = {part: table.frame for part, table in parts.items()}
    shared = [role for role in ROLES if all(role in frame.columns for frame in frames.values())]
    notes = uneven(replace(content, parts=parts))
    if len(frames) < len(content.parts):
        notes.append("the validation part is empty, and no file is written for it")
    return {part: frame.select(shared) for part, frame in frames.items()}, notes


def _with_names(table: DelimitedTable, kind: str, ids: Sequence[str]) -> DelimitedTable:
    """The table with original ids in place of numbers; an empty field stays so."""
    values = table.frame[kind]
    numbers = values.cast(pl.UInt32, strict=False)
    wrong = (values.is_not_null() & (numbers.is_null() | (numbers >= len(ids)))).arg_true()
    if len(wrong):
        at = int(wrong[0])
        raise table.fault(
            kind,
            table.rows[at],
            f"{values[at]!r} is no line of {kind}_ids.txt, which has {len(ids)}, from 0; mend one"
            " of them",
        )
    named = pl.Series(kind, ids, dtype=pl.String).gather(numbers)
    return replace(table, frame=table.frame.with_columns(named))
