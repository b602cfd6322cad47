import json
import re

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extract.errors import InputError
from mmssl.data.dataset import Dataset
from mmssl.data.prepare import PrepareConfig, prepare


def run(**options):
    report = prepare(PrepareConfig.parse(options))
    return report, Dataset.open(options["out"])


def named(dataset, interactions):
    """Interactions as pairs of original ids."""
    return {
        (dataset.user_ids.ids[user], dataset.item_ids.ids[item])
        for user, item in zip(interactions.users, interactions.items, strict=True)
    }


def all_pairs(dataset):
    parts = [dataset.train, dataset.val, dataset.read_test("test")]
    return [named(dataset, part) for part in parts]


@pytest.fixture
def source(tmp_path):
    """Write a CSV of interactions and return the options that prepare it."""

    def write(rows, header="user,item", **options):
        path = tmp_path / "interactions.csv"
        path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
        return {"interactions": path, "out": tmp_path / "dataset"} | options

    return write


def grid(users=6, items=8):
    """Ratings by a fixed rule, timestamps growing with the item within each user."""
    return [
        f"u{user},i{item},{(user + item) % 5 + 1},{100 * item + user}"
        for user in range(users)
        for item in range(items)
        if (user * item) % 3 != 1
    ]


GRID = "user,item,rating,timestamp"


def test_numeric_ids_keep_their_numbers_and_cold_items_stay(ready_split):
    report, dataset = run(**ready_split)
    assert dataset.item_ids.ids == [str(item) for item in range(12)]
    assert dataset.user_ids.ids == [str(user) for user in range(8)]
    frames = {part: pl.read_csv(ready_split[part]) for part in ("train", "val", "test")}
    counts = report.manifest.counts
    assert (counts.train, counts.val, counts.test) == tuple(f.height for f in frames.values())
    assert counts.items_without_training == 12 - frames["train"]["item"].n_unique()
    assert counts.users_without_training == 8 - frames["train"]["user"].n_unique()


def test_users_and_items_that_only_validation_or_test_know_stay(tmp_path):
    for part, rows in (("train", "a,x"), ("val", "b,x"), ("test", "a,y")):
        (tmp_path / f"{part}.csv").write_text(f"user,item\n{rows}\n")
    paths = {part: tmp_path / f"{part}.csv" for part in ("train", "val", "test")}
    report, dataset = run(**paths, out=tmp_path / "d")
    assert dataset.user_ids.ids == ["a", "b"]
    assert dataset.item_ids.ids == ["x", "y"]
    assert report.manifest.counts.users_without_training == 1
    assert report.manifest.counts.items_without_training == 1


def test_a_pair_of_an_earlier_part_is_dropped_from_the_later_and_counted(tmp_path):
    rows = {"train": "a,x\nb,y\na,x", "val": "a,x\na,z", "test": "b,y\na,z\nb,z"}
    for part, text in rows.items():
        (tmp_path / f"{part}.csv").write_text(f"user,item\n{text}\n")
    paths = {part: tmp_path / f"{part}.csv" for part in rows}
    report, dataset = run(**paths, out=tmp_path / "d")
    assert all_pairs(dataset) == [{("a", "x"), ("b", "y")}, {("a", "z")}, {("b", "z")}]
    removed = {step.step: step.interactions for step in report.manifest.removed}
    assert removed["train: duplicates"] == 1
    assert removed["val: already in an earlier part"] == 1
    assert removed["test: already in an earlier part"] == 2


def test_the_mmssl_json_gives_the_dataset_of_the_tables(tmp_path, ready_split):
    report, _ = run(**ready_split)
    for part in ("train", "val", "test"):
        content: dict[str, list[int]] = {}
        for user, item in pl.read_csv(ready_split[part]).rows():
            content.setdefault(str(user), []).append(item)
        ready_split[part] = tmp_path / f"{part}.json"
        ready_split[part].write_text(json.dumps(content))
    again, _ = run(**ready_split | {"out": tmp_path / "from_json"})
    assert again.manifest.digest == report.manifest.digest


def test_each_filter_removes_what_it_says(source, tmp_path):
    items = tmp_path / "items.csv"
    items.write_text("item_id,title\n" + "".join(f"{name},t\n" for name in "pqrsz"))
    rows = [
        "a,p,5", "a,q,5", "a,r,1",      # r falls below the rating
        "b,p,4", "b,q,2", "b,q,4",      # the later rating of q counts
        "c,p,5", "c,nowhere,5",         # an unknown item
        "d,s,5",                        # s is left by the core, and d with it
        ",p,5",                         # no user
    ]  # fmt: skip
    options = source(rows, "user,item,rating", items=items, min_rating=3, user_core=1, item_core=2)
    report, dataset = run(**options, invalid_rows="drop")
    found = {
        step.step: (step.interactions, step.users, step.items) for step in report.manifest.removed
    }
    assert found == {
        "empty user id": (1, 0, 0),
        "unknown items": (1, 0, 1),
        "duplicates": (1, 0, 0),
        "rating < 3": (1, 0, 1),
        "k-core (users >= 1, items >= 2)": (1, 1, 1),
    }
    assert set().union(*all_pairs(dataset)) == {
        ("a", "p"),
        ("a", "q"),
        ("b", "p"),
        ("b", "q"),
        ("c", "p"),
    }
    # s left by the core, r lost its only interaction to the rating; z, which nobody touched, stays.
    assert dataset.item_ids.ids == ["p", "q", "z"]
    assert any(
        re.search(r"row 8: item 'nowhere' .* 1 interaction with 1 such item \(dropped;", warning)
        for warning in report.warnings
    )
    assert "duplicates: removed 1 interaction, 0 users, 0 items" in report.lines()


def test_items_that_left_by_the_core_leave_though_they_have_features(source, tmp_path, make_store):
    ids = ["p", "q", "cold"]
    make_store(tmp_path / "image", ids, np.arange(3, dtype=np.float32)[:, None])
    options = source(["a,p", "b,p", "a,q"], features={"image": tmp_path / "image"}, item_core=2)
    _, dataset = run(**options)
    assert dataset.item_ids.ids == ["cold", "p"]
    assert dataset.features["image"].vectors.ravel().tolist() == [2, 0]


def test_an_item_whose_interactions_the_rating_took_has_none_of_the_core(source, tmp_path):
    rows = [f"u{user},i{item},5" for user in range(3) for item in range(3)] + ["u0,disliked,1"]
    (tmp_path / "items.csv").write_text("item_id\ni0\ni1\ni2\ndisliked\nuntouched\n")
    base = source(rows, "user,item,rating", items=tmp_path / "items.csv", min_rating=3)
    _, every = run(**base)
    assert every.item_ids.ids == ["disliked", "i0", "i1", "i2", "untouched"]
    _, core = run(**base | {"item_core": 2, "out": tmp_path / "core"})
    assert core.item_ids.ids == ["i0", "i1", "i2", "untouched"]


def test_items_are_those_of_table_stores_and_interactions_together(source, tmp_path, make_store):
    (tmp_path / "items.csv").write_text("id\nt\nboth\n")
    make_store(tmp_path / "image", ["s", "both"], np.ones((2, 2), np.float32))
    make_store(tmp_path / "audio", ["b", "s"], np.ones((2, 3), np.float32), failed=["b"])
    options = source(
        ["u,both", "u,b", "v,own", "v,both"],
        items=tmp_path / "items.csv",
        features={"image": tmp_path / "image", "audio": tmp_path / "audio"},
        unknown_items="keep",
    )
    report, dataset = run(**options)
    assert dataset.item_ids.ids == ["b", "both", "own", "s", "t"]
    assert dataset.features["image"].present.tolist() == [False, True, False, True, False]
    assert dataset.features["audio"].present.tolist() == [False, False, False, True, False]
    assert dataset.features["image"].encoder == "melstats:64"
    assert "audio: 3 dimensions, 1 item, missing for 4 (80.0%)" in report.lines()


@pytest.mark.parametrize("with_table", [True, False])
def test_unknown_items_by_default_leave_only_where_a_table_says_what_exists(
    source, tmp_path, make_store, with_table
):
    make_store(tmp_path / "image", ["a"], np.ones((1, 2), np.float32))
    options = source(["u,a", "u,b", "v,a"], features={"image": tmp_path / "image"})
    if with_table:
        (tmp_path / "items.csv").write_text("item_id\na\n")
        options["items"] = tmp_path / "items.csv"
    report, dataset = run(**options)
    assert dataset.item_ids.ids == (["a"] if with_table else ["a", "b"])
    word = "dropped" if with_table else "kept"
    other = "keep" if with_table else "drop"
    told = f"({word}; --unknown-items {other} does otherwise)"
    assert any(warning.endswith(told) for warning in report.warnings)


def test_unknown_items_are_an_error_when_asked(source, tmp_path, make_store):
    make_store(tmp_path / "image", ["a"], np.ones((1, 2), np.float32))
    options = source(["u,a", "u,b"], features={"image": tmp_path / "image"})
    with pytest.raises(InputError, match=r"interactions\.csv, row 2: item 'b' is in neither"):
        run(**options, unknown_items="error")


@settings(max_examples=25)
@given(st.permutations(grid()), st.sampled_from(["random", "temporal-user", "temporal-global"]))
def test_the_order_of_the_file_decides_nothing(tmp_path_factory, rows, split):
    folder = tmp_path_factory.mktemp("order")
    digests = []
    for name, lines in (("a", grid()), ("b", rows)):
        path = folder / f"{name}.csv"
        path.write_text("\n".join([GRID, *lines]))
        report, _ = run(interactions=path, out=folder / name, split=split)
        digests.append(report.manifest.digest)
    assert digests[0] == digests[1]


@pytest.mark.parametrize(
    "split",
    [
        *("random", "temporal-user", "temporal-global", "leave-one-out", "leave-one-out-random"),
        "item-cold",
    ],
)
@pytest.mark.parametrize("users", [1, 6])
def test_every_split_deals_out_every_pair_once(source, split, users):
    report, dataset = run(**source(grid(users), GRID, split=split))
    parts = all_pairs(dataset)
    assert sum(map(len, parts)) == len(set().union(*parts)) == len(grid(users))
    assert all(parts)
    assert not report.warnings
    if split in ("temporal-user", "leave-one-out"):
        times = {tuple(row.split(",")[:2]): int(row.split(",")[3]) for row in grid(users)}
        for user in dataset.user_ids.ids:
            train, val, test = ([times[pair] for pair in p if pair[0] == user] for p in parts)
            assert max(train) <= min([*val, *test, 10**9])
            assert max([*val, -1]) <= min([*test, 10**9])


@pytest.mark.parametrize(("split", "side"), [("item-cold", 1), ("user-cold", 0)])
def test_a_cold_split_leaves_no_training_interaction_to_what_it_tests(source, split, side):
    report, dataset = run(**source(grid(10), GRID, split=split, ratios="0.6,0.2,0.2"))
    train, val, test = ({pair[side] for pair in part} for part in all_pairs(dataset))
    assert train
    assert val
    assert test
    assert not train & (val | test)
    assert not val & test
    counts = report.manifest.counts
    cold = counts.items_without_training if side else counts.users_without_training
    assert cold == len(val | test)


CHANGES = {
    "min_rating": 4,
    "duplicates": "first",
    "user_core": 6,
    "item_core": 5,
    "split": "temporal-user",
    "ratios": "0.5,0.25,0.25",
    "seed": 1,
    "columns": "user=item,item=user",
    "unknown_items": "drop",
}


@pytest.mark.parametrize("option", CHANGES)
def test_every_option_acts(source, tmp_path, make_store, option):
    # The repeated pair is once rated 1 and once 5; "elsewhere" has no features.
    rows = [*grid(), "u0,again,5,1", "u0,again,1,2", "u1,elsewhere,5,3"]
    ids = ["again", *(f"i{item}" for item in range(8)), *(f"u{user}" for user in range(6))]
    make_store(tmp_path / "image", ids, np.ones((len(ids), 2), np.float32))
    base = source(rows, GRID, features={"image": tmp_path / "image"})
    if option == "duplicates":
        base["min_rating"] = 3
    report, _ = run(**base)
    changed, _ = run(**base | {option: CHANGES[option], "out": tmp_path / "changed"})
    assert changed.manifest.digest != report.manifest.digest


def test_ready_npy_features_join_by_the_ids_of_their_lines(source, tmp_path):
    values = np.array([[1.0], [np.nan], [0.0], [4.0]], dtype=np.float16)
    np.save(tmp_path / "image.npy", values)
    (tmp_path / "ids.txt").write_text("z\ny\nx\nw\n")
    options = source(
        ["a,x", "a,y", "b,z", "b,v", "b,u", "b,t", "b,s"],
        features={"image": tmp_path / "image.npy"},
        feature_ids={"image": tmp_path / "ids.txt"},
    )
    report, dataset = run(**options)
    assert dataset.item_ids.ids == list("stuvwxyz")
    assert dataset.features["image"].vectors.ravel().tolist() == [0, 0, 0, 0, 4, 0, 0, 1]
    assert dataset.features["image"].present.tolist() == [0, 0, 0, 0, 1, 1, 0, 1]
    text = "\n".join(report.warnings)
    assert "image: only 3 of 7 items with interactions have a row" in text
    assert "image: 1 row holds no vector in" in text
    assert "image: 1 row is all zeros in" in text


def test_ids_of_another_kind_are_refused(source, tmp_path):
    np.save(tmp_path / "image.npy", np.eye(3))
    options = source(["a,B001", "b,B002"], features={"image": tmp_path / "image.npy"})
    with pytest.raises(InputError, match=r"ids like 'B001', the features ids like '0'; .*ids imag"):
        run(**options)


def test_a_temporal_split_without_timestamps_names_the_file(source):
    with pytest.raises(InputError, match=r"interactions\.csv: split 'leave-one-out' needs a time"):
        run(**source(["a,x"], split="leave-one-out"))


def test_a_rating_bound_without_ratings_names_the_file(source):
    with pytest.raises(InputError, match=r"interactions\.csv: --min-rating needs a rating column"):
        run(**source(["a,x"], min_rating=3))


def test_nothing_left_says_what_took_it(source):
    with pytest.raises(InputError, match=r"no interactions are left \(.*k-core.* removed 2\)"):
        run(**source(["a,x", "b,y"], user_core=2))


def test_a_ready_split_that_leaves_nothing_to_train_on_is_refused(tmp_path):
    for part, rating in (("train", 1), ("val", 5), ("test", 5)):
        (tmp_path / f"{part}.csv").write_text(f"user,item,rating\na,{part},{rating}\n")
    paths = {part: tmp_path / f"{part}.csv" for part in ("train", "val", "test")}
    with pytest.raises(
        InputError, match=r"train\.csv: no interactions are left \(.*rating < 3 rem"
    ):
        run(**paths, out=tmp_path / "d", min_rating=3)


def test_an_empty_split_is_a_warning(source):
    report, dataset = run(**source(["a,x"]))
    assert len(dataset.train) == 1
    assert report.warnings == ("the val split is empty", "the test split is empty")


def test_a_training_file_that_repeats_everything_is_no_reason_to_stop(tmp_path):
    for part in ("train", "val", "test"):
        (tmp_path / f"{part}.csv").write_text("user,item\na,x\n")
    paths = {part: tmp_path / f"{part}.csv" for part in ("train", "val", "test")}
    report, _ = run(**paths, out=tmp_path / "d")
    assert report.warnings == ("the val split is empty", "the test split is empty")


def test_nothing_is_written_when_a_source_is_broken(source, tmp_path):
    options = source(["a,x"], features={"image": tmp_path / "gone.npy"})
    with pytest.raises(InputError, match=r"gone\.npy: no such file"):
        run(**options)
    assert [path.name for path in tmp_path.iterdir()] == ["interactions.csv"]
