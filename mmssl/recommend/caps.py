"""Caps: at most so many items of a list share a value, such as a category, of the item table."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.sparse import csr_array

from extract.errors import InputError
from mmssl.data.ids import IdMap
from mmssl.evaluation.ranking import RankedBlock, Score, rank_blocks

# How much deeper than the list is ranked at first, and how much deeper each further time.
_DEEPER = 4
# Positions looked at together before those that nobody can take are passed over.
_STRETCH = 256


@dataclass(frozen=True, eq=False)
class Cap:
    """At most ``limit`` items of a list have the same value."""

    column: str
    limit: int
    """At least 1."""
    values: NDArray[np.int64]
    """(I,) the number of each item's value, from 0; -1 where it has none: such items count as
    different from all others."""

    def line(self) -> str:
        """The cap as a line of text for people."""
        without = int((self.values < 0).sum())
        told = f"cap {self.column}={self.limit}: values {self.values.max() + 1:,}"
        return told + (f"; items without a value, not capped: {without:,}" if without else "")


def read_caps(
    given: Sequence[str], table: Path | None, items: IdMap, id_column: str | None = None
) -> list[Cap]:
    """The caps meant by ``--cap COLUMN=N``.

    Values are compared as text, each as it stands. An item whose value is empty (or spaces, or
    NaN), or that the table lacks, has none.

    Args:
        given: such texts.
        table: the item table (.csv, .tsv, .jsonl, .parquet).
        items: the model's items.
        id_column: of the table; None: the first usual one that it has.

    Raises:
        InputError: a text of another form, a column capped twice, no table, or one that is
            unreadable, lacks a column, repeats an item or has none of the model's.
    """
    limits = _limits(given)
    if table is None:
        raise InputError(f"--cap {given[0]}: needs --items TABLE, the table that has the column")
    from extract.item_table import ID_COLUMNS, ItemTable

    read = ItemTable(table)
    for column in limits:
        read.require(column, "--cap")
    values = {column: np.full(len(items), None, dtype=object) for column in limits}
    found = np.zeros(len(items), dtype=np.bool_)
    for ids, block in read.blocks(read.column(id_column, ID_COLUMNS, "--id-column"), list(limits)):
        known = [place for place, id_ in enumerate(ids.to_list()) if id_ in items]
        rows = items.rows(ids.gather(known).to_list())
        if found[rows].any() or len(np.unique(rows)) < len(rows):
            raise InputError(f"{table}: an item id stands in two rows; item ids must be unique")
        found[rows] = True
        for column in limits:
            values[column][rows] = _texts(table, block[column]).gather(known).to_list()
    if not found.any():
        raise InputError(f"{table}: has none of the model's items; are these its ids?")
    return [Cap(column, limit, _numbered(values[column])) for column, limit in limits.items()]


def capped_blocks(
    score: Score,
    users: NDArray[np.int64],
    exclude: csr_array,
    k: int,
    caps: Sequence[Cap],
    block: int | None = None,
    candidates: NDArray[np.bool_] | None = None,
) -> Iterator[RankedBlock]:
    """As ``rank_blocks``, but going down each ranking and passing over what a cap forbids.

    Of several caps an item has to keep all; one that is passed over counts for none of them. A
    ranking is followed until the list is full or no candidate is left. Users whose list is not
    full yet are ranked again, deeper: memory stays that of a few blocks of users x items.
    """
    n_items = exclude.shape[1]
    length, depth = min(k, n_items), min(_DEEPER * k, n_items)
    for ranked in rank_blocks(score, users, exclude, depth, block, candidates=candidates):
        items, scores = _first(ranked, caps, length)
        reached, deeper = ranked, depth
        short = np.arange(len(ranked.users))
        while deeper < n_items:
            more = (items[short, -1] < 0) & (reached.items[:, -1] >= 0)
            short, deeper = short[more], min(_DEEPER * deeper, n_items)
            if not len(short):
                break
            again = rank_blocks(
                score, ranked.users[short], exclude, deeper, len(short), candidates=candidates
            )
            reached = next(again)
            items[short], scores[short] = _first(reached, caps, length)
        yield RankedBlock(ranked.users, items, scores, ranked.place)


def _first(
    ranked: RankedBlock, caps: Sequence[Cap], length: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """(b, length) the best items that keep the caps and their scores, padded as a block is."""
    kept = _kept(ranked.items, caps, length)
    # Those kept first, each in its order.
    order = np.argsort(~kept, axis=1, kind="stable")[:, :length]
    there = np.take_along_axis(kept, order, axis=1)
    items = np.where(there, np.take_along_axis(ranked.items, order, axis=1), -1)
    scores = np.where(there, np.take_along_axis(ranked.scores, order, axis=1), -np.inf)
    return items, scores.astype(np.float32)


def _kept(items: NDArray[np.int64], caps: Sequence[Cap], length: int) -> NDArray[np.bool_]:
    """(b, w) which positions of the rankings are listed."""
    n_users, width = items.shape
    kept = np.zeros(items.shape, dtype=np.bool_)
    free = np.full(n_users, length)
    cells = [_cells(items, cap) for cap in caps]
    left = [np.full(each.max() + 1, cap.limit) for each, cap in zip(cells, caps, strict=True)]
    for start in range(0, width, _STRETCH):
        stretch = slice(start, start + _STRETCH)
        open_ = (items[:, stretch] >= 0) & (free > 0)[:, None]
        for cell, rest in zip(cells, left, strict=True):
            open_ &= rest[cell[:, stretch]] > 0
        for position in start + np.flatnonzero(open_.any(axis=0)):
            taken = (items[:, position] >= 0) & (free > 0)
            for cell, rest in zip(cells, left, strict=True):
                taken &= rest[cell[:, position]] > 0
            kept[taken, position] = True
            free -= taken
            for cell, rest in zip(cells, left, strict=True):
                # No two users share a cell.
                rest[cell[taken, position]] -= 1
        if not free.any():
            break
    return kept


def _cells(items: NDArray[np.int64], cap: Cap) -> NDArray[np.int64]:
    """(b, w) a number for each user and value; every item without a value has one of its own."""
    values = cap.values[items]
    alone = (values < 0) | (items < 0)
    values = np.where(alone, cap.values.max() + 1 + np.arange(items.shape[1]), values)
    several = cap.values.max() + 1 + items.shape[1]
    keys = values + several * np.arange(len(items))[:, None]
    return np.unique(keys, return_inverse=True)[1].reshape(items.shape)


def _limits(given: Sequence[str]) -> dict[str, int]:
    limits: dict[str, int] = {}
    for text in given:
        column, equals, number = text.rpartition("=")
        if not (column and equals and number.isascii() and number.isdigit()) or int(number) < 1:
            raise InputError(
                f"--cap {text}: not of the form COLUMN=N with N at least 1, as category=3"
            )
        if column in limits:
            raise InputError(f"--cap {text}: column {column!r} is capped twice")
        limits[column] = int(number)
    return limits


def _texts(table: Path, column: pl.Series) -> pl.Series:
    """Values as text, null where there is none."""
    simple = column.dtype in (pl.String, pl.Categorical, pl.Null, pl.Boolean)
    if not (simple or column.dtype.is_numeric()):
        raise InputError(
            f"{table}: column {column.name!r} holds {column.dtype}; --cap compares text or numbers"
        )
    if column.dtype.is_float():
        column = column.fill_nan(None)
    texts = column.cast(pl.String)
    return texts.set(texts.str.strip_chars() == "", None)


def _numbered(values: NDArray[np.object_]) -> NDArray[np.int64]:
    numbers: dict[str, int] = {}
    return np.array(
        [-1 if value is None else numbers.setdefault(value, len(numbers)) for value in values],
        dtype=np.int64,
    )
