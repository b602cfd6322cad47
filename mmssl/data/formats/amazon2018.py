"""Amazon's reviews of 2018 (Ni, Li, McAuley), and those of 2014 that are JSON.

``<Category>.json`` or ``<Category>_5.json`` hold a review a line (``reviewerID``, ``asin``,
``overall``, ``unixReviewTime`` in seconds, and texts, which are not kept), ``meta_<Category>.json``
an item a line; each may end in ``.gz``. ``<Category>.csv`` has ratings alone, without a header:
item, user, rating, timestamp. The layout is that of the data set's page and of samples in the
repositories that use it; the order of the CSV is that of LensKit's loader
(``lenskit/data/sources/amazon.py``, ``open_az_2018`` and ``open_az_2014``).

Of 2014, ``reviews_<Category>_5.json`` has the same keys, and ``ratings_<Category>.csv`` the user
first. Its metadata are in Python's notation, which is refused with the way to make them JSON.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import polars as pl

from mmssl.data.files.delimited import read_delimited
from mmssl.data.files.finding import first_line
from mmssl.data.files.json_lines import LINE, Keys, scan_json_lines, write_json_lines
from mmssl.data.formats.amazon import (
    META,
    category,
    claimed,
    find_category,
    kind_of,
    meta_kind,
    read_reviews,
    require_category_name,
    unit_notes,
)
from mmssl.data.formats.amazon_items import item_table, metadata
from mmssl.data.formats.base import RawDataset, WritableFormat, left_out, uneven
from mmssl.data.interactions import InteractionTable, InvalidRows

_KEYS = {
    "user": "reviewerID",
    "item": "asin",
    "rating": "overall",
    "timestamp": "unixReviewTime",
}
_META_KEYS: Keys = {
    "asin": pl.String(),
    "title": pl.String(),
    "brand": pl.String(),
    "main_cat": pl.String(),
    "category": pl.List(pl.String()),
    "categories": pl.List(pl.String()),
    "feature": pl.List(pl.String()),
    "description": pl.List(pl.String()),
    "imageURLHighRes": pl.List(pl.String()),
    "imageURL": pl.List(pl.String()),
    "imUrl": pl.String(),
}
_USER_KEY = re.compile(r"""["']reviewerID["']\s*:""")
_ASIN = r"[0-9A-Z]{10}"
_USER = r"A[0-9A-Z]{9,}"
_NUMBERS = r",[0-9.]+,[0-9]+"
_ITEM_FIRST = re.compile(f"{_ASIN},{_USER}{_NUMBERS}")
_USER_FIRST = re.compile(f"{_USER},{_ASIN}{_NUMBERS}")


class Amazon2018(WritableFormat):
    """Amazon's reviews, or ratings, of 2018."""

    name: ClassVar = "amazon2018"
    title: ClassVar = "Amazon reviews 2018: <Category>.json or .csv, meta_<Category>.json (.gz)"

    def recognises(self, source: Path) -> bool:
        """A file, or a folder with a file, whose first line is such a review or rating."""
        return bool(claimed(source, _is_of_2018))

    def read(self, source: Path, invalid_rows: InvalidRows = "error") -> RawDataset:
        """Read the reviews, or ratings, of one category; see ``Format.read``."""
        files = find_category(source, _is_of_2018, "<Category>.json or <Category>.csv")
        path = files.parts["interactions"]
        read = _ratings if kind_of(path) == "csv" else _reviews
        return RawDataset({"interactions": read(path, invalid_rows)}, sources=files.parts)

    def read_items(self, source: Path) -> pl.DataFrame | None:
        """Read the metadata; see ``item_table`` and ``Format.read_items``."""
        files = find_category(source, _is_of_2018, "<Category>.json or <Category>.csv")
        return item_table(files, _blocks(files.meta), "asin") if files.meta else None

    def write(
        self, content: RawDataset, items: pl.DataFrame | None, folder: Path, name: str
    ) -> list[str]:
        """Write reviews without texts, and metadata; see ``WritableFormat.write``."""
        require_category_name(name)
        path = folder / f"{name}.json"
        frame = content.together()
        write_json_lines(
            frame.rename({role: key for role, key in _KEYS.items() if role in frame.columns}), path
        )
        notes = uneven(content) + left_out(content, items, holds=("rating", "timestamp", "items"))
        notes += unit_notes(content, milliseconds=False)
        if items is None:
            return notes
        frame, lost = metadata(items)
        urls = pl.concat_list("image_url").list.drop_nulls()
        written = frame.select(
            pl.col("categories").alias("category"),
            "description",
            "title",
            "brand",
            pl.col("features").alias("feature"),
            pl.col("main_category").alias("main_cat"),
            pl.col("item_id").alias("asin"),
            urls.alias("imageURL"),
            urls.alias("imageURLHighRes"),
        )
        write_json_lines(written, folder / f"{META}{category(path)}.json")
        return notes + lost


def _is_of_2018(path: Path) -> bool:
    kind = kind_of(path)
    if not kind:
        return False
    first = first_line(path)
    if kind == "csv":
        by_line = _ITEM_FIRST.fullmatch(first) or _USER_FIRST.fullmatch(first)
        return bool(by_line) or (meta_kind(path) == "json" and "parent_asin" not in first)
    by_name = kind == "json" and meta_kind(path) == "json" and '"parent_asin"' not in first
    return by_name or _USER_KEY.search(first) is not None


def _reviews(path: Path, invalid_rows: InvalidRows) -> InteractionTable:
    return read_reviews(path, _KEYS, invalid_rows)


def _ratings(path: Path, invalid_rows: InvalidRows) -> InteractionTable:
    order = ["item", "user", "rating", "timestamp"]
    if _USER_FIRST.fullmatch(first_line(path)):
        order = ["user", "item", "rating", "timestamp"]
    table = read_delimited(path, ",", names=order)
    return table.interactions({role: role for role in order}, invalid_rows)


def _blocks(path: Path) -> Iterator[pl.DataFrame]:
    def first(key: str) -> pl.Expr:
        return pl.col(key).list.get(0, null_on_oob=True)

    for block in scan_json_lines(path, _META_KEYS):
        yield block.select(
            pl.col("asin").alias("item_id"),
            # Where a page could not be read, the title holds its program.
            pl.when(~pl.col("title").str.contains("getTime", literal=True)).then("title"),
            "brand",
            pl.col("main_cat").alias("main_category"),
            pl.coalesce("category", "categories").alias("categories"),
            pl.col("feature").alias("features"),
            "description",
            pl.coalesce(first("imageURLHighRes"), first("imageURL"), "imUrl").alias("image_url"),
            LINE,
        )
