"""Caps: at most so many items of a list share a value, such as a category, of the item table."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor

from extract.errors import InputError
from mmssl.data.ids import IdMap
from mmssl.evaluation.ranking import RankedBlock, Score, scored_blocks, top_k_of_block

# How many times the list's length of a ranking is looked at together.
_DEEPER = 4
_UNLIMITED = 2**31 - 1


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
    ranking is followed until the list is full or no candidate is left: of users whose list is not,
    the items seen so far and those whose value is used up are taken out of the block's scores, and
    the best of the others are looked at. Each time at least one item is listed. Memory is that of
    ``rank_blocks``.
    """
    length = min(k, exclude.shape[1])
    for users_of_block, scores, place in scored_blocks(
        score, users, exclude, block, candidates=candidates
    ):
        with torch.inference_mode():
            items, values = _lists(scores, caps, length)
        yield RankedBlock(users_of_block, items, values, place)


def _lists(
    scores: Tensor, caps: Sequence[Cap], length: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """(b, length) items and scores as a block has them, of (b, I) scores, which are overwritten."""
    n_users = len(scores)
    items = np.full((n_users, length), -1, dtype=np.int64)
    values = np.full((n_users, length), -np.inf, dtype=np.float32)
    listed = np.zeros(n_users, dtype=np.int64)
    rooms = [_room(n_users, cap) for cap in caps]
    users = np.arange(n_users)
    while len(users):
        rows = scores if len(users) == n_users else scores[torch.from_numpy(users)]
        best, best_scores = top_k_of_block(rows, _DEEPER * length)
        ranked, ranked_scores = best.cpu().numpy(), best_scores.float().cpu().numpy()
        for position in range(ranked.shape[1]):
            taken = (ranked[:, position] >= 0) & (listed[users] < length)
            if not taken.any():
                break
            cells = [(users, cap.values[ranked[:, position]]) for cap in caps]
            for room, cell in zip(rooms, cells, strict=True):
                taken &= room[cell] > 0
            for room, (user, value) in zip(rooms, cells, strict=True):
                room[user[taken], value[taken]] -= 1
            at = users[taken], listed[users[taken]]
            items[at], values[at] = ranked[taken, position], ranked_scores[taken, position]
            listed[users[taken]] += 1
        more = (listed[users] < length) & (ranked[:, -1] >= 0)
        users = users[more]
        at_once = torch.from_numpy(users).to(scores.device)
        scores[at_once[:, None], best[torch.from_numpy(more).to(scores.device)]] = -torch.inf
        for cap, room in zip(caps, rooms, strict=True):
            used_up = torch.from_numpy(room[users] <= 0).to(scores.device)
            of_items = torch.from_numpy(cap.values).to(scores.device) % used_up.shape[1]
            scores[at_once] = scores[at_once].masked_fill(used_up[:, of_items], -torch.inf)
    return items, values


def _room(users: int, cap: Cap) -> NDArray[np.int32]:
    """(b, values + 1) how many more items there is room for; the last, -1, is for those without."""
    room = np.full((users, cap.values.max() + 2), min(cap.limit, _UNLIMITED), dtype=np.int32)
    room[:, -1] = _UNLIMITED
    return room


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
