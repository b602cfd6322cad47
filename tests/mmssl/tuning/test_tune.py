import json

import polars as pl
import pytest
import yaml

from extract.errors import InputError
from mmssl.config import TrainingConfig
from mmssl.training.trainer import train
from mmssl.tuning.plan import TuningPlan
from mmssl.tuning.search import Search
from mmssl.tuning.tune import tune
from tests.killing import kill_at_random


def trials_of(out) -> list[dict]:
    return pl.read_csv(out / "trials.csv").to_dicts()


@pytest.fixture
def searched(write_plan, dataset_folder, tmp_path):
    file = write_plan()
    return file, tune(file, dataset_folder, tmp_path / "out", device="cpu", seeds=[1, 7])


def test_the_best_trial_is_the_one_that_its_own_training_gives(searched, dataset, tmp_path):
    _, result = searched
    rows = trials_of(result.path)
    assert [row["trial"] for row in rows] == [1, 2, 3, 4, 5]
    complete = [row for row in rows if row["state"] == "complete"]
    assert result.value == max(row["value"] for row in complete)
    # The configuration itself comes first.
    assert float(rows[0]["optimiser.learning_rate"]) == 1e-3
    assert str(rows[0]["embedding_dim"]) == "8"
    config = TrainingConfig.load(result.path / "best.yaml")
    assert train(config, dataset, tmp_path / "alone").metrics["ndcg@10"] == result.value
    for seed in (1, 7):
        alone = train(config.model_copy(update={"seed": seed}), dataset, tmp_path / f"alone-{seed}")
        assert result.seeds[seed] == alone.metrics["ndcg@10"]
    written = json.loads((result.path / "result.json").read_text())
    assert (written["value"], written["split"]) == (result.value, "val")
    assert sum(result.importances.values()) == pytest.approx(1)
    assert (result.path / "search.png").read_bytes().startswith(b"\x89PNG")


def test_a_finished_search_is_not_made_again_and_goes_on_with_more_trials(
    searched, dataset_folder, monkeypatch
):
    file, result = searched
    first = trials_of(result.path)
    with monkeypatch.context() as patch:
        patch.setattr("mmssl.tuning.trials.train", lambda *_, **__: pytest.fail("trained again"))
        patch.setattr("mmssl.tuning.tune.train", lambda *_, **__: pytest.fail("trained again"))
        again = tune(file, dataset_folder, result.path, device="cpu", seeds=[1, 7])
    assert again == result
    more = tune(file, dataset_folder, result.path, device="cpu", trials=7)
    assert trials_of(result.path)[:5] == first
    assert more.trials == 7


def test_another_search_is_refused_and_replaced_only_on_demand(searched, dataset_folder, tmp_path):
    file, result = searched
    file.write_text(file.read_text() + "seed: 5\n")
    with pytest.raises(InputError, match="another plan, configuration or dataset"):
        tune(file, dataset_folder, result.path)
    before = trials_of(result.path)
    tune(file, dataset_folder, result.path, overwrite=True, trials=3)
    assert len(trials_of(result.path)) == 3
    assert trials_of(result.path)[1:] != before[1:3]


@pytest.mark.parametrize(
    ("options", "message"),
    [({"workers": 0}, "--workers 0"), ({"trials": 0}, "--trials 0"), ({"seeds": [1, 1]}, "twice")],
)
def test_wrong_arguments_are_refused(write_plan, dataset_folder, tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        tune(write_plan(), dataset_folder, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_a_folder_with_other_things_is_left_alone(write_plan, dataset_folder, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="not empty and no search"):
        tune(write_plan(), dataset_folder, tmp_path / "out", overwrite=True)
    assert (tmp_path / "out" / "thesis.txt").read_text() == "mine"


def test_a_damaged_storage_is_one_line(write_plan, dataset_folder, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "trials.sqlite3").write_bytes(b"no database at all" * 100)
    with pytest.raises(InputError, match="cannot be used as a search's storage"):
        tune(write_plan(), dataset_folder, tmp_path / "out")


def test_hopeless_trials_are_pruned(write_plan, dataset_folder, tmp_path):
    file = write_plan(
        settings="{optimiser.epochs: 12, optimiser.patience: 12, optimiser.batch_size: 16}",
        space="\n  optimiser.learning_rate: {type: choice, values: [0.03, 0.031, 0.032, 1.0e-9]}",
        trials=8,
        random_trials=8,
    )
    result = tune(file, dataset_folder, tmp_path / "out", device="cpu")
    pruned = [row for row in trials_of(result.path) if row["state"] == "pruned"]
    assert result.pruned == len(pruned) > 0
    assert all(row["epochs"] < 12 for row in pruned)
    assert result.best["optimiser.learning_rate"] > 0.01


def test_a_search_in_which_everything_diverges_says_so(write_plan, dataset_folder, tmp_path):
    file = write_plan(
        space="\n  optimiser.learning_rate: {type: float, low: 1.0e15, high: 1.0e19}", trials=2
    )
    with pytest.raises(InputError, match="none of the 2 trials came to a result"):
        tune(file, dataset_folder, tmp_path / "out", device="cpu")


def test_a_kill_between_putting_in_line_and_asking_is_given_up(write_plan, tmp_path):
    file = write_plan()
    plan = TuningPlan.load(file)
    base = plan.configuration(file, {})
    search = Search(tmp_path, plan, base, "key")
    search._study.enqueue_trial({"embedding_dim": 8})
    search._study.ask()  # is being run, without a number
    search._study.enqueue_trial({"embedding_dim": 9})
    again = Search(tmp_path, plan, base, "key")
    again.give_up_broken_off()
    asked = again.ask()
    assert (asked.number, asked.values["embedding_dim"]) == (0, 8)


def test_several_workers_run_every_trial_once(write_plan, dataset_folder, tmp_path):
    result = tune(write_plan(), dataset_folder, tmp_path / "out", workers=2, device="cpu")
    assert [row["trial"] for row in trials_of(result.path)] == [1, 2, 3, 4, 5]
    config = yaml.safe_load((result.path / "trials" / "0000" / "config.yaml").read_text())
    assert config["embedding_dim"] == 8


def test_a_search_killed_at_random_ends_as_one_that_was_not(searched, dataset_folder, tmp_path):
    """``make endurance`` kills more often."""
    file, result = searched
    out = tmp_path / "killed"

    def check():
        assert trials_of(out) == trials_of(result.path)
        was, now = (json.loads((f / "result.json").read_text()) for f in (result.path, out))
        assert was == now
        assert (out / "best.yaml").read_text() == (result.path / "best.yaml").read_text()

    command = ["tune", "--config", str(file), "--device", "cpu", "--data", str(dataset_folder)]
    command += ["--out", str(out), "--seed", "1", "--seed", "7"]
    kill_at_random(command, out, check, longest=0.3)
