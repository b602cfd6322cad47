"""What the item table says of some items: their media, and their labels."""

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from extract.catalog import ID_COLUMNS, Catalog, Item, read_catalog
from extract.config import ExtractionConfig
from extract.encoders.base import MODALITIES, Modality, Raw
from extract.errors import InputError, nearest
from extract.media.files import MediaError
from extract.media.reading import Reader
from extract.tables import read_table

_ROWS = 65_536

LONGEST_SOUND = 600.0
"""Seconds, where the store says nothing: it holds no sounds itself."""


@dataclass(frozen=True)
class ItemSource:
    """Where items' media are found; the options of ``extract`` bear the same names."""

    items: Path
    """The item table, or a folder of files whose stems are the ids."""
    id_column: str | None = None
    columns: Sequence[str] = ()
    """``NAME`` for the store's own modality, ``MODALITY=NAME`` for any."""
    text_template: str | None = None
    media_roots: Sequence[Path] = ()

    def configs(self, own: Modality, max_seconds: float) -> dict[Modality, ExtractionConfig]:
        """How the table is read for every modality, the store's own first.

        Raises:
            InputError: a modality's column is named twice, or an option has a bad value.
        """
        named: dict[str, str] = {}
        for column in self.columns:
            prefix, equals, name = column.partition("=")
            modality, name = (prefix, name) if equals and prefix in MODALITIES else (own, column)
            if modality in named:
                raise InputError(f"--column {column}: {modality} has a column already")
            named[modality] = name
        return {
            modality: ExtractionConfig.parse(
                {
                    "items": self.items,
                    "modality": modality,
                    "out": Path(),  # nothing is extracted
                    "id_column": self.id_column,
                    "column": named.get(modality),
                    "text_template": self.text_template if modality == "text" else None,
                    "media_roots": self.media_roots,
                    "max_seconds": max_seconds,
                }
            )
            for modality in sorted(MODALITIES, key=lambda modality: modality != own)
        }


def read_media(
    source: ItemSource,
    own: Modality,
    ids: Iterable[str],
    use: Callable[[str, Modality, Raw | MediaError], None],
    max_seconds: float,
) -> set[str]:
    """Decode the media of some items, of every modality that the table has a column for.

    Args:
        source: where they are.
        own: the modality that has to be there; a folder of files holds no other.
        ids: of the items.
        use: called with an item's id, a modality, and the medium or the reason why it cannot be
            used; not called where the item has no such medium. Only one medium is held at a time.
        max_seconds: a longer sound is refused.

    Returns:
        The ids that the table has.

    Raises:
        InputError: the table cannot be read, lacks a column that was named or the own modality's,
            or a media root is no folder.
    """
    wanted = set(ids)
    for root in source.media_roots:
        if not root.is_dir():
            raise InputError(f"--media-root {root}: no such folder")
    found: set[str] = set()
    for modality, config in source.configs(own, max_seconds).items():
        named = config.column is not None or config.text_template is not None
        if modality != own and source.items.is_dir():
            continue
        try:
            catalog = read_catalog(config)
        except InputError:
            # A table need not have a column for every modality.
            if modality == own or named:
                raise
            continue
        items = _find(catalog, wanted)
        if modality == own:
            found = {item.id for item in items}
        reader = Reader(
            modality=modality,
            base=catalog.base,
            roots=[root.resolve() for root in (catalog.base, *config.media_roots)],
            max_seconds=max_seconds,
        )
        with warnings.catch_warnings():
            # What Pillow has to say of a file is in that item's reason, or did no harm.
            warnings.filterwarnings("ignore", module=r"PIL\.")
            for item in items:
                if item.text is not None:
                    use(item.id, modality, reader.read_text(item.text)[1])
                elif item.path is not None:
                    use(item.id, modality, reader.read_file(item.path)[1])
    return found


def _find(catalog: Catalog, wanted: set[str]) -> list[Item]:
    """The items with these ids, the table read a piece at a time."""
    return [
        item
        for start in range(0, len(catalog), _ROWS)
        for item in catalog.items(start, start + _ROWS)
        if item.id in wanted
    ]


def read_labels(table: Path, column: str, id_column: str | None = None) -> dict[str, str]:
    """The label of every item that has one; an empty cell is no label.

    Raises:
        InputError: unreadable table, no such column, no id column, or an id with two labels.
    """
    frame = read_table(table)
    if column not in frame.columns:
        raise InputError(
            f"{table}: no column {column!r}, named by --label{nearest(column, frame.columns)}"
        )
    ids = id_column or next((name for name in ID_COLUMNS if name in frame.columns), None)
    if ids is None or ids not in frame.columns:
        wanted = f"no column {ids!r}" if ids else f"none of the columns {', '.join(ID_COLUMNS)}"
        raise InputError(
            f"{table}: {wanted}; name the column of the ids with --id-column (the table has:"
            f" {', '.join(frame.columns)})"
        )
    try:
        pairs = frame.select(
            pl.col(ids).cast(pl.String).alias("id"), pl.col(column).cast(pl.String).alias("label")
        )
    except pl.exceptions.PolarsError:
        raise InputError(
            f"{table}: column {column!r} holds {frame[column].dtype}; a label is text or a number"
        ) from None
    pairs = pairs.drop_nulls().filter(pl.col("label").str.strip_chars() != "").unique()
    twice = pairs.filter(pl.col("id").is_duplicated())
    if twice.height:
        raise InputError(f"{table}: item {twice['id'][0]!r} has two labels in column {column!r}")
    return dict(pairs.iter_rows())
