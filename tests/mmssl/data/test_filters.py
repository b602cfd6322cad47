import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from mmssl.data.filters import Removed, drop_duplicates, k_core, keep_rated

pairs = st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=40, unique=True)


def frame(rows, **more):
    columns = {"user": [str(user) for user, _ in rows], "item": [str(item) for _, item in rows]}
    return pl.DataFrame(
        columns | {"row": range(1, len(rows) + 1)} | more,
        schema_overrides={"user": pl.String, "item": pl.String},
    )


def slow_core(rows, user_core, item_core):
    """The k-core by its definition, one violating interaction at a time."""
    rows = set(rows)
    while True:
        users = [user for user, _ in rows]
        items = [item for _, item in rows]
        poor = {row for row in rows if users.count(row[0]) < user_core}
        poor |= {row for row in rows if items.count(row[1]) < item_core}
        if not poor:
            return rows
        rows.discard(min(poor))


@given(pairs, st.integers(1, 4), st.integers(1, 4))
def test_k_core_is_the_largest_subset_that_meets_both_bounds(rows, user_core, item_core):
    left = k_core(frame(rows), user_core, item_core)
    kept = {(int(user), int(item)) for user, item in left.select("user", "item").rows()}
    assert kept == slow_core(rows, user_core, item_core)


def test_k_core_follows_a_chain_of_removals():
    # Item c goes (one user), then user 2 (one item left), then item b, then user 1.
    rows = [("1", "a"), ("1", "b"), ("2", "b"), ("2", "c"), ("3", "a"), ("3", "d"), ("4", "d")]
    left = k_core(frame(rows), 2, 2)
    assert left.height == 0
    rows += [("4", "a")]
    assert sorted(k_core(frame(rows), 2, 2).select("user", "item").rows()) == [
        ("3", "a"),
        ("3", "d"),
        ("4", "a"),
        ("4", "d"),
    ]


def test_duplicates_are_ordered_by_time_where_there_is_one():
    table = frame(
        [(1, 1), (1, 2), (1, 1), (1, 1)], timestamp=[30, 5, 10, 20], rating=[1.0, 2.0, 3.0, 4.0]
    )
    assert drop_duplicates(table, "last")["rating"].to_list() == [1.0, 2.0]
    assert drop_duplicates(table, "first")["rating"].to_list() == [2.0, 3.0]


def test_duplicates_without_time_are_ordered_by_row():
    table = frame([(1, 1), (1, 2), (1, 1)])
    assert drop_duplicates(table, "last")["row"].to_list() == [2, 3]
    assert drop_duplicates(table, "first")["row"].to_list() == [1, 2]


def test_equal_times_fall_back_on_the_row():
    table = frame([(1, 1), (1, 1)], timestamp=[7, 7])
    assert drop_duplicates(table, "last")["row"].to_list() == [2]
    assert drop_duplicates(table, "first")["row"].to_list() == [1]


def test_the_rating_bound_itself_is_kept():
    table = frame([(1, 1), (1, 2), (2, 1)], rating=[3.0, 2.9, 5.0])
    assert keep_rated(table, 3)["row"].to_list() == [1, 3]


def test_removed_counts_interactions_users_and_items():
    before = frame([(1, 1), (1, 2), (2, 1), (3, 3)])
    after = before.filter(pl.col("row") == 1)
    assert Removed.between("x", before, after) == Removed("x", 3, 2, 2)
