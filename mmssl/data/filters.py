"""Filters over interactions; each one says what it removed."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl

Duplicates = Literal["last", "first"]


@dataclass(frozen=True)
class Removed:
    """What one step took away: interactions, and the users and items left without any."""

    step: str
    interactions: int
    users: int
    items: int

    @classmethod
    def between(cls, step: str, before: pl.DataFrame, after: pl.DataFrame) -> "Removed":
        """Count what ``after`` lacks of ``before`` (columns ``user`` and ``item``)."""
        users, items = (
            before[kind].drop_nulls().n_unique() - after[kind].drop_nulls().n_unique()
            for kind in ("user", "item")
        )
        return cls(step, before.height - after.height, users, items)


def drop_duplicates(frame: pl.DataFrame, keep: Duplicates) -> pl.DataFrame:
    """One interaction a (user, item) pair: the first or last by time, else by place in the file.

    Interactions of equal time keep the order of the file. The order of rows is kept.
    """
    order = ["timestamp", "row"] if "timestamp" in frame.columns else ["row"]
    kept = frame.sort(order).unique(["user", "item"], keep=keep, maintain_order=True)
    return kept.sort("row")


def keep_rated(frame: pl.DataFrame, min_rating: float) -> pl.DataFrame:
    """The interactions whose ``rating`` is at least ``min_rating``."""
    return frame.filter(pl.col("rating") >= min_rating)


def k_core(frame: pl.DataFrame, user_core: int, item_core: int) -> pl.DataFrame:
    """The largest subset in which each user has >= ``user_core`` and each item >= ``item_core``.

    Removing an item may push a user below the bound and so on, hence repeated until nothing
    changes. The pairs must be distinct.
    """
    users = _codes(frame["user"])
    items = _codes(frame["item"])
    keep = np.ones(frame.height, dtype=np.bool_)
    while True:
        enough = keep & (np.bincount(users[keep], minlength=frame.height)[users] >= user_core)
        enough &= np.bincount(items[enough], minlength=frame.height)[items] >= item_core
        if enough.sum() == keep.sum():
            return frame.filter(pl.Series(keep))
        keep = enough


def _codes(values: pl.Series) -> npt.NDArray[np.int64]:
    """Numbers 0..distinct-1 that tell the values apart."""
    return (values.rank("dense").cast(pl.Int64) - 1).to_numpy()
