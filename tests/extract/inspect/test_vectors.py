import numpy as np
import pytest

from extract.errors import InputError
from extract.inspect import vectors as module
from extract.inspect.vectors import Vectors, draw, ids_of, ok_items, unit


@pytest.fixture
def values():
    return np.random.default_rng(0).normal(size=(11, 4)).astype(np.float32)


def test_blocks_leave_out_what_has_no_vector_and_keep_the_order(make_store, values, monkeypatch):
    monkeypatch.setattr(module, "BLOCK_ROWS", 2)
    found = ok_items(make_store(values, reasons={0: "bad", 5: None}, rows_per_part=5))
    blocks = list(found.blocks())
    assert max(len(block) for _, block in blocks) == 2
    assert np.concatenate([numbers for numbers, _ in blocks]).tolist() == list(range(9))
    kept = np.delete(values, [0, 5], axis=0)
    np.testing.assert_array_equal(np.concatenate([block for _, block in blocks]), kept)
    np.testing.assert_allclose(found.mean(), kept.mean(axis=0, dtype=np.float64), rtol=1e-6)
    assert found.count == 9


def test_take_gives_vectors_in_the_order_asked_for(make_store, values):
    found = ok_items(make_store(values, reasons={2: "bad"}))
    np.testing.assert_array_equal(found.take(np.array([9, 0, 4])), values[[10, 0, 5]])


def test_numbers_may_be_in_any_order(make_store, values):
    numbers = np.full(11, -1)
    numbers[[7, 3, 10]] = [0, 1, 2]
    found = Vectors(make_store(values), numbers)
    np.testing.assert_array_equal(found.take(np.arange(3)), values[[7, 3, 10]])


def test_a_part_without_any_wanted_item_is_not_read(make_store, values):
    store = make_store(values)
    (store.path / "part-1.npy").unlink()
    assert len(ok_items(store).take(np.array([0, 8]))) == 2
    with pytest.raises(InputError, match=r"part-1\.npy: missing or damaged"):
        ok_items(store).mean()


def test_nan_in_a_row_that_is_ok_is_refused(make_store, values):
    values[4, 1] = np.nan
    with pytest.raises(InputError, match="part 1 holds NaN or infinity"):
        ok_items(make_store(values)).mean()


def test_unit_vectors_have_length_one_or_are_zero(values):
    mean = values.mean(axis=0, dtype=np.float64)
    made = unit(np.vstack([values, mean.astype(np.float32)]), mean)
    np.testing.assert_allclose(np.linalg.norm(made[:-1], axis=1), 1, rtol=1e-6)
    assert made[-1].tolist() == [0, 0, 0, 0]
    assert made.dtype == np.float32


def test_vectors_that_are_all_the_same_have_no_direction():
    # A mean that is not exactly a float32 must not make directions of rounding.
    same = np.full((3, 5), 0.1, dtype=np.float32)
    assert not unit(same, same.sum(axis=0, dtype=np.float64) / 3 + 1e-12).any()


def test_draw_takes_all_or_a_seeded_sample_without_repeats():
    assert draw(5, 5, seed=1).tolist() == [0, 1, 2, 3, 4]
    drawn = draw(1000, 50, seed=1)
    assert len(set(drawn.tolist())) == 50
    assert drawn.tolist() == sorted(drawn.tolist()) == draw(1000, 50, seed=1).tolist()
    assert drawn.tolist() != draw(1000, 50, seed=2).tolist()


def test_ids_of_rows_in_several_parts(make_store, values):
    store = make_store(values, ids=[f"é/{row}" for row in range(11)])
    (store.path / "part-1.parquet").unlink()
    assert ids_of(store, np.array([10, 0, 1])) == {10: "é/10", 0: "é/0", 1: "é/1"}
