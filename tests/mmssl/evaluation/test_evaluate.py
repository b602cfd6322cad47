import json
import shutil
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch
from scipy.sparse import csr_array, random_array

from extract.errors import InputError
from mmssl.data.dataset import Dataset, Interactions
from mmssl.data.prepare import prepare
from mmssl.data.prepare_config import PrepareConfig
from mmssl.evaluation.evaluate import evaluate, evaluate_scores, protocol
from mmssl.recommend.model_folder import SavedModel
from mmssl.recommend.model_info import ModelInfo

SPLITS = {
    "train": [("a", 0), ("a", 1), ("b", 0), ("b", 2), ("c", 0)],
    "val": [("a", 2), ("b", 1), ("b", 3), ("d", 4)],
    "test": [("a", 3), ("c", 1)],
}
# What the model says: a prefers 5, then 2; b prefers 3; c prefers 2, then 1; d prefers 4.
SCORES = torch.tensor(
    [
        [9.0, 9.0, 4.0, 3.0, 0.0, 5.0],
        [9.0, 1.0, 9.0, 5.0, 2.0, 3.0],
        [9.0, 4.0, 5.0, 0.0, 0.0, 0.0],
        [0.0, 0.0, 0.0, 0.0, 1.0, 0.0],
    ]
)


@pytest.fixture
def data(tmp_path):
    """Users a, b, c, d and items 0 to 5, of which item 5 was never touched."""
    files = {}
    for name, pairs in SPLITS.items():
        files[name] = tmp_path / f"{name}.csv"
        files[name].write_text("user,item\n" + "".join(f"{u},{i}\n" for u, i in pairs))
    np.save(tmp_path / "image.npy", np.eye(6, dtype=np.float32))
    features = {"image": tmp_path / "image.npy"}
    prepare(PrepareConfig(out=tmp_path / "data", features=features, **files))
    return tmp_path / "data"


@pytest.fixture
def run(data, tmp_path):
    """A run whose model scores as ``SCORES`` says."""
    dataset = Dataset.open(data)
    info = ModelInfo(
        name="mmssl",
        variant="paper",
        encoders={"image": None},
        data=str(data),
        data_digest=dataset.digest,
        seed=11,
        best_epoch=1,
        training={},
        metrics={},
        popularity={},
        protocol=protocol(dataset, "val"),
    )
    SavedModel(
        info=info,
        user_ids=dataset.user_ids.ids,
        item_ids=dataset.item_ids.ids,
        parameters={},
        user_vectors=SCORES,
        item_vectors=torch.eye(6),
        graphs={"image": dataset.matrix("train")},
        train=dataset.matrix("train"),
        val=dataset.matrix("val"),
    ).save(tmp_path / "run" / "model")
    return tmp_path / "run"


def readings(data):
    path = data / "test_reads.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def interactions(matrix) -> Interactions:
    users, items = matrix.nonzero()
    return Interactions(users.astype(np.int64), items.astype(np.int64))


def test_scores_are_measured_as_a_loop_over_users_measures_them():
    generator = np.random.default_rng(5)
    scores = torch.from_numpy(generator.integers(0, 6, (40, 30)).astype(np.float32))
    exclude = csr_array(random_array((40, 30), density=0.3, rng=generator))
    relevant = csr_array(random_array((40, 30), density=0.08, rng=generator))
    evaluation = evaluate_scores(lambda u: scores[u], interactions(relevant), exclude, ks=[3, 10])
    expected = {"recall@3": [], "recall@10": [], "mrr@10": []}
    evaluated = []
    for user in range(40):
        wanted = set(relevant[[user]].indices)
        if not wanted:
            continue
        evaluated.append(user)
        left_out = set(exclude[[user]].indices)
        order = sorted(
            (item for item in range(30) if item not in left_out),
            key=lambda item: (-scores[user, item].item(), item),
        )
        for k in (3, 10):
            expected[f"recall@{k}"].append(len(wanted & set(order[:k])) / len(wanted))
        ranks = [rank for rank, item in enumerate(order[:10], 1) if item in wanted]
        expected["mrr@10"].append(1 / ranks[0] if ranks else 0.0)
    assert 0 < len(evaluated) < 40
    assert evaluation.users.tolist() == evaluated
    for name, values in expected.items():
        assert evaluation.per_user[name] == pytest.approx(values, abs=1e-12)
        assert evaluation.metrics[name] == pytest.approx(sum(values) / len(values), abs=1e-12)


@pytest.mark.parametrize("block", [1, 3, 16])
def test_blocks_change_no_figure_of_any_user(block):
    generator = np.random.default_rng(1)
    scores = torch.from_numpy(generator.integers(0, 9, (16, 60)).astype(np.float32))
    exclude = csr_array(random_array((16, 60), density=0.2, rng=generator))
    relevant = interactions(csr_array(random_array((16, 60), density=0.1, rng=generator)))
    at_once = evaluate_scores(lambda u: scores[u], relevant, exclude)
    blocked = evaluate_scores(lambda u: scores[u], relevant, exclude, block=block)
    assert at_once.metrics == blocked.metrics
    for name, values in at_once.per_user.items():
        assert (blocked.per_user[name] == values).all()


def test_the_empty_places_of_a_short_list_are_no_hits():
    # User 1 has one candidate; the row behind it must not be read as the last item of user 0.
    relevant = Interactions(np.array([0, 1]), np.array([3, 0]))
    exclude = csr_array(np.array([[0, 0, 0, 0], [0, 1, 1, 1]], dtype=np.float32))
    scores = torch.tensor([[4.0, 3.0, 2.0, 1.0], [1.0, 1.0, 1.0, 1.0]])
    evaluation = evaluate_scores(lambda u: scores[u], relevant, exclude, ks=[2, 10])
    assert evaluation.per_user["precision@2"].tolist() == [0.0, 0.5]
    assert evaluation.per_user["precision@10"].tolist() == [0.1, 0.1]
    assert evaluation.per_user["recall@10"].tolist() == [1.0, 1.0]


def test_pairs_in_any_order_and_twice_count_once():
    scores = torch.tensor([[3.0, 2.0, 1.0], [1.0, 2.0, 3.0]])
    nothing = csr_array((2, 3), dtype=np.float32)
    pairs = Interactions(np.array([1, 0, 1, 1]), np.array([2, 1, 0, 2]))
    evaluation = evaluate_scores(lambda u: scores[u], pairs, nothing, ks=[1, 2])
    assert evaluation.users.tolist() == [0, 1]
    assert evaluation.per_user["recall@1"].tolist() == [0.0, 0.5]
    assert evaluation.per_user["recall@2"].tolist() == [1.0, 0.5]


def test_an_empty_split_is_refused():
    nobody = Interactions(np.array([], dtype=np.int64), np.array([], dtype=np.int64))
    with pytest.raises(InputError, match="the split has no interaction"):
        evaluate_scores(lambda u: torch.zeros(len(u), 3), nobody, csr_array((2, 3)))


def test_popularity_on_validation_by_hand(data):
    # Training users: item 0 three, 1 and 2 one each. a sees 2 first (hit); b sees 1, 3 (hits);
    # d sees 0, 1, 2, 3, 4 (hit at 5); c has nothing in validation.
    result = evaluate("popularity", "val", data, ks=[1, 2, 5], device="cpu")
    assert result.users == 3
    assert result.per_user["user_id"].to_list() == ["a", "b", "d"]
    assert result.per_user["recall@1"].to_list() == [1.0, 0.5, 0.0]
    assert result.per_user["recall@2"].to_list() == [1.0, 1.0, 0.0]
    assert result.per_user["mrr@5"].to_list() == [1.0, 1.0, 0.2]
    assert result.metrics["recall@1"] == 0.5
    assert result.metrics == result.popularity
    assert result.protocol["users_left_out"] == 1
    assert result.protocol["seed"] is None
    assert readings(data) == []


def test_a_model_stands_beside_popularity_under_the_same_protocol(data, run):
    # a: 5, then 2 (hit at 2); b: 3 (hit), 5; d: 4 (hit).
    result = evaluate(run, "val", ks=[1, 2], device="cpu")
    assert result.per_user["recall@1"].to_list() == [0.0, 0.5, 1.0]
    assert result.per_user["recall@2"].to_list() == [1.0, 0.5, 1.0]
    assert result.popularity == evaluate("popularity", "val", data, ks=[1, 2]).metrics
    assert list(result.metrics) == list(result.popularity)
    assert result.as_json() == json.loads(json.dumps(result.as_json()))
    assert set(result.as_json()) == {"metrics", "popularity", "users", "protocol"}
    facts = result.protocol
    assert (facts["split"], facts["masked"], facts["ks"]) == ("val", ["train"], [1, 2])
    assert (facts["model"], facts["seed"], facts["data"]) == (str(run), 11, str(data))
    assert facts["dataset"] == Dataset.open(data).digest
    assert facts["test_reads"] == 0


def test_the_lines_show_model_and_popularity_and_how_often_test_was_read(data, run):
    lines = evaluate(run, "val", ks=[2], device="cpu").lines()
    assert lines[0] == (
        f"{run} on {data}, val split: 3 users; 1 has no item in it and is left out; train masked"
    )
    assert lines[1].split() == ["model", "popularity"]
    assert lines[2].split() == ["recall@2", "0.8333", "0.6667"]
    assert lines[-1] == f"the test split in {data} was read 0 time(s) so far"
    alone = evaluate("popularity", "val", data, ks=[2], device="cpu").lines()
    assert alone[1].split() == ["popularity"]
    assert alone[2].split() == ["recall@2", "0.6667"]


def test_testing_masks_validation_unless_told_otherwise(data):
    # a: with 0, 1 and 2 masked, 3 comes first; the published protocol lets 2 come before it.
    ours = evaluate("popularity", "test", data, ks=[1], device="cpu")
    published = evaluate("popularity", "test", data, ks=[1], mask_validation=False, device="cpu")
    assert ours.per_user["recall@1"].to_list() == [1.0, 1.0]
    assert published.per_user["recall@1"].to_list() == [0.0, 1.0]
    assert ours.protocol["masked"] == ["train", "val"]
    assert published.protocol["masked"] == ["train"]


def test_the_test_split_is_read_once_a_call_and_every_reading_is_told(data, run):
    first = evaluate(run, "test", device="cpu")
    assert first.protocol["test_reads"] == 1
    second = evaluate("popularity", "test", data, device="cpu")
    assert second.protocol["test_reads"] == 2
    assert "read 2 time(s)" in second.lines()[-1]
    assert [line["reader"] for line in readings(data)] == [
        f"evaluate --model {run} --split test",
        "evaluate --model popularity --split test",
    ]


def test_a_copy_of_the_dataset_counts_its_own_readings(data, run, tmp_path):
    evaluate(run, "test", device="cpu")
    copy = tmp_path / "copied"
    shutil.copytree(data, copy, ignore=shutil.ignore_patterns("test_reads.jsonl"))
    there = evaluate(run, "test", copy, device="cpu")
    assert there.lines()[-1] == f"the test split in {copy} was read 1 time(s) so far"
    assert Dataset.open(data).test_reads() == 1


def test_the_users_without_an_item_are_told_where_there_are_any(data, run):
    result = evaluate(run, "val", ks=[2], device="cpu")
    for left_out, says in (
        (0, "val split: 3 users; train masked"),
        (2, "val split: 3 users; 2 have no item in it and are left out; train masked"),
    ):
        facts = result.protocol | {"users_left_out": left_out}
        assert replace(result, protocol=facts).lines()[0].endswith(says)


def test_a_call_that_cannot_be_answered_reads_no_test_split(data, run, tmp_path):
    refused = [
        ({"model": tmp_path / "none"}, "no trained model here"),
        ({"model": "popularity"}, "--data DIR"),
        ({"model": run, "data": tmp_path}, "not a dataset"),
        ({"model": run, "device": "tpu"}, "unknown device"),
        ({"model": run, "ks": [0]}, "at least 1"),
    ]
    for arguments, message in refused:
        with pytest.raises(InputError, match=message):
            evaluate(split="test", **arguments)
    with pytest.raises(InputError, match="choose val or test"):
        evaluate(run, "train")
    assert readings(data) == []


def test_a_model_of_another_dataset_is_refused(run, dataset_folder):
    with pytest.raises(InputError, match=r"not the dataset that .* was trained on"):
        evaluate(run, "val", dataset_folder)


def test_a_moved_dataset_can_be_named(data, run, tmp_path):
    before = evaluate(run, "val", device="cpu")
    data.rename(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="is not there; name it: --data DIR"):
        evaluate(run, "val")
    after = evaluate(run, "val", tmp_path / "elsewhere", device="cpu")
    assert after.metrics == before.metrics


def test_a_dataset_without_the_split_is_refused_before_it_is_read(tmp_path):
    rows = "".join(f"u{user},{item}\n" for user in range(4) for item in range(5))
    (tmp_path / "all.csv").write_text("user,item\n" + rows)
    config = PrepareConfig(
        out=tmp_path / "data", interactions=tmp_path / "all.csv", ratios=(0.8, 0.2, 0.0)
    )
    prepare(config)
    with pytest.raises(InputError, match="the test split is empty"):
        evaluate("popularity", "test", tmp_path / "data")
    assert readings(tmp_path / "data") == []


def test_figures_of_single_users_average_to_the_metrics(dataset_folder):
    result = evaluate("popularity", "val", dataset_folder, device="cpu")
    assert result.per_user.schema["user_id"] == pl.String
    assert len(result.per_user) == result.users
    for name, value in result.metrics.items():
        assert result.per_user[name].dtype == pl.Float64
        assert result.per_user[name].mean() == pytest.approx(value, abs=1e-12)


def test_a_cut_off_beyond_the_catalogue_costs_no_memory(run):
    metrics = evaluate(run, "val", ks=[6, 10**12], device="cpu").metrics
    assert metrics["recall@6"] == metrics[f"recall@{10**12}"] == 1.0
