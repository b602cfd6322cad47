"""Items as people know them: a small picture and a few words, where the item table has them."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from extract.catalog import Catalog
from extract.config import ExtractionConfig
from extract.encoders.base import Modality, Raw, Video
from extract.errors import InputError
from extract.inspect.items import LONGEST_SOUND, ItemSource
from extract.inspect.previews import montage, thumbnail
from extract.item_table import has_medium, read_catalog
from extract.media.files import MediaError
from extract.media.reading import Reader

PICTURE_PIXELS = 160
TITLE_CHARACTERS = 90


@dataclass(frozen=True)
class Card:
    """An item's picture (a data URI of a JPEG) and its text on one line; None where it has none."""

    picture: str | None = None
    text: str | None = None


class ItemCards:
    """Reads the media of the items that a page shows, and of no others.

    Files are opened and decoded as ``extract`` does it: nothing outside the table's folder and the
    media roots, and no file that is not what it should be.
    """

    def __init__(self, source: ItemSource | None) -> None:
        """Look at the table; without one every item is its id alone.

        Raises:
            InputError: the table cannot be read, has no column of ids, or none that can be shown;
                a media root is no folder.
        """
        self._pictures: tuple[Catalog, Reader] | None = None
        self._texts: tuple[Catalog, Reader] | None = None
        self.problems: dict[str, str] = {}
        """Item id -> why its picture cannot be shown, of those that were asked for."""
        self._known: dict[str, Card] = {}
        if source is None:
            return
        for modality, config in source.configs("image", LONGEST_SOUND).items():
            if modality == "audio" or not _has(source, modality, config):
                continue
            catalog = read_catalog(config)
            found = catalog, Reader.of(config, catalog.base)
            if modality == "text":
                self._texts = found
            else:
                self._pictures = self._pictures or found
        if self._pictures is None and self._texts is None:
            raise InputError(
                f"{source.items}: no column of pictures, videos or texts; name one with --column"
                " MODALITY=NAME, as image=photo"
            )

    @property
    def any(self) -> bool:
        """Whether there is an item table."""
        return self._pictures is not None or self._texts is not None

    @property
    def pictures(self) -> bool:
        """Whether the table has pictures or videos."""
        return self._pictures is not None

    def require(self, ids: Sequence[str], where: str) -> None:
        """Refuse a table of other items.

        Args:
            ids: of the model's items.
            where: the table, for the message.

        Raises:
            InputError: it holds none of them.
        """
        catalogs = [found[0] for found in (self._pictures, self._texts) if found]
        if catalogs and not any(item.in_table for item in catalogs[0].find(ids)):
            raise InputError(
                f"{where}: holds none of the model's {len(ids):,} items, such as {ids[0]!r}; is it"
                " the table of this dataset?"
            )

    def pictured(self, ids: Sequence[str]) -> list[str]:
        """Those of the items for which the table names a picture or a video."""
        if self._pictures is None:
            return []
        return [item.id for item in self._pictures[0].find(ids) if item.path is not None]

    def cards(self, ids: Sequence[str]) -> dict[str, Card]:
        """The cards of some items, by id; each file is decoded once."""
        wanted = sorted(set(ids) - self._known.keys())
        texts = self._read_texts(wanted)
        pictures = self._read_pictures(wanted)
        for name in wanted:
            self._known[name] = Card(pictures.get(name), texts.get(name))
        return {name: self._known[name] for name in ids}

    def _read_texts(self, ids: Sequence[str]) -> dict[str, str]:
        if self._texts is None:
            return {}
        catalog, reader = self._texts
        texts = {}
        for item in catalog.find(ids):
            if item.text is not None:
                raw: Raw | MediaError = reader.read_text(item.text)[1]
            elif item.path is not None:
                raw = reader.read_file(item.path)[1]
            else:
                continue
            if isinstance(raw, str):
                texts[item.id] = _one_line(raw)
        return texts

    def _read_pictures(self, ids: Sequence[str]) -> dict[str, str]:
        if self._pictures is None:
            return {}
        catalog, reader = self._pictures
        pictures = {}
        with warnings.catch_warnings():
            # What Pillow has to say of a file is in that item's reason, or did no harm.
            warnings.filterwarnings("ignore", module=r"PIL\.")
            for item in catalog.find(ids):
                if item.path is None:
                    continue
                raw = reader.read_file(item.path)[1]
                if isinstance(raw, Video):
                    raw = montage(raw)
                if isinstance(raw, Image.Image):
                    pictures[item.id] = thumbnail(raw, PICTURE_PIXELS)
                else:
                    self.problems[item.id] = str(raw)
        return pictures


def _has(source: ItemSource, modality: Modality, config: ExtractionConfig) -> bool:
    if source.items.is_dir():
        return modality == "image"
    if config.column is not None or config.text_template is not None:
        return True
    return has_medium(source.items, modality)


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= TITLE_CHARACTERS else f"{line[: TITLE_CHARACTERS - 1].rstrip()}…"
