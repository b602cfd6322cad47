import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extract.errors import InputError
from mmssl.data.ids import IdMap, UnknownIdsError, ordered_ids


def test_plain_integers_are_ordered_by_value_so_that_0_to_n_get_their_own_rows():
    ids = [str(number) for number in range(120)]
    assert ordered_ids(reversed(ids)) == ids


@pytest.mark.parametrize("odd", ["007", "-1", "1.5", "a", "²", "", "٣"])
def test_one_id_that_is_no_plain_integer_makes_the_order_lexicographic(odd):
    assert ordered_ids(["10", "9", odd, "9"]) == sorted(["10", "9", odd])


@given(st.sets(st.integers(min_value=0)))
def test_numeric_order_holds_for_integers_of_any_length(numbers):
    assert ordered_ids(str(number) for number in numbers) == [str(n) for n in sorted(numbers)]


@given(st.lists(st.text(max_size=4)), st.randoms())
def test_the_order_depends_on_the_set_alone(ids, random):
    shuffled = ids * 2
    random.shuffle(shuffled)
    assert ordered_ids(shuffled) == ordered_ids(ids)


@given(st.lists(st.text(max_size=3), unique=True, min_size=1), st.data())
def test_rows_lead_back_to_the_ids(ids, data):
    wanted = data.draw(st.lists(st.sampled_from(ids)))
    id_map = IdMap(ids)
    rows = id_map.rows(wanted)
    assert rows.dtype == np.int64
    assert [id_map.ids[row] for row in rows] == wanted


def test_ids_of_any_script_and_with_dots_and_slashes_keep_their_rows():
    ids = ["a/b.c", "a/b", "Привет", "猫", " x"]
    id_map = IdMap(ids)
    assert len(id_map) == 5
    assert "猫" in id_map
    assert "x" not in id_map
    assert id_map.rows(["猫", " x", "a/b.c"]).tolist() == [3, 4, 0]


def test_unknown_ids_are_counted_and_named():
    with pytest.raises(InputError, match=r"^4 unknown user ids: 'w', 'x', 'y', \.\.\.$"):
        IdMap(["a"], "user").rows(["w", "x", "a", "w", "y", "z"])
    with pytest.raises(InputError, match=r"^1 unknown item id: 'w'$"):
        IdMap(["a"]).rows(["w"])


def test_known_ids_that_are_like_unknown_ones_are_named():
    ids = IdMap(["star-yellow-07", "disc-red-01", "7"])
    with pytest.raises(UnknownIdsError) as told:
        ids.rows(["star-yelow-07", "nothing", "Disc-red-01"])
    assert str(told.value) == (
        "3 unknown item ids: 'star-yelow-07' (did you mean 'star-yellow-07'?), 'nothing',"
        " 'Disc-red-01' (did you mean 'disc-red-01'?)"
    )
    assert told.value.kind == "item"


def test_among_very_many_ids_none_is_looked_for():
    ids = IdMap([f"item-{n}" for n in range(100_001)])
    with pytest.raises(InputError, match=r"^1 unknown item id: 'item-x'$"):
        ids.rows(["item-x"])


def test_a_repeated_id_is_refused_with_both_rows():
    with pytest.raises(InputError, match="item id 'b' occurs in rows 1 and 3"):
        IdMap(["a", "b", "c", "b"])
