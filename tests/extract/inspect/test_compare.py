import json

import numpy as np
import pytest

from extract.errors import InputError
from extract.inspect.compare import LabelOptions, compare, label_options


def clouds(n=40, dim=6, noise=0.5, seed=0):
    rng = np.random.default_rng(seed)
    kinds = np.arange(n) % 4
    return kinds, np.eye(dim)[kinds] + noise * rng.normal(size=(n, dim))


def near(similar, k):
    return [set(row[:k].tolist()) for row in np.argsort(-similar, axis=1)]


def test_items_are_joined_by_id_whatever_their_order_and_parts(make_store, cosines):
    _, values = clouds()
    other = np.hstack([values[:, :3], np.random.default_rng(5).normal(size=(40, 2))])
    ids = [f"i{row}" for row in range(40)]
    order = np.random.default_rng(1).permutation(40)
    # A lacks items 0 to 2, B lacks 2 to 5, and an item of B's is unknown to A.
    a = make_store(values, ids, name="a", reasons=dict.fromkeys(range(3), "bad"), rows_per_part=7)
    b = make_store(
        np.vstack([other[order], np.ones((1, 5))]),
        [ids[row] for row in order] + ["x"],
        name="b",
        reasons=dict.fromkeys(np.flatnonzero(np.isin(order, [2, 3, 4, 5])).tolist()),
        rows_per_part=11,
        modality="image",
    )
    found = compare(a.path, b.path, k=4)
    assert (found.items, found.only_a, found.only_b, found.queries) == (34, 3, 3, 34)
    pairs = zip(near(cosines(values[6:]), 4), near(cosines(other[6:]), 4), strict=True)
    shared = np.array([len(one & two) for one, two in pairs])
    assert found.overlap.overlap == pytest.approx(shared.mean() / 4)
    assert found.overlap.jaccard == pytest.approx((shared / (8 - shared)).mean())
    assert found.overlap.overlap_by_chance == pytest.approx(4 / 33)
    assert found.cka is None
    assert found.labelled is None


def test_a_store_compared_with_itself_rotated(make_store):
    _, values = clouds()
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(6, 6)))[0]
    a = make_store(values, name="a")
    b = make_store(values @ rotation * 3 + 1, name="b")
    found = compare(a.path, b.path, cka=True)
    assert found.overlap.overlap == 1
    assert found.cka == pytest.approx(1, abs=1e-5)


@pytest.fixture
def labelled(make_store, tmp_path):
    kinds, good = clouds(n=120)
    poor = clouds(n=120, noise=2.0, seed=1)[1]
    rows = [f"i{row},{'' if row < 5 else f'kind {kind}'}" for row, kind in enumerate(kinds)]
    (tmp_path / "items.csv").write_text("id,kind\n" + "\n".join(rows) + "\n")
    a, b = make_store(good, name="a"), make_store(poor, name="b")
    return a, b, tmp_path / "items.csv", kinds, good, poor


def test_leave_one_out_of_labels(labelled, cosines):
    a, b, table, kinds, good, poor = labelled
    found = compare(a.path, b.path, labels=LabelOptions(table, "kind", k=3)).labelled
    accuracies = []
    for values in (good, poor):
        # Items without a label neither vote nor are foretold; the mean is that of the others.
        similar = cosines(values[5:])
        truth = kinds[5:]
        right = 0
        for item, row in enumerate(np.argsort(-similar, axis=1)[:, :3]):
            votes = truth[row].tolist()
            right += (
                max(votes, key=lambda v, votes=votes: (votes.count(v), -votes.index(v)))
                == (truth[item])
            )
        accuracies.append(right / 115)
    assert (found.accuracy_a, found.accuracy_b) == pytest.approx(accuracies)
    assert accuracies[0] > accuracies[1] + 0.2
    assert (found.items, found.queries, found.unlabelled, found.labels) == (115, 115, 5, 4)
    assert found.majority == 29 / 115
    assert found.difference.low > 0
    assert found.difference.p_value < 0.01
    assert found.k == 3


def test_the_lines_and_the_json(labelled):
    a, b, table, *_ = labelled
    found = compare(a.path, b.path, cka=True, labels=LabelOptions(table, "kind"))
    lines = found.lines()
    assert lines[0] == f"A {a.path}: text through tests:Encoder"
    assert lines[2] == "items with a vector in both: 120 (in A alone 0, in B alone 0)"
    assert lines[3].startswith("overlap of the 10 nearest: 0.")
    assert "(by chance 0.084)" in lines[3]
    assert lines[5].startswith("leave-one-out 5-NN of 'kind': A ")
    assert "majority 0.252 (115 of 115 items foretold, 4 labels, 5 without one)" in lines[5]
    assert lines[6].startswith("A - B: +0.")
    values = json.loads(json.dumps(found.as_json(), allow_nan=False))
    assert values["labelled"]["difference"]["value"] == found.labelled.difference.value
    assert values["cka"] == found.cka
    assert values["a"]["store"] == str(a.path)


def test_a_sample_is_drawn_by_the_seed_and_said(labelled):
    a, b, table, *_ = labelled
    options = LabelOptions(table, "kind")
    found = compare(a.path, b.path, sample=30, cka=True, labels=options)
    assert (found.queries, found.labelled.queries) == (30, 30)
    assert "overlap of the 10 nearest of 30 items drawn at random" in found.lines()[3]
    assert "(30 of 115 items foretold" in found.lines()[5]
    assert compare(a.path, b.path, sample=30, seed=0).overlap == found.overlap
    assert compare(a.path, b.path, sample=30, seed=1).overlap != found.overlap


def test_what_cannot_be_compared(labelled, make_store, tmp_path):
    a, b, table, *_ = labelled
    with pytest.raises(InputError, match="no feature store here"):
        compare(a.path, tmp_path / "no")
    strangers = make_store(np.eye(6), [f"x{row}" for row in range(6)], name="c")
    with pytest.raises(InputError, match="0 items have a vector in both, too few"):
        compare(a.path, strangers.path)
    half = make_store(np.eye(6), name="d", parts=[0])
    for pair in ((a.path, half.path), (half.path, a.path)):
        with pytest.raises(InputError, match=r"/d: the feature store is incomplete \(. of . parts"):
            compare(*pair)
    for options, words in (
        ({"k": 0}, "--k 0"),
        ({"k": 119}, "too few for the overlap of 119 neighbours"),
        ({"sample": 0}, "--sample 0"),
        ({"sample": 3, "cka": True}, "at least 4 items"),
        ({"labels": LabelOptions(table, "kind", k=0)}, "--label-k 0"),
        ({"labels": LabelOptions(table, "kind", k=115)}, "115 of the 120 items in common have"),
        ({"labels": LabelOptions(table, "knd")}, "no column 'knd'"),
    ):
        with pytest.raises(InputError, match=words):
            compare(a.path, b.path, **options)
    (tmp_path / "one.csv").write_text("id,kind\n" + "".join(f"i{r},x\n" for r in range(50)))
    with pytest.raises(InputError, match="the same label 'x'"):
        compare(a.path, b.path, labels=LabelOptions(tmp_path / "one.csv", "kind"))


def test_label_options_of_the_command_line(tmp_path):
    assert label_options(items=None, column=None, id_column=None, k=None) is None
    made = label_options(items=tmp_path, column="c", id_column="i", k=None)
    assert made == LabelOptions(tmp_path, "c", "i", 5)
    assert label_options(items=tmp_path, column="c", id_column=None, k=2).k == 2
