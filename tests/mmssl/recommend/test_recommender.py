from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from scipy.sparse import csr_array

from extract.errors import InputError
from mmssl.recommend.recommender import Recommender
from mmssl.recommend.tables import SCHEMA


@pytest.fixture
def recommender(saved) -> Recommender:
    return Recommender(saved, device="cpu")


def lists(frame: pl.DataFrame) -> dict[str, list[str]]:
    """Items by user, in the order of the table."""
    return {
        user: part["item_id"].to_list()
        for (user,), part in frame.group_by("user_id", maintain_order=True)
    }


def test_everybody_gets_unseen_items_by_falling_score(recommender):
    frame = recommender.recommend(k=2)
    assert frame.schema == pl.Schema(SCHEMA)
    # Scores a: 0 1 2 3 4; ü.2 has one item left; c: 4 4 4 4 4.5, ties by item row.
    assert frame.rows() == [
        ("a", "7", 4.0, 1, "model"),
        ("a", "007", 3.0, 2, "model"),
        ("ü.2", "7", 0.5, 1, "model"),
        ("c", "7", 4.5, 1, "model"),
        ("c", "i0", 4.0, 2, "model"),
        # Never trained: by training users (i0 2, but seen; 007 2, i1 1, i2 1), not by the vector.
        ("d/4", "007", 2.0, 1, "popularity"),
        ("d/4", "i1", 1.0, 2, "popularity"),
    ]


def test_seen_items_come_back_when_asked_for(recommender):
    frame = recommender.recommend(["ü.2", "d/4"], k=5, exclude_seen=False)
    assert lists(frame) == {
        "ü.2": ["i0", "i1", "i2", "007", "7"],
        "d/4": ["i0", "007", "i1", "i2", "7"],
    }
    assert frame["rank"].to_list() == [1, 2, 3, 4, 5] * 2


def test_users_are_answered_once_each_in_the_order_asked(recommender):
    frame = recommender.recommend(["c", "a", "c"], k=1)
    assert frame["user_id"].to_list() == ["c", "a"]


@pytest.mark.parametrize("block", [1, 2, 3, 100])
def test_blocks_change_nothing(recommender, block):
    assert recommender.recommend(k=3, block=block).equals(recommender.recommend(k=3))


def test_nobody_asked_for_is_an_empty_table(recommender):
    frame = recommender.recommend([])
    assert len(frame) == 0
    assert frame.schema == pl.Schema(SCHEMA)


def test_unknown_users_are_named_or_skipped_and_reported(recommender, tmp_path):
    with pytest.raises(InputError, match="2 unknown user ids: 'x', 'y'"):
        recommender.recommend(["a", "x", "y", "x"])
    assert lists(recommender.recommend(["x", "a"], k=1, skip_unknown=True)) == {"a": ["7"]}
    report = recommender.recommend_to(
        tmp_path / "recs.csv", ["x", "a", "y", "x"], k=1, skip_unknown=True
    )
    assert report.unknown == ("x", "y")
    assert report.users == 1
    assert "unknown users skipped: 2 ('x', 'y')" in report.lines()


@pytest.mark.parametrize("k", [0, -1])
def test_a_list_without_places_is_refused(recommender, k):
    with pytest.raises(InputError, match="at least 1"):
        recommender.recommend(k=k)


def test_the_file_holds_the_table_and_the_report_counts_it(recommender, tmp_path):
    path = tmp_path / "out" / "recs.parquet"
    report = recommender.recommend_to(path, k=2, block=3)
    assert pl.read_parquet(path).equals(recommender.recommend(k=2))
    assert (report.path, report.users, report.rows) == (path, 4, 7)
    assert (report.cold_users, report.short_lists, report.unknown) == (1, 1, ())
    assert report.lines() == [
        f"{path}: recommendations 7, users 4",
        "users without a training interaction: 1; they get the most popular items"
        " (column source: popularity)",
        "users with fewer candidates than asked for: 1",
    ]


def test_a_user_with_nothing_left_is_a_short_list_without_rows(saved, tmp_path):
    everything = replace(saved, val=csr_array(np.ones((4, 5), dtype=np.float32)))
    recommender = Recommender(everything, device="cpu")
    report = recommender.recommend_to(tmp_path / "recs.csv", ["ü.2"])
    assert (report.users, report.rows, report.short_lists) == (1, 0, 1)


def test_unknown_users_are_found_before_the_file_is_begun(recommender, tmp_path):
    with pytest.raises(InputError, match="unknown user id"):
        recommender.recommend_to(tmp_path / "recs.csv", ["x"])
    assert not list(tmp_path.iterdir())


def test_progress_is_shown_on_standard_error_only_when_asked(recommender, tmp_path, capsys):
    recommender.recommend_to(tmp_path / "recs.csv")
    assert capsys.readouterr() == ("", "")
    recommender.recommend_to(tmp_path / "recs.csv", progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "4/4" in err


def test_a_model_from_disk_recommends_as_the_one_in_memory(saved, recommender, tmp_path):
    saved.save(tmp_path / "run" / "model")
    loaded = Recommender.load(tmp_path / "run", device="cpu")
    assert loaded.recommend(k=3).equals(recommender.recommend(k=3))


def test_a_device_that_is_not_there_is_one_line(saved, tmp_path):
    saved.save(tmp_path / "model")
    with pytest.raises(InputError, match="--device tpu: unknown device"):
        Recommender.load(tmp_path / "model", device="tpu")


def test_more_items_than_there_are_is_a_short_list_for_everybody(saved, tmp_path):
    recommender = Recommender(saved, "cpu")
    report = recommender.recommend_to(tmp_path / "recs.csv", k=10**12, exclude_seen=False)
    assert (report.users, report.rows, report.short_lists) == (4, 20, 4)


def test_only_some_items_are_recommended_or_some_never(recommender, tmp_path):
    some = recommender.recommend(["a", "d/4"], only_items=["007", "i2", "i2"])
    assert lists(some) == {"a": ["007", "i2"], "d/4": ["007", "i2"]}
    everybody = recommender.recommend(k=5)
    without = recommender.recommend(k=5, without_items=["7", "i1"])
    kept = everybody.filter(~pl.col("item_id").is_in(["7", "i1"]))
    assert without.drop("rank").equals(kept.drop("rank"))
    only = recommender.recommend(k=5, only_items=["i0", "i2", "007"])
    assert only.equals(without)
    both = recommender.recommend(k=5, only_items=["i2", "7"], without_items=["7"])
    assert set(both["item_id"]) == {"i2"}


def test_unknown_items_are_named_or_skipped_and_one_must_be_left(recommender, tmp_path):
    with pytest.raises(InputError, match="unknown item id"):
        recommender.recommend(only_items=["7", "x"])
    with pytest.raises(InputError, match="unknown item id"):
        recommender.recommend(without_items=["x"])
    for nothing in ({"only_items": []}, {"only_items": ["7"], "without_items": ["7"]}):
        with pytest.raises(InputError, match="no item is left to recommend"):
            recommender.recommend(**nothing)
    report = recommender.recommend_to(
        tmp_path / "recs.csv", only_items=["7", "x"], without_items=["y", "x"], skip_unknown=True
    )
    assert report.unknown_items == ("x", "y")
    assert "unknown items skipped: 2 ('x', 'y')" in report.lines()
    assert set(pl.read_csv(tmp_path / "recs.csv")["item_id"]) == {7}
