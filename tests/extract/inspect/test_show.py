import json

import numpy as np
import pytest

from extract.errors import InputError
from extract.inspect.sheet import SheetOptions
from extract.inspect.show import show

VALUES = np.array([[3, 0], [3, 0], [0, 3], [0, 4], [9, 9], [9, 9], [9, 9]])


def test_the_report_of_a_small_store(make_store):
    ids = ["a", "b", "c", "d", "e\x1b[31m", "f", "g"]
    reasons = {4: "empty\x1btext", 5: "empty\x1btext", 6: None}
    store = make_store(VALUES, ids, reasons=reasons, contents=["x", "x", "y", "z", 1, 2, 3])
    # c and d less the mean of the four, (1.5, 1.75): their cosine is .9587.
    report = show(store.path, threshold=0.95)
    assert report.lines() == [
        f"{store.path}: text through tests:Encoder (column 'text'), vectors of 2 numbers",
        "items 7: ok 4, failed 2, missing 1",
        "  failed 2: empty\\x1btext (e\\x1b[31m, f)",
        "norms: min 3, median 3, max 4; zero vectors 0, others all of one number 0",
        "dimensions that never vary: 0 of 2",
        # Two pairs of the six are parallel, the rest perpendicular.
        "mean cosine of two items: 0.333 (near 1: all vectors point one way, and only their"
        " differences tell items apart)",
        "same content: groups 1, of 2 items together",
        "  2: a, b",
        "near-duplicates (cosine at least 0.95, mean removed; all pairs compared): pairs 2, 1 of"
        " them of the same content; groups 2, of 4 items together",
        "  2: a, b",
        "  2: c, d",
    ]
    values = json.loads(json.dumps(report.as_json(), allow_nan=False))
    assert (values["ok"], values["failed"], values["missing"]) == (4, 2, 1)
    assert values["reasons"][0] == {
        "reason": "empty\x1btext",
        "items": 2,
        "examples": ["e\x1b[31m", "f"],
    }
    assert values["vectors"]["mean_cosine"] == pytest.approx(1 / 3)
    assert values["near_duplicates"] == {
        "groups": 2,
        "items": 4,
        "sizes": [2, 2],
        "examples": [["a", "b"], ["c", "d"]],
        "threshold": 0.95,
        "items_compared": 4,
        "pairs": 2,
        "pairs_same_content": 1,
    }


def test_the_threshold_acts(make_store, cosines):
    values = np.random.default_rng(0).normal(size=(20, 2))
    store = make_store(values)
    similar = cosines(values)[np.triu_indices(20, 1)]
    for threshold in (0.5, 0.9):
        wanted = int((similar >= threshold).sum())
        assert show(store.path, threshold=threshold).near_pairs == wanted


def test_where_only_a_sample_is_compared_the_report_says_so(make_store):
    # Twelve copies of each of two vectors: a query finds eleven others.
    store = make_store(np.repeat([[1.0, 0], [0, 1]], 12, axis=0), rows_per_part=5)
    one = show(store.path, sample=1)
    assert (one.compared, one.near_pairs, one.near.items) == (1, 11, 12)
    assert any(
        "1 items drawn at random compared with all 24; --sample 24 compares all pairs" in line
        for line in one.lines()
    )
    assert show(store.path, sample=24).near_pairs == 2 * 66
    assert not any("drawn at random" in line for line in show(store.path, sample=24).lines())
    drawn = {str(show(store.path, sample=1, seed=seed).near.examples) for seed in range(9)}
    assert len(drawn) == 2


def test_a_store_in_which_everything_failed(make_store):
    report = show(make_store(np.eye(3), reasons=dict.fromkeys(range(3), "bad")).path)
    assert report.lines()[1:] == [
        "items 3: ok 0, failed 3, missing 0",
        "  failed 3: bad (i0, i1, i2)",
        "NOT ONE ITEM HAS A VECTOR: there is nothing more to show",
    ]
    assert report.as_json()["vectors"] is None


def test_one_item(make_store):
    report = show(make_store([[1.0, 2.0]]).path)
    assert report.near_pairs == 0
    assert "mean cosine of two items: -" in "\n".join(report.lines())


def test_dead_dimensions_are_named(make_store):
    values = np.zeros((4, 9))
    values[:, 8] = range(4)
    lines = show(make_store(values).path).lines()
    assert "dimensions that never vary: 8 of 9 (the first: 0, 1, 2, 3, 4)" in lines


def test_what_cannot_be_shown(make_store, tmp_path):
    with pytest.raises(InputError, match="no feature store here"):
        show(tmp_path / "nothing")
    half = make_store(VALUES, parts=[0], name="half")
    with pytest.raises(InputError, match=r"incomplete \(. of . parts are absent, .* is part 1\)"):
        show(half.path)
    (half.path / "items-0.parquet").unlink()
    (half.path / "part-0.json").unlink()
    with pytest.raises(InputError, match="the feature store is empty: its first run was stopped"):
        show(half.path)
    damaged = make_store(VALUES, name="damaged")
    (damaged.path / "part-1.parquet").unlink()
    with pytest.raises(InputError, match=r"part-1\.parquet: missing or damaged"):
        show(damaged.path)
    store = make_store(VALUES)
    for threshold in (-1.0, 1.5, float("nan")):
        with pytest.raises(InputError, match="--threshold"):
            show(store.path, threshold=threshold)
    with pytest.raises(InputError, match="--sample 0"):
        show(store.path, sample=0)
    with pytest.raises(InputError, match="a folder stands where the file should be"):
        show(store.path, sheet=SheetOptions(tmp_path, neighbours=2))
