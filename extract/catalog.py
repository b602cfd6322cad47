"""The item table: which items there are, and where each one's medium is."""

import hashlib
import json
import os
import string
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from extract.config import ExtractionConfig
from extract.encoders.base import Modality
from extract.errors import InputError, nearest
from extract.media.audio import AUDIO_SUFFIXES
from extract.media.image import IMAGE_SUFFIXES
from extract.media.text import TEXT_SUFFIXES
from extract.tables import read_table

ID_COLUMNS = ("item_id", "id", "item")

MEDIUM_COLUMNS: dict[Modality, tuple[str, ...]] = {
    "image": ("image", "image_path"),
    "audio": ("audio", "audio_path"),
    "text": ("text", "description", "title"),
}
"""Columns that are taken when none is named; the first that the table has."""

SUFFIXES: dict[Modality, tuple[str, ...]] = {
    "image": IMAGE_SUFFIXES,
    "audio": AUDIO_SUFFIXES,
    "text": TEXT_SUFFIXES,
}


@dataclass(frozen=True, slots=True)
class Item:
    """One row: at most one of ``path`` and ``text``; neither where the row has no such medium."""

    id: str
    path: str | None
    text: str | None


@dataclass(frozen=True)
class Catalog:
    """The items of one modality in table order; ids are unique and never empty.

    Built by ``read_catalog``. ``items`` cuts a part out, so that nothing but the table itself is
    held whole.
    """

    frame: pl.DataFrame
    """Column ``id`` and the columns that ``medium`` reads."""
    medium: pl.Expr
    """The path or text of a row, null where it has none."""
    holds_text: bool
    """Whether ``medium`` is the text itself; otherwise it is a path."""
    source: str
    """In words, where the medium comes from: a column, a template or a folder."""
    base: Path
    """The folder that relative paths belong to."""

    def __len__(self) -> int:
        return self.frame.height

    def items(self, start: int, stop: int) -> list[Item]:
        """Rows ``start`` to ``stop`` (excluded)."""
        rows = self.frame.slice(start, stop - start).select("id", self.medium.alias("medium"))
        if self.holds_text:
            return [Item(id=name, path=None, text=text) for name, text in rows.iter_rows()]
        # A cell of spaces names no file.
        return [
            Item(id=name, path=path if path and path.strip() else None, text=None)
            for name, path in rows.iter_rows()
        ]

    def ids_digest(self) -> str:
        """SHA-256 over the ids in order, each as JSON text and a line feed."""
        digest = hashlib.sha256()
        for name in self.frame["id"]:
            digest.update(json.dumps(name).encode() + b"\n")
        return digest.hexdigest()


def read_catalog(config: ExtractionConfig) -> Catalog:
    """Read the item table, or the folder, that ``config`` names.

    Raises:
        InputError: unreadable or empty table, unknown column, bad template, an id that is empty or
            stands in two rows (both are named).
    """
    if config.items.is_dir():
        return _from_folder(config)
    if not config.items.exists():
        raise InputError(f"{config.items}: no such file or folder")
    table = read_table(config.items)
    if table.height == 0:
        raise InputError(f"{config.items}: the table holds no items")
    id_column = _column(config.items, table, config.id_column, ID_COLUMNS, "--id-column")
    ids = _ids(config.items, table[id_column])
    holds_text = config.modality == "text"
    if config.text_template is not None:
        pieces = parse_template(config.text_template)
        columns = [column for _, column in pieces if column is not None]
        for column in columns:
            _require(config.items, table, column, "the text template")
        medium = _template_expression(pieces)
        source = f"template {config.text_template!r}"
    else:
        usual = MEDIUM_COLUMNS[config.modality]
        columns = [_column(config.items, table, config.column, usual, "--column")]
        medium = pl.col(f"from {columns[0]}")
        source = f"column {columns[0]!r}"
    media = [
        _as_text(config.items, table[column], or_numbers=holds_text).alias(f"from {column}")
        for column in dict.fromkeys(columns)
    ]
    return Catalog(
        frame=pl.DataFrame([ids, *media]),
        medium=medium,
        holds_text=holds_text,
        source=source,
        base=config.items.parent,
    )


def read_item_ids(path: Path, id_column: str | None = None) -> list[str]:
    """The ids of an item table, in its order, whatever else its columns hold.

    Args:
        path: the table.
        id_column: the column of the ids; None: the first usual one that the table has.

    Raises:
        InputError: unreadable or empty table, no id column, an id that is empty or stands in two
            rows (both are named).
    """
    table = read_table(path)
    if table.height == 0:
        raise InputError(f"{path}: the table holds no items")
    column = _column(path, table, id_column, ID_COLUMNS, "--id-column")
    return _ids(path, table[column]).to_list()


def parse_template(template: str) -> list[tuple[str, str | None]]:
    """Pieces of a text template: literal text, then the column that follows it (None at the end).

    Only ``{column}`` is known, ``{{`` and ``}}`` stand for braces; nothing is ever evaluated.

    Raises:
        InputError: unbalanced braces, an empty name, a conversion or format, or no column at all.
    """
    pieces: list[tuple[str, str | None]] = []
    try:
        for literal, column, form, conversion in string.Formatter().parse(template):
            if column is not None and (not column or form or conversion):
                raise ValueError("write a column as {name}")
            pieces.append((literal, column))
    except ValueError as error:
        raise InputError(f"text template {template!r}: {error}") from None
    if all(column is None for _, column in pieces):
        raise InputError(f"text template {template!r}: it names no column, as {{title}} would")
    return pieces


def _template_expression(pieces: Sequence[tuple[str, str | None]]) -> pl.Expr:
    parts, columns = [], []
    for literal, column in pieces:
        parts.append(pl.lit(literal))
        if column is not None:
            columns.append(pl.col(f"from {column}"))
            parts.append(columns[-1].fill_null(""))
    # A row without any of the columns has no text: the literals alone say nothing about it.
    return pl.when(~pl.all_horizontal([c.is_null() for c in columns])).then(pl.concat_str(parts))


def _from_folder(config: ExtractionConfig) -> Catalog:
    for option, value in (
        ("--column", config.column),
        ("--id-column", config.id_column),
        ("--text-template", config.text_template),
    ):
        if value is not None:
            raise InputError(f"{config.items}: {option} acts on a table; this is a folder of files")
    suffixes = SUFFIXES[config.modality]
    files: dict[str, str] = {}
    try:
        names = sorted(entry.name for entry in os.scandir(config.items))
    except OSError as error:
        raise InputError(f"{config.items}: not readable ({error.strerror})") from None
    for name in names:
        stem = Path(name).stem
        if Path(name).suffix.lower() not in suffixes:
            continue
        try:
            name.encode("utf-8")
        except UnicodeEncodeError:
            raise InputError(
                f"{config.items}: the file name {name!r} is not UTF-8; rename it"
            ) from None
        if stem in files:
            raise InputError(
                f"{config.items}: {files[stem]!r} and {name!r} are both item {stem!r}; item ids"
                " must be unique"
            )
        files[stem] = name
    if not files:
        raise InputError(
            f"{config.items}: no {config.modality} files in this folder ({', '.join(suffixes)})"
        )
    return Catalog(
        frame=pl.DataFrame({"id": list(files), "from folder": list(files.values())}),
        medium=pl.col("from folder"),
        holds_text=False,
        source="folder",
        base=config.items,
    )


def _column(
    path: Path, table: pl.DataFrame, named: str | None, usual: Sequence[str], option: str
) -> str:
    """The column named by the person, else the first usual one that the table has."""
    if named is not None:
        _require(path, table, named, option)
        return named
    for column in usual:
        if column in table.columns:
            return column
    raise InputError(
        f"{path}: none of the columns {', '.join(usual)}; name one with {option}"
        f" (the table has: {', '.join(table.columns)})"
    )


def _require(path: Path, table: pl.DataFrame, column: str, wanted_by: str) -> None:
    if column not in table.columns:
        raise InputError(
            f"{path}: no column {column!r}, named by {wanted_by}{nearest(column, table.columns)}"
        )


def _ids(path: Path, column: pl.Series) -> pl.Series:
    if not (column.dtype == pl.String or column.dtype.is_integer()):
        raise InputError(
            f"{path}: column {column.name!r} holds {column.dtype}; item ids are text or integers"
        )
    ids = column.cast(pl.String).alias("id")
    note = " (header not counted)" if path.suffix.lower() in (".csv", ".tsv") else ""
    empty = (ids.is_null() | (ids.str.strip_chars() == "")).arg_true()
    if len(empty):
        raise InputError(
            f"{path}: row {empty[0] + 1}{note} has no item id in column {column.name!r}"
        )
    repeated = ids.is_duplicated().arg_true()
    if len(repeated):
        name = ids[repeated[0]]
        rows = (ids == name).arg_true()
        raise InputError(
            f"{path}: item id {name!r} stands in rows {rows[0] + 1} and {rows[1] + 1}{note};"
            " item ids must be unique"
        )
    return ids


def _as_text(path: Path, column: pl.Series, *, or_numbers: bool) -> pl.Series:
    if column.dtype in (pl.String, pl.Null):
        return column.cast(pl.String)
    if or_numbers and (column.dtype.is_numeric() or column.dtype == pl.Boolean):
        if column.dtype.is_float():
            # What pandas writes for a missing number is no text.
            column = column.fill_nan(None)
        return column.cast(pl.String)
    wanted = "text or numbers" if or_numbers else "paths as text"
    raise InputError(f"{path}: column {column.name!r} holds {column.dtype}, not {wanted}")
