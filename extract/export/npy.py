"""One .npy matrix and what its rows are, as MMRec, MMSSL and LATTICE read them.

They load ``image_feat.npy`` and ``text_feat.npy`` with ``np.load`` and take row i as the features
of the item with the internal number i (MMRec: ``src/common/abstract_recommender.py``,
``GeneralRecommender.__init__``); every item has a row. The order of rows is theirs, so it is given.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from extract.blocks import blocks, read_block
from extract.errors import InputError
from extract.export.summary import ExportSummary, begin_summary, shown
from extract.files import atomic_path
from extract.store import FeatureStore

Missing: TypeAlias = Literal["zero", "mean", "nan", "error"]

_ROWS = 4096


def npy_files(out: Path, *, ordered: bool) -> list[Path]:
    """What ``write_npy`` writes: the matrix, the ids, and with an order the mask."""
    names = [out, out.with_suffix(".ids.txt")]
    return [*names, out.with_suffix(".mask.npy")] if ordered else names


def write_npy(
    store: FeatureStore, out: Path, *, order: pl.Series | None = None, missing: Missing = "error"
) -> ExportSummary:
    """Write float32 (n, dim) to ``out``, and line r of ``<stem>.ids.txt`` is the id of row r.

    The matrix is written in place, part by part: memory is a part, and the ids where there is an
    order.

    Args:
        store: complete.
        out: a path that ends in ``.npy``.
        order: the id of each row. None: the ok items in the store's order, and no others.
        missing: with an order, what stands in the rows of items without a vector: zeros, the mean
            of the rows that have one, NaN; or they are refused. ``<stem>.mask.npy``, bool (n,), is
            True where a row is a real vector.

    Raises:
        InputError: an id holds a line break; no row has a vector; rows without one, where
            ``missing`` is ``error``; the disk is full.
    """
    summary = begin_summary("npy", store)
    summary.files = npy_files(out, ordered=order is not None)
    rows = summary.statuses["ok"] if order is None else len(order)
    places = None if order is None else _places(store, order, missing)
    summary.written = rows if places is None else places.height
    if not summary.written:
        theirs, ours = next(_row_ids(store, order)), store.part_statuses(0)["id"]
        raise InputError(
            f"{store.path}: not one item of those in --order has a vector: the order holds ids like"
            f" {shown(theirs, 1)}, the store like {shown(ours, 1)}"
        )
    _check_ids(store, order)
    # The matrix appears last, when what explains it is there.
    with atomic_path(out) as matrix:
        _make_room(matrix, (rows, store.manifest.dim))
        if order is None or places is None:
            _fill_in_order(store, matrix)
        else:
            total = _scatter(store, matrix, places)
            present = np.zeros(rows, dtype=np.bool_)
            present[places["row"].to_numpy()] = True
            _fill(matrix, np.flatnonzero(~present), _filling(missing, total / places.height))
            with atomic_path(out.with_suffix(".mask.npy")) as mask, mask.open("wb") as handle:
                np.save(handle, present, allow_pickle=False)
            summary.notes += _notes(summary, rows, missing)
        with atomic_path(out.with_suffix(".ids.txt")) as ids:
            _write_ids(store, ids, order)
    return summary


def _notes(summary: ExportSummary, rows: int, missing: Missing) -> list[str]:
    absent, unused = rows - summary.written, summary.statuses["ok"] - summary.written
    notes = [f"{rows:,} rows in the order given" + (f", {absent:,} {missing}" if absent else "")]
    return notes + ([f"not in the order, so left out: {unused:,} ok items"] if unused else [])


def _filling(missing: Missing, mean: NDArray[np.float64]) -> float | NDArray[np.float64]:
    return mean if missing == "mean" else np.nan if missing == "nan" else 0.0


def _places(store: FeatureStore, order: pl.Series, missing: Missing) -> pl.DataFrame:
    """Columns part, at (the row within the part) and row (of the matrix), of ok items; by part.

    Raises:
        InputError: an id of the order has no vector, where ``missing`` is ``error``.
    """
    frames = [
        store.part_statuses(part)
        .with_row_index("at")
        .filter(pl.col("status") == "ok")
        .select("id", "at", pl.lit(part, dtype=pl.UInt32).alias("part"))
        for part in range(store.part_count)
    ]
    wanted = pl.DataFrame([order.alias("id")]).with_row_index("row")
    found = wanted.join(pl.concat(frames), on="id", how="left", maintain_order="left")
    absent = found["id"].filter(found["part"].is_null())
    if missing == "error" and len(absent):
        raise InputError(
            f"{store.path}: {len(absent):,} of the {len(order):,} items in --order have no vector"
            f" ({shown(absent)}); say what stands in their rows: --missing zero, mean or nan"
        )
    return found.filter(pl.col("part").is_not_null()).sort("part", "at")


def _make_room(matrix: Path, shape: tuple[int, int]) -> None:
    """A .npy of zeros whose room on the disk is taken: in a memory map a full disk is a crash."""
    made = np.lib.format.open_memmap(matrix, mode="w+", dtype=np.float32, shape=shape)
    del made
    if hasattr(os, "posix_fallocate"):
        with matrix.open("r+b") as handle:
            os.posix_fallocate(handle.fileno(), 0, matrix.stat().st_size)


def _open(matrix: Path) -> NDArray[np.float32]:
    """The matrix for writing. Opened for each part anew, so that the pages written are let go."""
    return np.lib.format.open_memmap(matrix, mode="r+")


def _fill_in_order(store: FeatureStore, matrix: Path) -> None:
    start = 0
    for block in blocks(store):
        vectors = block.ok_vectors
        _open(matrix)[start : start + len(vectors)] = vectors
        start += len(vectors)


def _scatter(store: FeatureStore, matrix: Path, places: pl.DataFrame) -> NDArray[np.float64]:
    """Put every vector in its row; returns their sum (dim,)."""
    total = np.zeros(store.manifest.dim)
    for (part,), of_part in places.group_by("part", maintain_order=True):
        vectors = read_block(store, int(str(part))).vectors[of_part["at"].to_numpy()]
        _open(matrix)[of_part["row"].to_numpy()] = vectors
        total += vectors.sum(axis=0, dtype=np.float64)
    return total


def _fill(matrix: Path, rows: NDArray[np.intp], value: float | NDArray[np.float64]) -> None:
    for start in range(0, len(rows), _ROWS):
        _open(matrix)[rows[start : start + _ROWS]] = value


def _row_ids(store: FeatureStore, order: pl.Series | None) -> Iterator[pl.Series]:
    """The ids of the rows, piece by piece."""
    if order is not None:
        yield order
        return
    for part in range(store.part_count):
        statuses = store.part_statuses(part)
        yield statuses["id"].filter(statuses["status"] == "ok")


def _check_ids(store: FeatureStore, order: pl.Series | None) -> None:
    for ids in _row_ids(store, order):
        broken = ids.filter(ids.str.contains(r"[\n\r]"))
        if len(broken):
            raise InputError(
                f"item id {broken[0]!r} holds a line break, but a list of ids has one a line;"
                " leave the item out with --order, or choose another format"
            )


def _write_ids(store: FeatureStore, path: Path, order: pl.Series | None) -> None:
    with path.open("wb") as handle:
        for ids in _row_ids(store, order):
            handle.writelines(f"{name}\n".encode() for name in ids)
