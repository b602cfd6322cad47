"""What is shown of an item: its title, text and media, as the item table has them."""

from collections.abc import Iterator, Sequence
from typing import Literal, TypeAlias
from urllib.parse import quote

import polars as pl

from extract.catalog import Catalog
from extract.encoders.base import Modality
from extract.errors import InputError
from extract.inspect.items import ItemSource
from extract.inspect.previews import shorten
from extract.item_table import ID_COLUMNS, ItemTable, read_catalog
from extract.media.files import MediaError
from extract.media.reading import Reader
from mmssl.serve.matching import Matcher

Match: TypeAlias = Literal["id", "title", "text"]

PLAYABLE = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".m4a")
"""Suffixes of the sounds that are offered; browsers play no others."""

_SHOWN: tuple[Modality, ...] = ("image", "audio", "text")
_TITLES = ("title", "name")
_TITLE_CHARACTERS = 80
_BLOCK = 8192


class Cards:
    """The cards of the model's items, in the model's order; it never changes."""

    def __init__(
        self, ids: Sequence[str], columns: pl.DataFrame, readers: dict[Modality, Reader]
    ) -> None:
        """Take what ``read_cards`` found.

        Args:
            ids: of the items, I of them.
            columns: I rows of ``title``, ``text``, ``image`` and ``audio``, null where the table
                has none; the last two are paths as the table gives them.
            readers: of ``image`` and ``audio``.
        """
        self.ids = ids
        self.readers = readers
        self._columns = columns
        self._title, self._text = columns["title"], columns["text"]
        self._image, self._audio = columns["image"], columns["audio"]
        self._matchers: tuple[tuple[Match, Matcher], ...] = (
            ("id", Matcher(pl.Series(ids, dtype=pl.String))),
            ("title", Matcher(self._title)),
            ("text", Matcher(self._text)),
        )

    def __len__(self) -> int:
        return len(self.ids)

    def card(self, row: int) -> dict[str, str | None]:
        """The item as the API gives it: id, title, text, and the URLs of image and audio."""
        id_, text = self.ids[row], self._text[row]
        title = self._title[row] or (text and _first_words(text)) or id_
        return {
            "id": id_,
            "title": title,
            "text": None if text is None else shorten(text),
            "image": None if self.path("image", row) is None else media_url("thumbnail", id_),
            "audio": None if self.path("audio", row) is None else media_url("audio", id_),
        }

    def path(self, modality: Modality, row: int) -> str | None:
        """Where an item's picture or sound is, as the table gives it; None where it has none."""
        paths = self._image if modality == "image" else self._audio
        path: str | None = paths[row]
        if path is None or (modality == "audio" and not path.lower().endswith(PLAYABLE)):
            return None
        return path

    def search(self, words: str, limit: int) -> list[tuple[int, Match]]:
        """The first items whose id, title or text holds all the words, and which of these does.

        Capital and small letters are alike. Ids come first, then titles, then texts; within each
        the items whose field begins with the words, then the others, in the model's order. Without
        words these are the first items.
        """
        found: dict[int, Match] = {}
        for field, matcher in self._matchers:
            for row in matcher.find(words, limit):
                found.setdefault(row, field)
            if len(found) >= limit:
                break
        return list(found.items())[:limit]


def media_url(kind: Literal["thumbnail", "audio"], item_id: str) -> str:
    """The relative URL of an item's medium; any id may stand in it."""
    return f"/media/{kind}?item={quote(item_id, safe='')}"


def read_cards(source: ItemSource, item_ids: Sequence[str], max_seconds: float) -> Cards:
    """Read the item table, or folder of files, for the items of a model.

    An item that the table lacks has its id alone.

    Args:
        source: the table and how it is read, as an extraction reads it.
        item_ids: the model's items, in its order.
        max_seconds: a longer sound is not decoded.

    Raises:
        InputError: the table cannot be read, lacks a column that was named, or has no column of
            any medium.
    """
    wanted = pl.DataFrame({"id": pl.Series(item_ids, dtype=pl.String)})
    readers: dict[Modality, Reader] = {}
    columns: dict[str, pl.Series] = {}
    problem: InputError | None = None
    for modality, config in source.configs("image", max_seconds).items():
        if modality not in _SHOWN:
            continue
        try:
            catalog = read_catalog(config)
        except InputError as error:
            if config.column is not None or config.text_template is not None:
                raise
            problem = problem or error
            continue
        readers[modality] = Reader.of(config, catalog.base)
        frame = pl.concat(_blocks(catalog, readers[modality]))
        columns[modality] = _aligned(wanted, frame)
    if not readers and problem is not None:
        raise problem
    columns["title"] = _aligned(wanted, _titles(source))
    empty = pl.Series([None] * len(wanted), dtype=pl.String)
    return Cards(
        item_ids,
        pl.DataFrame({name: columns.get(name, empty) for name in ("title", *_SHOWN)}),
        readers,
    )


def _blocks(catalog: Catalog, reader: Reader) -> Iterator[pl.DataFrame]:
    for start in range(0, len(catalog), _BLOCK):
        items = catalog.items(start, start + _BLOCK)
        media = [item.text if catalog.holds_text else item.path for item in items]
        if reader.modality == "text" and not catalog.holds_text:
            media = [_text_of(reader, path) for path in media]
        yield pl.DataFrame(
            {"id": [item.id for item in items], "medium": media},
            schema={"id": pl.String, "medium": pl.String},
        )


def _text_of(reader: Reader, path: str | None) -> str | None:
    text = None if path is None else reader.read_file(path)[1]
    return None if isinstance(text, MediaError) else str(text)


def _titles(source: ItemSource) -> pl.DataFrame:
    frame = pl.DataFrame(schema={"id": pl.String, "medium": pl.String})
    if source.items.is_dir():
        return frame
    table = ItemTable(source.items)
    title = next((name for name in _TITLES if name in table.columns), None)
    if title is None:
        return frame
    blocks = table.blocks(table.column(source.id_column, ID_COLUMNS, "--id-column"), [title])
    found = [
        pl.DataFrame([ids, block[title].cast(pl.String, strict=False).alias("medium")])
        for ids, block in blocks
    ]
    return pl.concat([frame, *found])


def _aligned(wanted: pl.DataFrame, frame: pl.DataFrame) -> pl.Series:
    """The media in the order of the wanted ids, null where there is none or nothing but space."""
    medium = wanted.join(frame, on="id", how="left", maintain_order="left")["medium"]
    return pl.select(pl.when(medium.str.strip_chars() != "").then(medium)).to_series()


def _first_words(text: str) -> str:
    line = " ".join(text.split())
    if len(line) <= _TITLE_CHARACTERS:
        return line
    return f"{line[: _TITLE_CHARACTERS - 1].rpartition(' ')[0] or line[: _TITLE_CHARACTERS - 1]}…"
