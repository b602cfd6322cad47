"""The item table: a person's table, or folder of files, as a catalogue of one modality."""

import string
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl
from numpy.typing import NDArray

from extract.catalog import Catalog, id_hashes
from extract.config import ExtractionConfig
from extract.encoders.base import Modality
from extract.errors import InputError, nearest
from extract.locations import Location
from extract.media.audio import AUDIO_SUFFIXES
from extract.media.containers import VIDEO_SUFFIXES
from extract.media.image import IMAGE_SUFFIXES
from extract.media.text import TEXT_SUFFIXES
from extract.tables import scan_table, table_columns, table_suffix

ID_COLUMNS = ("item_id", "id", "item")

MEDIUM_COLUMNS: dict[Modality, tuple[str, ...]] = {
    "image": ("image", "image_path"),
    "audio": ("audio", "audio_path", "video", "video_path"),
    "video": ("video", "video_path"),
    "text": ("text", "description", "title"),
}
"""Columns that are taken when none is named; the first that the table has."""

SUFFIXES: dict[Modality, tuple[str, ...]] = {
    "image": IMAGE_SUFFIXES,
    "audio": (*AUDIO_SUFFIXES, ".m4a", *VIDEO_SUFFIXES),
    "video": VIDEO_SUFFIXES,
    "text": TEXT_SUFFIXES,
}


def read_catalog(config: ExtractionConfig) -> Catalog:
    """Read the item table, or the folder, that ``config`` names: all rows are looked at once.

    Raises:
        InputError: unreadable or empty table, unknown column, bad template, an id that is empty or
            stands in two rows (both are named).
    """
    if config.items.is_dir():
        return _from_folder(config)
    if not config.items.exists():
        raise InputError(f"{config.items}: no such file or folder")
    table = ItemTable(config.items)
    id_column = table.column(config.id_column, ID_COLUMNS, "--id-column")
    holds_text = config.modality == "text"
    if config.text_template is not None:
        pieces = parse_template(config.text_template)
        columns = [column for _, column in pieces if column is not None]
        for column in columns:
            table.require(column, "the text template")
        medium = _template_expression(pieces)
        source = f"template {config.text_template!r}"
    else:
        usual = MEDIUM_COLUMNS[config.modality]
        columns = [table.column(config.column, usual, "--column")]
        medium = pl.col(f"from {columns[0]}")
        source = f"column {columns[0]!r}"
    columns = list(dict.fromkeys(columns))

    def blocks() -> Iterator[pl.DataFrame]:
        for ids, block in table.blocks(id_column, columns):
            media = [
                _as_text(config.items, block[column], or_numbers=holds_text).alias(f"from {column}")
                for column in columns
            ]
            yield pl.DataFrame([ids, *media]).select("id", medium.alias("medium"))

    return Catalog(
        blocks,
        _unique_hashes(table, id_column, (block["id"] for block in blocks())),
        holds_text=holds_text,
        source=source,
        base=config.items.parent,
    )


def has_medium(items: Location, modality: Modality) -> bool:
    """Whether a table has a usual column of the modality, or a folder a file of it.

    Raises:
        InputError: unreadable.
    """
    if items.is_dir():
        return any(Path(each.name).suffix.lower() in SUFFIXES[modality] for each in items.iterdir())
    if not items.exists():
        raise InputError(f"{items}: no such file or folder")
    return not set(MEDIUM_COLUMNS[modality]).isdisjoint(ItemTable(items).columns)


def not_items(items: Location, modality: Modality) -> tuple[dict[str, int], int]:
    """What lies in a folder of items and is none, though a person may expect it to be read.

    Returns:
        How many files there are of each ending that is not the modality's, the most frequent
        first, and how many folders; nothing of a table. Files whose names begin with a dot are
        left out: they are the system's.
    """
    others: Counter[str] = Counter()
    folders = 0
    for each in items.iterdir() if items.is_dir() else ():
        ending = Path(each.name).suffix.lower()
        if ending in SUFFIXES[modality]:
            continue  # an item, even a folder: that one has failed
        if each.is_dir():
            folders += 1
        elif not each.name.startswith("."):
            others[ending] += 1
    # By name where alike, lest the order be the file system's.
    return dict(sorted(others.items(), key=lambda item: (-item[1], item[0]))), folders


def read_item_ids(path: Path, id_column: str | None = None) -> list[str]:
    """The ids of an item table, in its order, whatever else its columns hold.

    Args:
        path: the table.
        id_column: the column of the ids; None: the first usual one that the table has.

    Raises:
        InputError: unreadable or empty table, no id column, an id that is empty or stands in two
            rows (both are named).
    """
    table = ItemTable(path)
    column = table.column(id_column, ID_COLUMNS, "--id-column")
    blocks = [ids for ids, _ in table.blocks(column, [])]
    _unique_hashes(table, column, iter(blocks))
    return [str(name) for block in blocks for name in block.to_list()]


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
        names = sorted(entry.name for entry in config.items.iterdir())
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
            f"{config.items}: no {config.modality} files in this folder ({', '.join(suffixes)});"
            " subfolders are not looked into, for files' names are the ids"
        )
    frame = pl.DataFrame({"id": list(files), "medium": list(files.values())})
    return Catalog(
        lambda: iter([frame]),
        id_hashes(frame["id"]),
        holds_text=False,
        source="folder",
        base=config.items,
    )


class ItemTable:
    """A table of items that can be read again and again, wherever it is."""

    def __init__(self, path: Location) -> None:
        """Find out the columns; a remote table is fetched, once.

        Raises:
            InputError: unreadable.
        """
        self.name = path
        # A header's line counts for nobody who looks at rows in a spreadsheet.
        self.note = ""
        table_suffix(path)
        if isinstance(path, Path):
            self.path = path
        else:
            self._folder = TemporaryDirectory(prefix="mmssl-items-")
            self.path = Path(self._folder.name) / path.name
            try:
                path.fs.get_file(path.path, str(self.path))
            except Exception as error:
                raise InputError(f"{path}: not readable ({_words(error)})") from None
        if self.path.suffix.lower() in (".csv", ".tsv"):
            self.note = " (header not counted)"
        with self.named():
            self.columns = table_columns(self.path)

    @contextmanager
    def named(self) -> Iterator[None]:
        """Messages about the copy of a remote table are about the table."""
        try:
            yield
        except InputError as error:
            raise InputError(str(error).replace(str(self.path), str(self.name))) from None

    def column(self, named: str | None, usual: Sequence[str], option: str) -> str:
        """The column named by the person, else the first usual one that the table has."""
        if named is not None:
            self.require(named, option)
            return named
        for column in usual:
            if column in self.columns:
                return column
        raise InputError(
            f"{self.name}: none of the columns {', '.join(usual)}; name one with {option}"
            f" (the table has: {', '.join(self.columns)})"
        )

    def require(self, column: str, wanted_by: str) -> None:
        """Refuse a column that the table does not have."""
        if column not in self.columns:
            raise InputError(
                f"{self.name}: no column {column!r}, named by {wanted_by}"
                f"{nearest(column, self.columns)}"
            )

    def blocks(
        self, id_column: str, columns: Sequence[str]
    ) -> Iterator[tuple[pl.Series, pl.DataFrame]]:
        """Ids, checked but for repetition, and the other columns, block by block."""
        row = 0
        with self.named():
            for block in scan_table(self.path, list(dict.fromkeys([id_column, *columns]))):
                ids = block[id_column]
                if not (ids.dtype == pl.String or ids.dtype.is_integer()):
                    raise InputError(
                        f"{self.name}: column {id_column!r} holds {ids.dtype}; item ids are text or"
                        " integers"
                    )
                ids = ids.cast(pl.String).alias("id")
                empty = (ids.is_null() | (ids.str.strip_chars() == "")).arg_true()
                if len(empty):
                    raise InputError(
                        f"{self.name}: row {row + empty[0] + 1}{self.note} has no item id in column"
                        f" {id_column!r}"
                    )
                row += block.height
                yield ids, block


def _unique_hashes(
    table: ItemTable, id_column: str, ids: Iterator[pl.Series]
) -> NDArray[np.uint64]:
    """The hashes of all ids, once it is certain that no id stands there twice.

    Ids whose hashes are alike are looked at again.
    """
    blocks = [id_hashes(block) for block in ids]
    hashes = np.concatenate(blocks) if blocks else np.empty(0, dtype=np.uint64)
    if not len(hashes):
        raise InputError(f"{table.name}: the table holds no items")
    ordered = np.sort(hashes)
    alike = set(ordered[1:][ordered[1:] == ordered[:-1]].tolist())
    if alike:
        first: dict[str, int] = {}
        row = 0
        for block, _ in table.blocks(id_column, []):
            for hashed, name in zip(id_hashes(block).tolist(), block.to_list(), strict=True):
                row += 1
                if hashed in alike and first.setdefault(name, row) != row:
                    raise InputError(
                        f"{table.name}: item id {name!r} stands in rows {first[name]} and {row}"
                        f"{table.note}; item ids must be unique"
                    )
    return hashes


def _words(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _as_text(path: Location, column: pl.Series, *, or_numbers: bool) -> pl.Series:
    if column.dtype in (pl.String, pl.Null):
        return column.cast(pl.String)
    if or_numbers and (column.dtype.is_numeric() or column.dtype == pl.Boolean):
        if column.dtype.is_float():
            # What pandas writes for a missing number is no text.
            column = column.fill_nan(None)
        return column.cast(pl.String)
    wanted = "text or numbers" if or_numbers else "paths as text"
    raise InputError(f"{path}: column {column.name!r} holds {column.dtype}, not {wanted}")
