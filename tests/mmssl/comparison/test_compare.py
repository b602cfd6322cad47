import json
import shutil

import numpy as np
import polars as pl
import pytest

from extract.errors import InputError
from mmssl.comparison.compare import compare
from mmssl.comparison.plan import ComparisonPlan
from mmssl.comparison.runs import without
from mmssl.data.dataset import Dataset
from mmssl.evaluation.evaluate import evaluate
from mmssl.training.trainer import train
from tests.killing import kill_at_random

METRICS = ("recall@20", "ndcg@20")


@pytest.fixture
def write_plan(tmp_path):
    def write(models: str | None = None, **changes):
        (tmp_path / "bpr.yaml").write_text("model: bpr_mf\nembedding_dim: 8\n")
        (tmp_path / "popularity.yaml").write_text("model: popularity\n")
        settings = "{optimiser.epochs: 3, optimiser.learning_rate: 0.02, optimiser.batch_size: 32}"
        plan = {"seeds": "[1, 2]", "reference": "popularity"} | changes
        lines = [f"{key}: {value}" for key, value in plan.items() if value is not None]
        lines += [
            "models:",
            models
            or f"  bpr: {{config: bpr.yaml, settings: {settings}}}\n"
            "  popularity: {config: popularity.yaml, seeds: [1]}",
        ]
        (tmp_path / "plan.yaml").write_text("\n".join(lines) + "\n")
        return tmp_path / "plan.yaml"

    return write


@pytest.fixture
def data(dataset_folder, tmp_path):
    """A copy of the dataset, since readings of the test split are recorded beside it."""
    shutil.copytree(dataset_folder, tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
def compared(write_plan, data, tmp_path):
    file = write_plan()
    return file, compare(file, data, tmp_path / "out", device="cpu")


def by_model(result, split="val") -> dict[str, dict]:
    frame = pl.read_csv(result.path / f"table-{split}.csv")
    return {row["model"]: row for row in frame.to_dicts()}


def test_the_table_holds_what_single_trainings_give(compared, data, tmp_path):
    file, result = compared
    row = by_model(result)["bpr"]
    plan = ComparisonPlan.load(file)
    alone = [
        train(plan.configuration(file, "bpr", seed), data, tmp_path / f"alone-{seed}").metrics
        for seed in (1, 2)
    ]
    for metric in METRICS:
        values = [metrics[metric] for metrics in alone]
        assert row[metric] == pytest.approx(np.mean(values))
        assert row[f"{metric} sd"] == pytest.approx(np.std(values, ddof=1))
    assert row["low"] < row["recall@20"] < row["high"]
    popularity = evaluate("popularity", data=data)
    other = by_model(result)["popularity"]
    assert other["recall@20"] == pytest.approx(popularity.metrics["recall@20"])
    assert other["recall@20 sd"] is None
    assert other["difference"] is None
    assert row["difference"] == pytest.approx(row["recall@20"] - other["recall@20"])
    assert row["p"] == row["p holm"]  # a family of one
    # Every user is given the same twenty of twenty-four items, their own left out.
    assert 0.8 < other["catalogue_coverage"] <= 1
    assert "bpr.yaml" in row["source"]
    assert result.test_reads == 0
    assert f"the test split in {data} was read 0 time(s) so far" in result.lines()
    assert not (data / "test_reads.jsonl").exists()


def test_groups_are_parts_of_the_whole(compared):
    _, result = compared
    groups = pl.read_csv(result.path / "groups-val.csv").filter(pl.col("model") == "popularity")
    users = groups.filter(pl.col("grouping") == "user activity", pl.col("users") > 0)
    mean = (users["users"] * users["recall@20"]).sum() / users["users"].sum()
    assert mean == pytest.approx(by_model(result)["popularity"]["recall@20"])


def test_finished_rows_are_not_made_again_and_a_longer_plan_goes_on(
    compared, write_plan, data, monkeypatch
):
    file, result = compared
    with monkeypatch.context() as patch:
        patch.setattr("mmssl.comparison.runs.train", lambda *_, **__: pytest.fail("trained again"))
        again = compare(file, data, result.path, device="cpu")
    assert again.markdown == result.markdown
    said: list[str] = []
    longer = file.read_text() + "  media: {config: popularity.yaml, seeds: [3]}\n"
    file.write_text(longer)
    compare(file, data, result.path, device="cpu", report=said.append)
    assert [line for line in said if line.startswith("run ")] == ["run 3 of 4: media, seed 3"]


def test_the_test_split_is_read_once_for_all(compared, data, tmp_path):
    file, result = compared
    tested = compare(file, data, result.path, device="cpu", test=True)
    assert tested.test_reads == 1
    assert len((data / "test_reads.jsonl").read_text().splitlines()) == 1
    again = compare(file, data, result.path, device="cpu", test=True)
    assert again.test_reads == 1
    assert again.markdown == tested.markdown
    # Validation items are no candidates when testing.
    reference = evaluate("popularity", "test", data=data)
    found = by_model(tested, "test")["popularity"]
    assert found["recall@20"] == pytest.approx(reference.metrics["recall@20"])


def test_a_model_that_is_gone_is_trained_again_for_the_test(compared, data, tmp_path):
    file, result = compared
    kept = compare(file, data, result.path, device="cpu", test=True)
    shutil.copytree(
        result.path, tmp_path / "moved", ignore=shutil.ignore_patterns("runs", "*-test*")
    )
    # As if the validation rows had come from a machine that rounds otherwise.
    rows = sorted((tmp_path / "moved" / "rows").glob("*-val.json"))
    whole = [row.read_text() for row in rows]
    for row, text in zip(rows, whole, strict=True):
        changed = json.loads(text)
        changed["metrics"]["recall@20"] = 0.5
        row.write_text(json.dumps(changed))
    made = compare(file, data, tmp_path / "moved", device="cpu", test=True)
    assert made.markdown == kept.markdown

    def metrics(text):
        return json.loads(text)["metrics"]

    assert [metrics(row.read_text()) for row in rows] == [metrics(text) for text in whole]


def test_a_share_of_a_modality_is_dropped(data):
    dataset = Dataset.open(data)
    view = without(dataset, {"image": 0.5}, seed=3)
    before, now = dataset.features["image"], view.features["image"]
    lost = before.present & ~now.present
    assert lost.sum() == round(0.5 * before.present.sum())
    assert not now.vectors[lost].any()
    assert np.array_equal(now.vectors[~lost], before.vectors[~lost])
    assert np.array_equal(view.features["audio"].vectors, dataset.features["audio"].vectors)
    same = without(dataset, {"image": 0.5}, seed=3).features["image"].present
    other = without(dataset, {"image": 0.5}, seed=4).features["image"].present
    assert np.array_equal(same, now.present)
    assert not np.array_equal(other, now.present)
    with pytest.raises(InputError, match="no 'text'"):
        without(dataset, {"text": 0.5}, seed=3)


def test_dropping_makes_a_row_of_its_own(write_plan, data, tmp_path):
    (tmp_path / "mmssl.yaml").write_text(
        "model: mmssl\noptimiser: {epochs: 1, batch_users: 16}\nbackbone: {embedding_dim: 8}\n"
    )
    file = write_plan(
        "  whole: {config: mmssl.yaml}\n  half: {config: mmssl.yaml, drop: {image: 0.5}}",
        seeds="[1]",
        reference="whole",
    )
    compare(file, data, tmp_path / "out", device="cpu")
    assert len(list((tmp_path / "out" / "rows").glob("*-val.json"))) == 2
    files = (tmp_path / "out" / "runs").glob("*/model/vectors.safetensors")
    vectors = {file.read_bytes() for file in files}
    assert len(vectors) == 2


@pytest.mark.parametrize(
    ("models", "changes", "message"),
    [
        (None, {"reference": "popularty"}, "did you mean 'popularity'?"),
        (None, {"seeds": "[]"}, "seeds: "),
        (None, {"seeds": "[1, 1]"}, "a seed of 'bpr' is named twice"),
        (None, {"metrics": "[recall@21]"}, "no metric 'recall@21'"),
        (None, {"metric": "[recall@20]"}, "did you mean 'metrics'?"),
        ("  a: {config: none.yaml}", {"reference": "a"}, "a: "),
        (
            "  a: {config: bpr.yaml, settings: {dim: 3}}",
            {"reference": "a"},
            "unknown setting 'dim'",
        ),
        ("  a|b: {config: bpr.yaml}", {"reference": "a|b"}, "no name for a table"),
        ("  a: {config: bpr.yaml, drop: {image: 1.5}}", {"reference": "a"}, "drop"),
    ],
)
def test_a_wrong_plan_is_one_line(write_plan, data, tmp_path, models, changes, message):
    with pytest.raises(InputError) as error:
        compare(write_plan(models, **changes), data, tmp_path / "out")
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_a_damaged_row_is_named(compared, data):
    file, result = compared
    row = next((result.path / "rows").glob("*-val.json"))
    row.write_text("[]")
    with pytest.raises(InputError, match=row.name):
        compare(file, data, result.path)


def test_a_comparison_killed_at_random_ends_as_one_that_was_not(compared, data, tmp_path):
    """``make endurance`` kills more often."""
    file, result = compared
    out = tmp_path / "killed"

    def check():
        assert (out / "table-val.md").read_text() == (result.path / "table-val.md").read_text()
        for row in (result.path / "rows").glob("*.json"):
            was, now = (json.loads((f / "rows" / row.name).read_text()) for f in (result.path, out))
            assert was | {"seconds": 0} == now | {"seconds": 0}
            users = row.with_suffix(".parquet")
            assert pl.read_parquet(users).equals(pl.read_parquet(out / "rows" / users.name))

    command = ["compare", "--config", str(file), "--device", "cpu", "--data", str(data)]
    kill_at_random([*command, "--out", str(out)], out, check, longest=0.4)
