import numpy as np
import pytest

from extract.blocks import blocks
from extract.errors import InputError


def test_the_blocks_are_the_parts_and_know_which_items_are_ok(tmp_path, fill_store):
    vectors = np.arange(14, dtype=np.float32).reshape(7, 2)
    store = fill_store(tmp_path / "s", vectors, absent={1: "failed", 6: "missing"})
    found = list(blocks(store))
    assert [block.part for block in found] == [0, 1, 2]
    assert [block.ok_ids.to_list() for block in found] == [
        ["item-0", "item-2"],
        ["item-3", "item-4", "item-5"],
        [],
    ]
    np.testing.assert_array_equal(
        np.concatenate([block.ok_vectors for block in found]), vectors[[0, 2, 3, 4, 5]]
    )
    assert found[0].statuses["status"].to_list() == ["ok", "failed", "ok"]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_ok_item_with_a_nan_is_named(tmp_path, fill_store, value):
    vectors = np.ones((5, 2))
    vectors[4, 1] = value
    with pytest.raises(InputError, match=r"part 1: item 'item-4' counts as ok, but its vector"):
        list(blocks(fill_store(tmp_path / "s", vectors)))
