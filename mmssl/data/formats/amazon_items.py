"""What Amazon's review data sets tell about items: metadata as an item table, and back.

Pictures are ``images/<item id>.jpg`` (or ``.jpeg``, ``.png``, ``.webp``) beside the metadata, where
a person put them: nothing is downloaded.
"""

from collections.abc import Iterable

import polars as pl

from extract.errors import InputError
from mmssl.data.files.json_lines import LINE
from mmssl.data.files.plain_text import plain
from mmssl.data.formats.amazon import CategoryFiles
from mmssl.data.formats.item_tables import PICTURES, media_by_id, with_media

_TEXTS = ("title", "brand", "main_category")
_LISTS = {"categories": " > ", "features": " | ", "description": " "}
"""Columns that are lists in the metadata, and what stands between their values in a table."""
_WORDS = ("title", "brand", "categories", "features", "description")
"""What ``text`` is put together of."""


def item_table(files: CategoryFiles, blocks: Iterable[pl.DataFrame], id_key: str) -> pl.DataFrame:
    """The metadata as an item table; of an item that stands there twice the first is taken.

    Args:
        files: those of the category.
        blocks: of the metadata, as it is in the file: ``item_id``, ``title``, ``brand``,
            ``main_category``, ``image_url`` text; ``categories``, ``features``, ``description``
            lists of text; ``line``.
        id_key: the key of the ids, for messages.

    Returns:
        ``item_id``, ``text``, ``image`` if there are pictures, the columns of ``blocks`` as text
        without markup, and ``category``, the last, most special one of ``categories``.

    Raises:
        InputError: an item without an id.
    """
    tidied = []
    for block in blocks:
        ids = block["item_id"]
        empty = (ids.is_null() | (ids.str.strip_chars() == "")).arg_true()
        if len(empty):
            line = block[LINE][empty[0]]
            raise InputError(f"{files.meta}, line {line}, column '{id_key}': the id is empty")
        tidied.append(_tidied(block))
    items = pl.concat(tidied).unique("item_id", keep="first", maintain_order=True)
    return with_media(items, "image", media_by_id([files.folder / "images"], PICTURES))


def metadata(items: pl.DataFrame) -> tuple[pl.DataFrame, list[str]]:
    """An item table as metadata: the inverse of ``item_table``.

    A table that has none of the columns of ``text`` has its ``text`` as description.

    Args:
        items: as of ``Format.read_items``, of any layout.

    Returns:
        Columns as of ``item_table``'s ``blocks``, but ``line``; and notes on what is lost.
    """
    given = items
    if "text" in items.columns and set(_WORDS).isdisjoint(items.columns):
        items = items.with_columns(pl.col("text").alias("description"))
    known = {name: items[name].cast(pl.String) for name in items.columns}
    nothing = pl.Series([None] * items.height, dtype=pl.String)
    columns = [known["item_id"]]
    columns += [_marked_up(known.get(name, nothing)).alias(name) for name in _TEXTS]
    columns += [
        _as_lists(known.get(name, nothing).alias(name), separator)
        for name, separator in _LISTS.items()
    ]
    frame = pl.DataFrame([*columns, known.get("image_url", nothing).alias("image_url")])
    return frame, _losses(given, _tidied(frame))


def _tidied(block: pl.DataFrame) -> pl.DataFrame:
    columns = {name: plain(block[name]) for name in _TEXTS}
    for name, separator in _LISTS.items():
        values = _one_a_row(block[name])
        values = values.with_columns(plain(values[name]))
        joined = values.group_by("at", maintain_order=True).agg(
            pl.col(name).drop_nulls().str.join(separator),
            pl.col(name).drop_nulls().last().alias("last"),
        )
        columns[name] = joined[name]
        if name == "categories":
            columns["category"] = joined["last"]
    frame = pl.DataFrame({"item_id": block["item_id"], **columns, "image_url": block["image_url"]})
    # Before they are put together, for what is null is passed over and what is empty is not.
    frame = frame.with_columns(pl.when(pl.all() != "").then(pl.all()).name.keep())
    text = pl.concat_str(_WORDS, separator=". ", ignore_nulls=True)
    frame = frame.with_columns(pl.when(text != "").then(text).alias("text"))
    return frame.select(
        "item_id",
        "text",
        "title",
        "brand",
        "main_category",
        "category",
        "categories",
        "features",
        "description",
        "image_url",
    )


def _one_a_row(lists: pl.Series) -> pl.DataFrame:
    """The values of lists, and ``at``, the row of their list; null for a list without any."""
    filled = pl.when(pl.col(lists.name).list.len() > 0).then(lists.name)
    return pl.DataFrame(lists).select(filled).with_row_index("at").explode(lists.name)


def _as_lists(values: pl.Series, separator: str) -> pl.Series:
    """A column of texts as lists, empty for null; a description is a list of one."""
    name = values.name
    one = pl.concat_list(name) if not separator.strip() else pl.col(name).str.split(separator)
    rows = _one_a_row(pl.DataFrame(values).select(one).to_series())
    rows = rows.with_columns(_marked_up(rows[name]))
    return rows.group_by("at", maintain_order=True).agg(pl.col(name).drop_nulls())[name]


def _marked_up(values: pl.Series) -> pl.Series:
    """As a page has it, where a text would be taken for markup."""
    odd = (values.str.contains("[<&]") & (plain(values) != values)).fill_null(True)
    places = (odd & values.is_not_null()).arg_true()
    if not len(places):
        return values
    texts = values.gather(places).str.replace_all("&", "&amp;", literal=True)
    return values.clone().scatter(places, texts.str.replace_all("<", "&lt;", literal=True))


def _losses(given: pl.DataFrame, read: pl.DataFrame) -> list[str]:
    """What a reader of the metadata misses or finds changed."""
    notes = []
    absent = [name for name in given.columns if name not in (*read.columns, "image")]
    if absent:
        notes.append(f"left out of what is told of the items: {', '.join(absent)}")
    for name in (column for column in given.columns if column in read.columns):
        changed = int((~given[name].cast(pl.String).eq_missing(read[name])).sum())
        if changed:
            why = (
                f"put together of {', '.join(_WORDS)}"
                if name == "text"
                else "white space and the like"
            )
            notes.append(f"{name}: of {changed:,} items it is read otherwise than it was ({why})")
    if "image" in given.columns and given["image"].count():
        notes.append(
            "image: the pictures stay where they are; they are found here as images/<item id>.jpg"
        )
    return notes
