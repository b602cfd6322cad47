import tracemalloc

import numpy as np
import polars as pl
import pytest
import torch

from extract.errors import InputError
from extract.export.npy import write_npy

ABSENT = {1: "failed", 5: "missing"}


@pytest.fixture
def vectors() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)


@pytest.fixture
def store(tmp_path, fill_store, vectors):
    return fill_store(tmp_path / "s", vectors, absent=ABSENT)


def as_mmrec_loads(path) -> torch.Tensor:
    """src/common/abstract_recommender.py, GeneralRecommender.__init__ (without pickles)."""
    return torch.from_numpy(np.load(path, allow_pickle=False)).type(torch.FloatTensor)


def test_without_an_order_the_ok_items_in_the_stores(store, vectors, tmp_path):
    out = tmp_path / "image_feat.npy"
    summary = write_npy(store, out)
    rows = [row for row in range(8) if row not in ABSENT]
    np.testing.assert_array_equal(np.load(out, allow_pickle=False), vectors[rows])
    ids = (tmp_path / "image_feat.ids.txt").read_text().splitlines()
    assert ids == [f"item-{row}" for row in rows]
    assert sorted(file.name for file in tmp_path.glob("image_feat*")) == [
        "image_feat.ids.txt",
        "image_feat.npy",
    ]
    assert summary.lines() == [
        f"npy: 6 items, 3 dimensions, float32, from {store.path}",
        "without a vector: failed 1, missing 1",
        f"written: {out}",
        f"written: {tmp_path / 'image_feat.ids.txt'}",
    ]


@pytest.mark.parametrize("missing", ["zero", "mean", "nan"])
def test_with_an_order_every_id_has_its_row(store, vectors, tmp_path, missing):
    order = pl.Series(["item-7", "unknown", "item-1", "item-0", "item-4"])
    summary = write_npy(store, tmp_path / "f.npy", order=order, missing=missing)
    found = as_mmrec_loads(tmp_path / "f.npy").numpy()
    present = [0, 3, 4]
    np.testing.assert_array_equal(found[present], vectors[[7, 0, 4]])
    filling = {"zero": 0, "mean": vectors[[7, 0, 4]].mean(axis=0), "nan": np.nan}[missing]
    np.testing.assert_allclose(found[[1, 2]], np.broadcast_to(filling, (2, 3)), rtol=1e-6)
    mask = np.load(tmp_path / "f.mask.npy", allow_pickle=False)
    assert mask.dtype == np.bool_
    assert mask.tolist() == [True, False, False, True, True]
    assert (tmp_path / "f.ids.txt").read_text().splitlines() == order.to_list()
    assert summary.written == 3
    assert f"5 rows in the order given, 2 {missing}" in summary.lines()
    assert "not in the order, so left out: 3 ok items" in summary.lines()


def test_absent_rows_are_an_error_unless_it_is_said_what_stands_there(store, tmp_path):
    order = pl.Series(["item-7", "unknown", "item-1"])
    with pytest.raises(InputError, match=r"2 of the 3 items .* \('unknown', 'item-1'\)"):
        write_npy(store, tmp_path / "f.npy", order=order)
    assert not list(tmp_path.glob("f*"))
    write_npy(store, tmp_path / "f.npy", order=order[:1])
    assert np.load(tmp_path / "f.mask.npy").tolist() == [True]


def test_an_order_of_other_ids_is_refused_with_both_kinds(store, tmp_path):
    with pytest.raises(InputError, match=r"holds ids like '1', .*, the store like 'item-0'"):
        write_npy(store, tmp_path / "f.npy", order=pl.Series(["1", "2"]), missing="zero")


@pytest.mark.parametrize("odd", ["a\nb", "a\rb", "a\r"])
def test_an_id_with_a_line_break_is_refused(tmp_path, fill_store, vectors, odd):
    ids = [odd, *"bcdefgh"]
    store = fill_store(tmp_path / "s", vectors, ids=ids)
    with pytest.raises(InputError, match="holds a line break"):
        write_npy(store, tmp_path / "f.npy")
    assert not list(tmp_path.glob("f*"))
    write_npy(store, tmp_path / "f.npy", order=pl.Series(["b"]))


def test_a_nan_in_an_ok_vector_leaves_nothing_behind(tmp_path, fill_store, vectors):
    vectors[6, 0] = np.nan
    store = fill_store(tmp_path / "s", vectors)
    for order in (None, pl.Series([f"item-{row}" for row in range(8)])):
        with pytest.raises(InputError, match="item 'item-6' counts as ok"):
            write_npy(store, tmp_path / "f.npy", order=order)
    assert not list(tmp_path.glob("*f.*"))


@pytest.mark.parametrize("ordered", [True, False])
def test_memory_does_not_grow_with_the_items(tmp_path, fill_store, ordered):
    def peak(n):
        store = fill_store(tmp_path / str(n), np.ones((n, 256)), rows_per_part=250)
        order = pl.Series([f"item-{row}" for row in range(n)]) if ordered else None
        tracemalloc.start()
        write_npy(store, tmp_path / f"{n}.npy", order=order)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(250)  # what is imported and cached on first use
    small, large = peak(500), peak(5000)
    # The ids of the order are held; the vectors of 4,500 more items would be 4.6 MB.
    assert large - small < 0.4e6
