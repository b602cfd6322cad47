from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array

from extract.errors import InputError
from mmssl.data.ids import IdMap
from mmssl.recommend import caps as module
from mmssl.recommend.caps import Cap, capped_blocks, read_caps
from mmssl.recommend.recommender import Recommender

ITEMS = IdMap(["i0", "i1", "i2", "007", "7"])


def walked(scores, seen, allowed, caps, k) -> list[list[int]]:
    """Down each ranking, item by item."""
    lists = []
    for user, row in enumerate(scores):
        counts, chosen = {}, []
        for item in sorted(range(len(row)), key=lambda item: (-row[item], item)):
            shared = [
                (number, cap.values[item])
                for number, cap in enumerate(caps)
                if cap.values[item] >= 0
            ]
            full = [key for key in shared if counts.get(key, 0) >= caps[key[0]].limit]
            if len(chosen) < k and allowed[item] and not seen[user, item] and not full:
                chosen.append(item)
                for key in shared:
                    counts[key] = counts.get(key, 0) + 1
        lists.append(chosen)
    return lists


@st.composite
def rankings(draw):
    users, items = draw(st.integers(1, 5)), draw(st.integers(1, 30))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    caps = [
        # Few values in some, so that whole rankings are gone through; -1 in others.
        Cap(
            str(number),
            draw(st.integers(1, 3)),
            random.integers(-1, draw(st.integers(1, 6)), items),
        )
        for number in range(draw(st.integers(1, 3)))
    ]
    scores = random.integers(0, draw(st.integers(1, 50)), (users, items)).astype(np.float32)
    seen = random.random((users, items)) < 0.2
    allowed = random.random(items) < draw(st.sampled_from([0.5, 1.0]))
    return scores, seen, allowed, caps


@given(case=rankings(), k=st.integers(1, 12), block=st.integers(1, 6), deeper=st.integers(1, 4))
def test_lists_are_those_of_a_walk_down_the_ranking(case, k, block, deeper):
    scores, seen, allowed, caps = case
    calls = []

    def score(rows):
        calls.append(len(rows))
        return torch.from_numpy(scores[rows.numpy()])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_DEEPER", deeper)
        blocks = list(
            capped_blocks(
                score,
                np.arange(len(scores)),
                csr_array(seen.astype(np.float32)),
                k,
                caps,
                block,
                allowed,
            )
        )
    found = np.concatenate([each.items for each in blocks])
    assert found.shape == (len(scores), min(k, scores.shape[1]))
    lists = [row[row >= 0].tolist() for row in found]
    assert lists == walked(scores, seen, allowed, caps, k)
    for each in blocks:
        listed = each.items >= 0
        users, _ = listed.nonzero()
        assert (each.scores[listed] == scores[each.users[users], each.items[listed]]).all()
        assert (each.scores[~listed] == -np.inf).all()
        # Nothing stands behind a gap.
        assert (np.diff(listed.astype(int), axis=1) <= 0).all()
    # Each user is scored once, and never more at a time than the block holds.
    assert sum(calls) == len(scores)
    assert max(calls) <= block


def test_a_list_is_filled_from_far_down_the_ranking():
    values = np.zeros(1000, dtype=np.int64)
    values[-1] = 1
    scores = -np.arange(1000, dtype=np.float32)[None]
    (found,) = capped_blocks(
        lambda rows: torch.from_numpy(scores[rows.numpy()]),
        np.array([0]),
        csr_array((1, 1000), dtype=np.float32),
        5,
        [Cap("kind", 2, values)],
    )
    assert found.items.tolist() == [[0, 1, 999, -1, -1]]


def write(tmp_path, text, name="items.csv"):
    path = tmp_path / name
    path.write_text(text)
    return path


def test_values_are_compared_as_text_and_empty_ones_are_none(tmp_path):
    table = write(tmp_path, "id,kind,a=b\n007,x,1\n7, x,2\ni0,x,1\nnew,y,1\ni1, ,\n")
    kind, other = read_caps(["kind=2", "a=b=1"], table, ITEMS)
    assert (kind.column, kind.limit, other.column, other.limit) == ("kind", 2, "a=b", 1)
    # 'x' and ' x' differ; i1 is empty and i2 is not in the table.
    assert kind.values[0] == kind.values[3] != kind.values[4]
    assert kind.values[[1, 2]].tolist() == [-1, -1]
    assert kind.line() == "cap kind=2: values 2; items without a value, not capped: 2"
    assert other.values[0] == other.values[3] != other.values[4]


def test_numbers_are_values_too(tmp_path):
    frame = pl.DataFrame({"item": ITEMS.ids, "year": [1.0, 2.0, None, float("nan"), 1.0]})
    frame.write_parquet(tmp_path / "items.parquet")
    (cap,) = read_caps(["year=1"], tmp_path / "items.parquet", ITEMS)
    assert cap.values.tolist() == [0, 1, -1, -1, 0]
    assert Cap("kind", 1, np.array([0, 1])).line() == "cap kind=1: values 2"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["kind"], "COLUMN=N"),
        (["kind="], "COLUMN=N"),
        (["=2"], "COLUMN=N"),
        (["kind=0"], "at least 1"),
        (["kind=-1"], "at least 1"),
        (["kind=1.5"], "at least 1"),
        (["kind=two"], "at least 1"),
        (["kind=²"], "at least 1"),
        (["kind=1", "kind=2"], "capped twice"),
        (["knid=1"], "did you mean 'kind'"),
    ],
)
def test_a_cap_that_says_nothing_is_one_line(tmp_path, given, says):
    with pytest.raises(InputError, match=says):
        read_caps(given, write(tmp_path, "id,kind\ni0,x\n"), ITEMS)


def test_a_table_that_tells_nothing_is_one_line(tmp_path):
    with pytest.raises(InputError, match="needs --items"):
        read_caps(["kind=1"], None, ITEMS)
    for text, says in (
        ("id,kind\nother,x\n", "none of the model's items"),
        ("id,kind\ni0,x\ni0,y\n", "in two rows"),
        ("kind\nx\n", "--id-column"),
    ):
        with pytest.raises(InputError, match=says):
            read_caps(["kind=1"], write(tmp_path, text), ITEMS)
    lists = pl.DataFrame({"id": ["i0"], "kind": [["a", "b"]]})
    lists.write_parquet(tmp_path / "lists.parquet")
    with pytest.raises(InputError, match="holds List"):
        read_caps(["kind=1"], tmp_path / "lists.parquet", ITEMS)
    table = write(tmp_path, "name,kind\ni0,x\n")
    assert read_caps(["kind=1"], table, ITEMS, "name")[0].values[0] == 0


def test_a_recommender_keeps_the_caps_for_known_and_unknown_users(saved, tmp_path):
    recommender = Recommender(saved, "cpu")
    cap = Cap("kind", 1, np.array([0, 0, 1, 1, -1]))
    frame = recommender.recommend(k=3, caps=[cap], exclude_seen=False)
    lists = {user: part["item_id"].to_list() for (user,), part in frame.group_by("user_id")}
    # a: 0 1 2 3 4; ü.2: 4 3 2 1 .5; c: 4 4 4 4 4.5; d/4 by popularity: 2 1 1 2 0.
    assert lists == {
        "a": ["7", "007", "i1"],
        "ü.2": ["i0", "i2", "7"],
        "c": ["7", "i0", "i2"],
        "d/4": ["i0", "007", "7"],
    }
    assert frame["rank"].to_list() == [1, 2, 3] * 4
    report = recommender.recommend_to(
        tmp_path / "recs.parquet", k=3, caps=[cap], exclude_seen=False, block=1
    )
    assert pl.read_parquet(tmp_path / "recs.parquet").equals(frame)
    assert report.short_lists == 0
    strict = replace(cap, values=np.zeros(5, dtype=np.int64))
    report = recommender.recommend_to(tmp_path / "recs.parquet", k=2, caps=[strict])
    assert (report.rows, report.short_lists) == (4, 4)


def test_a_cap_that_nothing_reaches_changes_nothing(saved):
    recommender = Recommender(saved, "cpu")
    loose = Cap("kind", 5, np.zeros(5, dtype=np.int64))
    assert recommender.recommend(k=4, caps=[loose]).equals(recommender.recommend(k=4))
