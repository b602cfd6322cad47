"""A whole store as a stream of its parts, checked on the way."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from extract.errors import InputError
from extract.store import FeatureStore


@dataclass(frozen=True)
class Block:
    """One part of a store."""

    part: int
    vectors: NDArray[np.float32]
    """(rows, dim), NaN where the status is not ok."""
    statuses: pl.DataFrame
    """A row an item, columns as ``extract.store.STATUS_SCHEMA``."""
    ok: NDArray[np.bool_]
    """(rows,)"""

    @property
    def ok_vectors(self) -> NDArray[np.float32]:
        """(ok rows, dim), all finite."""
        return self.vectors[self.ok]

    @property
    def ok_ids(self) -> pl.Series:
        """The ids of ``ok_vectors``, as strings."""
        return self.statuses["id"].filter(pl.Series(self.ok))


def read_block(store: FeatureStore, part: int) -> Block:
    """One part of a store.

    Raises:
        InputError: the part is absent or damaged, or an item counts as ok but its vector holds a
            NaN or an infinite value.
    """
    vectors, statuses = store.part_vectors(part), store.part_statuses(part)
    ok = np.asarray((statuses["status"] == "ok").to_numpy(), dtype=np.bool_)
    bad = np.flatnonzero(ok & ~np.isfinite(vectors).all(axis=1))
    if len(bad):
        raise InputError(
            f"{store.path}, part {part}: item {statuses['id'][int(bad[0])]!r} counts as ok, but its"
            " vector holds NaN or infinite values; extract these features anew"
        )
    return Block(part, vectors, statuses, ok)


def blocks(store: FeatureStore) -> Iterator[Block]:
    """The parts of a store in order; one of them is in memory at a time.

    Raises:
        InputError: as ``read_block``.
    """
    for part in range(store.part_count):
        yield read_block(store, part)
