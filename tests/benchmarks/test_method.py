"""The study's runner: which trainings, which rows, which table."""

import subprocess
import sys

import numpy as np
import pytest
import yaml
from scipy import stats

from benchmarks import method
from benchmarks.method import Run, read_rows, runs_of, table, trials

SEARCH = {
    "config": "configs/tiktok_lightgcn.yaml",
    "seed": 3,
    "trials": 5,
    "space": {"optimiser.learning_rate": [1e-3, 2e-3], "backbone.layers": [1, 2, 3]},
}


def test_a_search_draws_distinct_points_and_always_the_same():
    drawn = trials(SEARCH)
    assert len(set(drawn)) == 5
    assert drawn == trials(SEARCH)
    assert drawn != trials({**SEARCH, "seed": 4})
    for rate, layers in drawn:
        assert rate in ("optimiser.learning_rate=0.001", "optimiser.learning_rate=0.002")
        assert layers in [f"backbone.layers={n}" for n in (1, 2, 3)]


def test_a_stage_is_its_runs_and_trials_for_every_seed():
    study = {
        "final": {
            "seeds": [1, 2],
            "settings": ["optimiser.epochs=3"],
            "runs": {"a": "configs/tiktok.yaml", "b": ["configs/tiktok.yaml", "contrast.weight=0"]},
            "searches": {"s": SEARCH},
        }
    }
    runs = list(runs_of(study, "final"))
    assert len(runs) == 2 * (2 + 5)
    assert runs[1] == Run(
        *("final", "b", "configs/tiktok.yaml", ("optimiser.epochs=3", "contrast.weight=0"), 1)
    )
    resolved = runs[1].resolved()
    assert (resolved.optimiser.epochs, resolved.contrast.weight, resolved.seed) == (3, 0, 1)


def test_a_key_is_the_configuration_and_the_data_but_not_what_they_are_called():
    run = Run("s", "a", "configs/tiktok.yaml", ("contrast.weight=0.5",), 1)
    same = Run("t", "b", "configs/tiktok.yaml", ("contrast.weight=0.5", "name=other"), 1)
    assert run.key("digest") == same.key("digest")
    others = [
        run.key("another digest"),
        Run("s", "a", "configs/tiktok.yaml", ("contrast.weight=0.5",), 2).key("digest"),
        Run("s", "a", "configs/tiktok.yaml", ("contrast.weight=0.4",), 1).key("digest"),
    ]
    assert len({run.key("digest"), *others}) == 4


def test_the_table_pairs_by_seed():
    ours, theirs = [0.11, 0.12, 0.10], [0.10, 0.10, 0.09]
    rows = [
        {"name": name, "seed": str(seed), "recall@20": str(value)}
        for name, values in (("plain", theirs), ("full", ours))
        for seed, value in enumerate(values)
    ]
    interval = stats.ttest_rel(ours, theirs).confidence_interval(0.95)
    gap = np.mean(ours) - np.mean(theirs)
    assert f"| full | 3 of 4 | 0.1100 ± {np.std(ours, ddof=1):.4f} |" in table(rows, None, 4)
    expected = f"{gap:+.4f} ({interval.low:+.4f} to {interval.high:+.4f})"
    assert expected in table(rows, "plain", 4)


def test_finished_trainings_are_not_run_again(dataset_folder, tmp_path):
    small = [
        *("backbone.embedding_dim=8", "optimiser.batch_users=16", "optimiser.epochs=2"),
        *("adversarial.critic_items=16", "adversarial.critic_users=8"),
    ]
    study = {
        "one": {"seeds": [1, 2], "settings": small, "runs": {"all": "configs/tiktok.yaml"}},
        "two": {"seeds": [1], "settings": small, "runs": {"again": "configs/tiktok.yaml"}},
    }
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study))
    command = [
        *(sys.executable, method.__file__, "run", "--study", str(tmp_path / "study.yaml")),
        *("--rows", str(tmp_path / "rows.csv"), "--work", str(tmp_path / "work")),
        *("--data", str(dataset_folder), "--workers", "1"),
    ]

    def run(stage: str) -> str:
        done = subprocess.run(
            [*command, "--stage", stage], capture_output=True, text=True, timeout=300, check=True
        )
        return done.stdout

    assert "2 trainings to do" in run("one")
    first = read_rows(tmp_path / "rows.csv")
    assert [row["seed"] for row in sorted(first, key=lambda row: row["seed"])] == ["1", "2"]
    assert all(float(row["recall@20"]) > 0 and row["epochs"] == "2" for row in first)
    assert "0 trainings to do" in run("one")
    assert "0 trainings to do" in run("two")
    (again,) = [row for row in read_rows(tmp_path / "rows.csv") if row["stage"] == "two"]
    (before,) = [row for row in first if row["seed"] == "1"]
    assert again == {**before, "stage": "two", "name": "again"}


def test_an_unknown_stage_is_named(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["method.py", "table", "--stage", "nonsense"])
    with pytest.raises(SystemExit):
        method.main()
    assert "no stage nonsense; there are: " in capsys.readouterr().err
