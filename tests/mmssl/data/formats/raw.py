"""What the tests of several layouts write and compare."""

import string
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
from hypothesis import strategies as st

from extract.errors import InputError
from mmssl.data.features import SourceFeatures
from mmssl.data.formats.base import PARTS, RawDataset
from mmssl.data.interactions import InteractionTable

IDS = st.text(string.ascii_letters + string.digits + "_-", min_size=1, max_size=6)


def table(
    pairs: list[tuple[str, str]],
    ratings: list[float] | None = None,
    timestamps: list[int] | None = None,
) -> InteractionTable:
    """Interactions as a reader returns them."""
    users, items = zip(*pairs, strict=True) if pairs else ((), ())
    frame = pl.DataFrame(
        {"user": users, "item": items}, schema={"user": pl.String, "item": pl.String}
    )
    if ratings is not None:
        frame = frame.with_columns(pl.Series("rating", ratings, dtype=pl.Float64))
    if timestamps is not None:
        frame = frame.with_columns(pl.Series("timestamp", timestamps, dtype=pl.Int64))
    return InteractionTable(
        Path("made"), frame.with_columns(pl.int_range(1, pl.len() + 1, dtype=pl.Int64).alias("row"))
    )


def features(rows: dict[str, list[float] | None]) -> SourceFeatures:
    """Vectors by item id, None where there is none."""
    dim = next(len(row) for row in rows.values() if row is not None)
    vectors = np.array([row or [0.0] * dim for row in rows.values()], dtype=np.float32)
    present = np.array([row is not None for row in rows.values()])
    return SourceFeatures(list(rows), vectors, present, None, "")


def by_id(source: SourceFeatures) -> dict[str, list[float] | None]:
    """The inverse of ``features``; an item without a vector is None."""
    return {
        id_: vector.tolist() if there else None
        for id_, vector, there in zip(source.ids, source.vectors, source.present, strict=True)
    }


def rows(frame: pl.DataFrame) -> set[tuple[object, ...]]:
    """The rows of interactions, whatever their order and place in the file."""
    names = [name for name in ("user", "item", "rating", "timestamp") if name in frame.columns]
    return set(frame.select(names).iter_rows())


def same(
    read: RawDataset, written: RawDataset, *, features: bool = True, all_items: bool = True
) -> None:
    """Assert that two data sets hold the same, in whatever order.

    Args:
        read: what came back.
        written: what was written.
        features: whether the layout holds features.
        all_items: whether it holds rows of items without a vector; else those are left out.
    """
    assert set(read.parts) == set(written.parts)
    for part, each in written.parts.items():
        assert rows(read.parts[part].frame) == rows(each.frame), part
    if not features:
        assert not read.features
        return
    assert set(read.features) == set(written.features)
    for modality, source in written.features.items():
        wanted = by_id(source)
        found = by_id(read.features[modality])
        if not all_items:
            wanted = {id_: vector for id_, vector in wanted.items() if vector is not None}
        else:
            # Layouts with a row an item also have one for those without features.
            found = {id_: vector for id_, vector in found.items() if vector or id_ in wanted}
        assert found == wanted, modality


def complaint(read: Callable[[], object]) -> str:
    """What is wrong with a file, as its reader tells it in one line; "" if it reads."""
    try:
        read()
    except InputError as error:
        return str(error)
    return ""


@st.composite
def raw_datasets(
    draw: st.DrawFn,
    *,
    split: bool | None = None,
    rated: bool = False,
    timed: bool = False,
    modalities: tuple[str, ...] = ("image", "text"),
    ids: st.SearchStrategy[str] = IDS,
) -> RawDataset:
    """Data sets of any content: ``split`` (None: either), ``rated``, ``timed`` as asked for."""
    users = draw(st.lists(ids, min_size=2, max_size=4, unique=True))
    items = draw(st.lists(ids, min_size=2, max_size=6, unique=True))
    pairs = draw(
        st.lists(st.tuples(st.sampled_from(users), st.sampled_from(items)), min_size=3, unique=True)
    )
    ready = draw(st.booleans()) if split is None else split
    # No part of a split is empty.
    cut = sorted(
        draw(st.lists(st.integers(1, len(pairs) - 1), min_size=2, max_size=2, unique=True))
    )
    pieces = (
        dict(zip(PARTS, (pairs[: cut[0]], pairs[cut[0] : cut[1]], pairs[cut[1] :]), strict=True))
        if ready
        else {"interactions": pairs}
    )

    def made(piece: list[tuple[str, str]]) -> InteractionTable:
        size = len(piece)
        ratings = [float(draw(st.integers(1, 10)) / 2) for _ in range(size)] if rated else None
        times = [draw(st.integers(0, 2_000_000_000)) for _ in range(size)] if timed else None
        return table(piece, ratings, times)

    vectors = st.lists(st.integers(-8, 8).map(lambda n: n / 4), min_size=2, max_size=2)
    return RawDataset(
        {name: made(piece) for name, piece in pieces.items()},
        {
            modality: features(
                {
                    item: draw(st.none() | vectors) if at else [1.0, 2.0]
                    for at, item in enumerate(items)
                }
            )
            for modality in modalities
        },
    )
