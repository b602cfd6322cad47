"""A store's vectors block by block, so that a store larger than memory can be looked at."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from extract.errors import InputError
from extract.store import FeatureStore

BLOCK_ROWS = 4096

# A vector this much shorter than the longest around it is what rounding leaves of a zero.
_ROUNDING = 1e-6


@dataclass(frozen=True)
class Vectors:
    """Some of a complete store's items, numbered 0 .. count - 1 by whoever chose them."""

    store: FeatureStore
    numbers: NDArray[np.int64]
    """(rows of the store,) the number of the item in each row, -1 where it is left out."""

    @property
    def count(self) -> int:
        """How many items there are."""
        return int((self.numbers >= 0).sum())

    def blocks(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """Numbers (b,) and vectors (b, dim), at most ``BLOCK_ROWS`` at a time, in store order.

        Raises:
            InputError: a part is absent or damaged, or a vector holds NaN or infinity.
        """
        for part in range(self.store.part_count):
            rows = self.store.part_rows(part)
            if not (self.numbers[rows.start : rows.stop] >= 0).any():
                continue
            vectors = self.store.part_vectors(part)
            for start in range(0, len(rows), BLOCK_ROWS):
                numbers = self.numbers[rows.start + start : rows.stop][:BLOCK_ROWS]
                taken = numbers >= 0
                block = vectors[start : start + BLOCK_ROWS][taken]
                if not np.isfinite(block).all():
                    raise InputError(
                        f"{self.store.path}: part {part} holds NaN or infinity in a row that is"
                        " 'ok'; extract it anew"
                    )
                if len(block):
                    yield numbers[taken], block

    def take(self, wanted: NDArray[np.int64]) -> NDArray[np.float32]:
        """The vectors of distinct items: (len(wanted), dim), in the order asked for."""
        place = np.full(self.count, -1, dtype=np.int64)
        place[wanted] = np.arange(len(wanted))
        found = np.empty((len(wanted), self.store.manifest.dim), dtype=np.float32)
        # Only the parts that hold one of them are read.
        numbers = np.where(self.numbers >= 0, place[self.numbers], -1)
        for places, block in Vectors(self.store, numbers).blocks():
            found[places] = block
        return found

    def mean(self) -> NDArray[np.float64]:
        """The mean vector, (dim,)."""
        total = np.zeros(self.store.manifest.dim)
        for _, block in self.blocks():
            total += block.sum(axis=0, dtype=np.float64)
        return total / max(1, self.count)


def unit(vectors: NDArray[Any], mean: NDArray[np.float64]) -> NDArray[np.float32]:
    """Vectors (n, dim) less their mean (dim,), each of length 1; zeros where nothing is left."""
    centred = vectors - mean
    lengths = np.sqrt((centred**2).sum(axis=1, keepdims=True))
    scale = np.sqrt((vectors.astype(np.float64) ** 2).sum(axis=1, keepdims=True))
    nothing = lengths <= _ROUNDING * np.maximum(scale, np.sqrt((mean**2).sum()))
    scaled = np.divide(centred, lengths, out=np.zeros_like(centred), where=~nothing)
    return np.asarray(scaled, dtype=np.float32)


def ok_items(store: FeatureStore) -> Vectors:
    """The store's items that have a vector, numbered in store order.

    Raises:
        InputError: the store is incomplete or damaged.
    """
    ok = np.empty(store.item_count, dtype=np.bool_)
    for part in range(store.part_count):
        rows = store.part_rows(part)
        ok[rows.start : rows.stop] = (store.part_statuses(part)["status"] == "ok").to_numpy()
    return Vectors(store, np.where(ok, np.cumsum(ok) - 1, -1).astype(np.int64))


def ids_of(store: FeatureStore, rows: NDArray[np.int64]) -> dict[int, str]:
    """The ids of some of a store's rows, by row; only the parts that hold them are read."""
    names: dict[int, str] = {}
    for part in range(store.part_count):
        held = store.part_rows(part)
        here = rows[(rows >= held.start) & (rows < held.stop)]
        if len(here):
            ids = store.part_statuses(part)["id"]
            names |= {int(row): str(ids[int(row) - held.start]) for row in here}
    return names


def draw(count: int, at_most: int, seed: int) -> NDArray[np.int64]:
    """Numbers of 0 .. count - 1, ascending: all, or a sample without replacement.

    Args:
        count: of how many.
        at_most: all of them where there are no more than this.
        seed: of the sample.
    """
    if count <= at_most:
        return np.arange(count, dtype=np.int64)
    drawn = np.random.default_rng(seed).choice(count, size=at_most, replace=False)
    return np.sort(drawn).astype(np.int64)
