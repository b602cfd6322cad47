"""What the item table says of some items: their media, and their labels."""

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from extract.config import ExtractionConfig
from extract.encoders.base import MODALITIES, Modality, Raw
from extract.errors import InputError
from extract.item_table import ID_COLUMNS, ItemTable, read_catalog
from extract.locations import Location
from extract.media.files import MediaError
from extract.media.reading import Reader

LONGEST_SOUND = 600.0
"""Seconds, where the store says nothing: it holds no sounds itself."""


@dataclass(frozen=True)
class ItemSource:
    """Where items' media are found; the options of ``extract`` bear the same names."""

    items: Location
    """The item table, or a folder of files whose stems are the ids."""
    id_column: str | None = None
    columns: Sequence[str] = ()
    """``NAME`` for the store's own modality, ``MODALITY=NAME`` for any."""
    text_template: str | None = None
    media_roots: Sequence[Location] = ()

    def configs(self, own: Modality, max_seconds: float) -> dict[Modality, ExtractionConfig]:
        """How the table is read for every modality, the store's own first.

        Raises:
            InputError: a modality's column is named twice, an option has a bad value, or a media
                root is no folder.
        """
        for root in self.media_roots:
            if not root.is_dir():
                raise InputError(f"--media-root {root}: no such folder")
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
        items = [item for item in catalog.find(sorted(wanted)) if item.in_table]
        if modality == own:
            found = {item.id for item in items}
        reader = Reader.of(config, catalog.base)
        with warnings.catch_warnings():
            # What Pillow has to say of a file is in that item's reason, or did no harm.
            warnings.filterwarnings("ignore", module=r"PIL\.")
            for item in items:
                if item.text is not None:
                    use(item.id, modality, reader.read_text(item.text)[1])
                elif item.path is not None:
                    use(item.id, modality, _read_file(reader, item.path, needed=modality == own))
    return found


def _read_file(reader: Reader, path: str, *, needed: bool) -> Raw | MediaError:
    try:
        return reader.read_file(path)[1]
    except InputError as error:
        if needed:
            raise
        # As where videos cannot be decoded for want of PyAV: the store's own media can be shown.
        return MediaError(str(error))


def read_labels(
    table: Location, column: str, id_column: str | None = None, option: str = "--label"
) -> dict[str, str]:
    """The label of every item that has one; an empty cell is no label.

    Args:
        table: the item table.
        column: of the labels.
        id_column: of the ids; None: the first usual one that the table has.
        option: by which the column was named, for messages.

    Raises:
        InputError: unreadable table, no such column, no id column, or an id with two labels.
    """
    read = ItemTable(table)
    read.require(column, option)
    labels: dict[str, str] = {}
    for ids, block in read.blocks(read.column(id_column, ID_COLUMNS, "--id-column"), [column]):
        try:
            texts = block[column].cast(pl.String)
        except pl.exceptions.PolarsError:
            raise InputError(
                f"{table}: column {column!r} holds {block[column].dtype}; a label is text or a"
                " number"
            ) from None
        for name, label in zip(ids.to_list(), texts.to_list(), strict=True):
            if label and label.strip() and labels.setdefault(name, label) != label:
                raise InputError(f"{table}: item {name!r} has two labels in column {column!r}")
    return labels
