"""Trackers: what TensorBoard's own reader finds in a run that was interrupted and went on."""

import json
import re

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from extract.errors import InputError
from mmssl.config import TrainingConfig
from mmssl.recommend.model_folder import SavedModel
from mmssl.training import tracking
from mmssl.training.tracking import epoch_values
from mmssl.training.trainer import train

CONFIG = TrainingConfig.load(
    None,
    [
        *("backbone.embedding_dim=8", "optimiser.batch_users=40", "optimiser.epochs=4"),
        *("optimiser.schedule=linear", "relations.warm_up=1", "relations.rate=0.1"),
    ],
)


def test_an_interrupted_run_is_followed_as_one_and_computes_the_same(dataset, tmp_path):
    out, reported = tmp_path / "run", []

    def interrupt(line):
        reported.append(line)
        if len(reported) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(CONFIG, dataset, out, trackers=["tensorboard"], report=interrupt)
    train(CONFIG, dataset, out, trackers=["tensorboard"])

    log = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    epochs = [line for line in log if line["event"] == "epoch"]
    events = EventAccumulator(str(out / "trackers" / "mmssl")).Reload()
    expected = {
        "loss/bpr": [line["losses"]["bpr"] for line in epochs],
        "loss/wasserstein": [line["losses"]["wasserstein"] for line in epochs],
        "validation/recall_at_20": [line["validation"]["recall@20"] for line in epochs],
        "learning_rate": [line["learning_rate"] for line in epochs],
    }
    assert set(expected) < set(events.Tags()["scalars"])
    for name, values in expected.items():
        points = events.Scalars(name)
        assert [point.step for point in points] == [1, 2, 3, 4]
        assert [point.value for point in points] == pytest.approx(values, rel=1e-6)
    # The settings, shown once though the run was started twice.
    (settings,) = (out / "trackers" / "mmssl").glob("*/hparams.yml")
    assert "optimiser.schedule: linear\n" in settings.read_text()

    untracked = train(CONFIG, dataset, tmp_path / "untracked")
    assert not (untracked.path / "trackers").exists()
    ours, theirs = SavedModel.load(out), SavedModel.load(untracked.path)
    assert ours.user_vectors.equal(theirs.user_vectors)
    assert "tensorboard" not in (out / "config.yaml").read_text()

    train(CONFIG, dataset, out, overwrite=True)
    assert not (out / "trackers").exists()


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["tensorbord"], "tracker 'tensorbord': there is none (did you mean 'tensorboard'?)"),
        (["wandb", "wandb"], "tracker 'wandb' is named twice"),
        (["mlflow"], "tracker 'mlflow' is not installed: run  pip install mlflow"),
        (["tensorboard"], "tracker 'tensorboard' needs the extra 'trackers'"),
    ],
)
def test_what_cannot_be_used_is_one_line(names, says, dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(tracking, "get_available_trackers", lambda: ["wandb"])
    with pytest.raises(InputError, match=re.escape(says)):
        train(CONFIG, dataset, tmp_path / "run", trackers=names)
    assert not (tmp_path / "run").exists()


def test_names_are_of_letters_that_every_tracker_takes():
    named = epoch_values({"bpr": 0.5}, {"recall@20": 0.25}, 0.1)
    assert named == {"loss/bpr": 0.5, "validation/recall_at_20": 0.25, "learning_rate": 0.1}
    # MLflow's rule.
    assert all(re.fullmatch(r"[\w\-. :/]+", name) for name in named)


@pytest.mark.parametrize("damaged", ["{", "[]", '{"id": 3}'])
def test_a_damaged_record_of_the_tracked_run_is_one_line(damaged, dataset, tmp_path):
    def interrupt(line):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(CONFIG, dataset, tmp_path / "run", trackers=["tensorboard"], report=interrupt)
    (tmp_path / "run" / "trackers" / "runs.json").write_text(damaged)
    with pytest.raises(InputError, match=r"runs\.json"):
        train(CONFIG, dataset, tmp_path / "run", trackers=["tensorboard"])
