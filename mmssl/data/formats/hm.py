"""H&M Personalized Fashion Recommendations, a competition's data set of 2022.

``transactions_train.csv`` (t_dat, customer_id, article_id, price, sales_channel_id): 31.8 million
purchases by day; ``articles.csv``: 25 columns an article, read by their names; ``images/``: a
folder for each first three digits of an article id, ``images/010/0108775015.jpg``. Article ids have
ten digits, the first a 0, and are text. Files and columns are those of the competition's page
("Data Description"); ``customers.csv`` says nothing of items and is not read.
"""

from pathlib import Path
from typing import ClassVar, cast

import polars as pl

from extract.errors import InputError
from mmssl.data.files.delimited import read_delimited, write_delimited
from mmssl.data.files.finding import first_line
from mmssl.data.formats.base import MEDIA, RawDataset, WritableFormat, left_out, uneven
from mmssl.data.formats.item_tables import (
    PICTURES,
    items_left_out,
    joined,
    media_by_id,
    with_media,
)
from mmssl.data.interactions import InteractionTable, InvalidRows

_TRANSACTIONS = "transactions_train.csv"
_ROLES = {"user": "customer_id", "item": "article_id", "timestamp": "t_dat"}
# What describes an article in words, in the order of the text.
_WORDS = ("prod_name", "product_type_name", "colour_group_name", "department_name", "detail_desc")
_DIGITS = 10
# What a timestamp counts, by the bound below which all are: no second before the year 5138 is 1e11,
# no millisecond after March of 1973 is less, and so on.
_UNITS = {1e11: "seconds", 1e14: "milliseconds", 1e17: "microseconds"}
_MICROSECONDS = {"seconds": 1_000_000, "milliseconds": 1_000, "microseconds": 1}


class HM(WritableFormat):
    """H&M Personalized Fashion Recommendations."""

    name: ClassVar = "hm"
    title: ClassVar = "H&M fashion: transactions_train.csv, articles.csv, images/"

    def recognises(self, source: Path) -> bool:
        """A folder with transactions of articles."""
        path = source / _TRANSACTIONS
        return "article_id" in first_line(path) or (
            path.is_file() and (source / "articles.csv").is_file()
        )

    def read(self, source: Path, invalid_rows: InvalidRows = "error") -> RawDataset:
        """Read the transactions; see ``Format.read``.

        A day becomes microseconds since 1970 of its midnight, UTC. Where a tool has read the ids as
        numbers, and so lost the first 0, it is put back by ``articles.csv``, with a warning.
        """
        path = source / _TRANSACTIONS
        found = read_delimited(path, ",", columns=list(_ROLES.values()), quoted=True)
        roles = {
            role: column
            for role, column in _ROLES.items()
            if role != "timestamp" or column in found.frame.columns
        }
        table = found.interactions(roles, invalid_rows)
        table, warnings = _with_zeros(table, source)
        return RawDataset({"interactions": table}, {}, {"transactions": path}, warnings)

    def read_items(self, source: Path) -> pl.DataFrame | None:
        """Read articles and pictures; see ``Format.read_items``.

        The text is name, type, colour, department and description, with a full stop between.
        """
        path = source / "articles.csv"
        if not path.is_file():
            return None
        table = read_delimited(path, ",", quoted=True)
        ids = table.unique_ids("article_id")
        words = [name for name in _WORDS if name in table.frame.columns]
        if not words:
            raise InputError(f"{path}, line 1: none of the columns {', '.join(_WORDS)}")
        items = table.frame.select(
            ids.alias("item_id"),
            joined(*words).alias("text"),
            pl.all().exclude("article_id", "item_id", "text", *MEDIA),
        )
        images = source / "images"
        folders = sorted(images.iterdir()) if images.is_dir() else []
        pictures = media_by_id([images, *folders], PICTURES)
        return with_media(items, "image", _by_number(pictures, ids) | pictures)

    def write(
        self, content: RawDataset, items: pl.DataFrame | None, folder: Path, name: str
    ) -> list[str]:
        """Write transactions and articles; see ``WritableFormat.write``.

        Timestamps become days; ids are written as they are.
        """
        del name
        frame = content.together()
        notes = uneven(content) + left_out(content, items, holds=("timestamp", "items"))
        if "timestamp" in frame.columns:
            days, said = _days(frame["timestamp"])
            frame = frame.with_columns(days)
            notes += said
        there = [role for role in ("timestamp", "user", "item") if role in frame.columns]
        write_delimited(
            frame.select(pl.col(role).alias(_ROLES[role]) for role in there),
            folder / _TRANSACTIONS,
            ",",
            header=True,
            quoted=True,
        )
        absent = ["t_dat"] * ("timestamp" not in there) + ["price", "sales_channel_id"]
        notes.append(f"{_TRANSACTIONS}: no column {', '.join(absent)}")
        if items is None:
            return notes
        return notes + _write_articles(items, folder / "articles.csv")


def _with_zeros(table: InteractionTable, source: Path) -> tuple[InteractionTable, tuple[str, ...]]:
    """The transactions with the ids of ``articles.csv``, where only a first 0 is between them."""
    path = source / "articles.csv"
    used = table.frame["item"].unique()
    short = used.filter(used.str.contains(f"^[0-9]{{1,{_DIGITS - 1}}}$"))
    if not len(short) or not path.is_file():
        return table, ()
    known = read_delimited(path, ",", columns=["article_id"], quoted=True).unique_ids("article_id")
    whole = short.str.zfill(_DIGITS)
    lost = whole.is_in(known.implode()) & ~short.is_in(known.implode())
    if not lost.any():
        return table, ()
    mended = table.frame.with_columns(
        pl.col("item").replace(short.filter(lost), whole.filter(lost))
    )
    warning = (
        f"{table.path}: {lost.sum():,} article ids have lost their first 0, and have it again, as"
        " in articles.csv; a tool has read them as numbers"
    )
    return InteractionTable(table.path, mended, table.invalid), (warning,)


def _by_number(pictures: dict[str, str], ids: pl.Series) -> dict[str, str]:
    """Pictures of ids that have lost their first 0."""
    return {id_: pictures[full] for id_ in ids if (full := id_.zfill(_DIGITS)) in pictures}


def _days(times: pl.Series) -> tuple[pl.Series, list[str]]:
    """Timestamps as ISO 8601 days, and how they were taken.

    Raises:
        InputError: no such day.
    """
    largest = float(cast(float, times.abs().max()))
    unit = next((unit for bound, unit in _UNITS.items() if largest < bound), "nanoseconds")
    whole = times.cast(pl.Int64, strict=False)
    if whole.null_count():
        raise InputError(f"timestamp {largest:g}: no time that could be written as a day; mend it")
    micro = whole // 1_000 if unit == "nanoseconds" else whole * _MICROSECONDS[unit]
    moments = micro.cast(pl.Datetime("us"))
    days = moments.dt.date()
    notes = [f"timestamp: taken as {unit} since 1970, and written as days"]
    lost = int((days.cast(pl.Datetime("us")) != moments).sum())
    if lost:
        notes.append(f"timestamp: {lost:,} of {len(days):,} had a time of day, which is left out")
    return days.cast(pl.String).alias("timestamp"), notes


def _write_articles(items: pl.DataFrame, path: Path) -> list[str]:
    taken = ("item_id", "article_id", "text", *MEDIA)
    columns = [name for name in items.columns if name not in taken]
    notes = []
    if not set(_WORDS) & set(columns):
        if "text" in items.columns:
            columns.append("detail_desc")
            items = items.with_columns(detail_desc="text")
        else:
            columns.append("prod_name")
            items = items.with_columns(prod_name=pl.lit(None, pl.String))
    elif "text" in items.columns:
        text = joined(*(name for name in _WORDS if name in columns))
        if changed := items.filter(pl.col("text") != text).height:
            notes.append(f"text of {changed:,} items: not in the articles' words, and left out")
    write_delimited(
        items.select(pl.col("item_id").alias("article_id"), *columns),
        path,
        ",",
        header=True,
        quoted=True,
    )
    return notes + items_left_out(
        items, holds=columns, media="image in images/<first 3 digits>/<article_id>.jpg"
    )
