"""What the item tables of several layouts share: media by id, texts of several columns, notes."""

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import polars as pl

from mmssl.data.formats.base import MEDIA

PICTURES = (".jpg", ".jpeg", ".png", ".webp")
"""The kinds of picture that data sets hold by id; the first found is taken."""

# Of many columns a note names the first.
_NAMED = 8


def media_by_id(folders: Iterable[Path], suffixes: Sequence[str]) -> dict[str, str]:
    """The files of folders, those in the folders' own left out, by name without suffix.

    Args:
        folders: those that are not there are passed over; the first that has an id gives its file.
        suffixes: in lower case, with the dot; of several files of an id the earliest counts.

    Returns:
        Item id to absolute path.
    """
    found: dict[str, str] = {}
    for folder in (each for each in folders if each.is_dir()):
        here: dict[str, tuple[int, str]] = {}
        for path in folder.iterdir():
            suffix = path.suffix.lower()
            if suffix in suffixes and not path.name.startswith("."):
                ranked = (suffixes.index(suffix), str(folder.resolve() / path.name))
                here[path.stem] = min(ranked, here.get(path.stem, ranked))
        found = {id_: path for id_, (_, path) in here.items()} | found
    return found


def with_media(items: pl.DataFrame, medium: str, paths: dict[str, str]) -> pl.DataFrame:
    """The table with a column of paths, null where an item has none; itself where none has one.

    Args:
        items: with ``item_id``.
        medium: of ``MEDIA``, the column's name.
        paths: as of ``media_by_id``.
    """
    column = pl.Series(medium, [paths.get(id_) for id_ in items["item_id"]], dtype=pl.String)
    return items.with_columns(column) if column.count() else items


def joined(*columns: str | pl.Expr, separator: str = ". ") -> pl.Expr:
    """The texts of several columns as one, without blanks around them; null where all are null."""
    texts = (pl.col(each) if isinstance(each, str) else each for each in columns)
    stripped = [text.str.strip_chars() for text in texts]
    filled = (pl.when(text != "").then(text) for text in stripped)
    text = pl.concat_str(*filled, separator=separator, ignore_nulls=True)
    return pl.when(text != "").then(text)


def items_left_out(
    items: pl.DataFrame | None, *, holds: Collection[str], media: str = ""
) -> list[str]:
    """Notes on which columns of an item table a layout does not hold, and on where media stay.

    Args:
        items: what is known of the items.
        holds: the columns that are written; ``item_id`` and ``text`` need no mention.
        media: where the layout has its media, as ``image in posters/<item_id>.jpg``; "" where it
            has none.
    """
    if items is None:
        return []
    others = [
        name
        for name in items.columns
        if name not in ("item_id", "text", *MEDIA, *holds) and items[name].count()
    ]
    more = f" and {len(others) - _NAMED} more" if len(others) > _NAMED else ""
    notes = [f"columns of items left out: {', '.join(others[:_NAMED])}{more}"] if others else []
    there = [name for name in MEDIA if name in items.columns and items[name].count()]
    if there:
        place = f"; the layout has {media}, link them there" if media else ""
        notes.append(f"{', '.join(there)}: the files stay where they are{place}")
    return notes
