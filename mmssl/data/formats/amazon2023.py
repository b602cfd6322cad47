"""Amazon's reviews of 2023 (Hou, Li, He, Yan, Chen, McAuley) and their benchmarks.

``<Category>.jsonl`` holds a review a line (``user_id``, ``parent_asin``, ``rating``, ``timestamp``
in milliseconds, and texts, which are not kept), ``meta_<Category>.jsonl`` an item a line. The
benchmarks are CSVs with the header ``user_id,parent_asin,rating,timestamp``, perhaps ``history``
beside: ``<Category>.csv``, or a ready split, ``<Category>.train.csv``, ``.valid.csv`` and
``.test.csv``. Each may end in ``.gz``. The item is ``parent_asin``; ``asin`` is one of its
variants. The layout is that of the data set's page and of hyp1231/AmazonReviews2023
(``benchmark_scripts/kcore_filtering.py`` and ``last_out_split.py``,
``seq_rec_results/dataset/process_amazon_2023.py``, ``clean_metadata``).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import polars as pl

from mmssl.data.files.delimited import read_delimited, write_delimited
from mmssl.data.files.finding import first_line
from mmssl.data.files.json_lines import LINE, Keys, scan_json_lines, write_json_lines
from mmssl.data.formats.amazon import (
    META,
    SPLIT_MARKS,
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
from mmssl.data.formats.base import RawDataset, WritableFormat, left_out
from mmssl.data.interactions import InteractionTable, InvalidRows

_KEYS = {
    "user": "user_id",
    "item": "parent_asin",
    "rating": "rating",
    "timestamp": "timestamp",
}
_SIZES = ("hi_res", "large", "thumb")
_META_KEYS: Keys = {
    "parent_asin": pl.String(),
    "title": pl.String(),
    "store": pl.String(),
    "main_category": pl.String(),
    "categories": pl.List(pl.String()),
    "features": pl.List(pl.String()),
    "description": pl.List(pl.String()),
    "images": pl.List(pl.Struct(dict.fromkeys(("variant", *_SIZES), pl.String()))),
}
_WANTED = "<Category>.jsonl, <Category>.csv or <Category>.train.csv, .valid.csv and .test.csv"


class Amazon2023(WritableFormat):
    """Amazon's reviews of 2023, or their ratings with or without a ready split."""

    name: ClassVar = "amazon2023"
    title: ClassVar = "Amazon reviews 2023: <Category>.jsonl or .csv, meta_<Category>.jsonl (.gz)"

    def recognises(self, source: Path) -> bool:
        """A file, or a folder with a file, whose first line is such a review or header."""
        return bool(claimed(source, _is_of_2023))

    def read(self, source: Path, invalid_rows: InvalidRows = "error") -> RawDataset:
        """Read the reviews, or ratings, of one category; see ``Format.read``."""
        files = find_category(source, _is_of_2023, _WANTED)
        parts = {
            part: _ratings(path, invalid_rows)
            if kind_of(path) == "csv"
            else read_reviews(path, _KEYS, invalid_rows)
            for part, path in files.parts.items()
        }
        return RawDataset(parts, sources=files.parts)

    def read_items(self, source: Path) -> pl.DataFrame | None:
        """Read the metadata; see ``item_table`` and ``Format.read_items``."""
        files = find_category(source, _is_of_2023, _WANTED)
        return item_table(files, _blocks(files.meta), "parent_asin") if files.meta else None

    def write(
        self, content: RawDataset, items: pl.DataFrame | None, folder: Path, name: str
    ) -> list[str]:
        """Write reviews without texts, or a split's CSVs, and metadata."""
        require_category_name(name)
        path = folder / f"{name}.jsonl"
        for part, table in content.parts.items():
            frame = table.frame.select(
                pl.col(role).alias(key)
                for role, key in _KEYS.items()
                if role in table.frame.columns
            )
            if content.split:
                write_delimited(frame, folder / f"{name}{SPLIT_MARKS[part]}.csv", ",", header=True)
            else:
                write_json_lines(frame.with_columns(asin="parent_asin"), path)
        notes = left_out(content, items, holds=("rating", "timestamp", "items", "split"))
        notes += unit_notes(content, milliseconds=True)
        if items is None:
            return notes
        frame, lost = metadata(items)
        url = pl.col("image_url")
        image = pl.struct(url.alias("hi_res"), url.alias("large"), pl.lit("MAIN").alias("variant"))
        written = frame.select(
            "main_category",
            "title",
            "features",
            "description",
            pl.concat_list(pl.when(url.is_not_null()).then(image))
            .list.drop_nulls()
            .alias("images"),
            pl.col("brand").alias("store"),
            "categories",
            pl.col("item_id").alias("parent_asin"),
        )
        write_json_lines(written, folder / f"{META}{category(path)}.jsonl")
        return notes + lost


def _is_of_2023(path: Path) -> bool:
    kind = kind_of(path)
    if not kind:
        return False
    first = first_line(path)
    if kind == "csv":
        return {"user_id", "parent_asin"} <= set(first.split(",")) or meta_kind(path) == "jsonl"
    by_name = kind == "jsonl" and meta_kind(path) == "jsonl" and '"reviewerID"' not in first
    return by_name or all(f'"{key}"' in first for key in ("user_id", "parent_asin"))


def _ratings(path: Path, invalid_rows: InvalidRows) -> InteractionTable:
    table = read_delimited(path, ",", columns=list(_KEYS.values()))
    table.require(_KEYS["user"], _KEYS["item"])
    there = {role: key for role, key in _KEYS.items() if key in table.frame.columns}
    return table.interactions(there, invalid_rows)


def _blocks(path: Path) -> Iterator[pl.DataFrame]:
    main = pl.element().filter(pl.element().struct.field("variant") == "MAIN")
    pictures = (pl.col("images").list.eval(main), pl.col("images"))
    urls = [
        picture.list.get(0, null_on_oob=True).struct.field(size)
        for picture in pictures
        for size in _SIZES
    ]
    for block in scan_json_lines(path, _META_KEYS):
        yield block.select(
            pl.col("parent_asin").alias("item_id"),
            "title",
            pl.col("store").alias("brand"),
            "main_category",
            "categories",
            "features",
            "description",
            pl.coalesce(urls).alias("image_url"),
            LINE,
        )
