import json
import os
import signal
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from extract.errors import InputError
from mmssl.config import TrainingConfig
from mmssl.data.dataset import Dataset
from mmssl.data.sampling import BatchSampler, InteractionSampler
from mmssl.evaluation.evaluate import evaluate
from mmssl.model.mmssl import MMSSL
from mmssl.recommend.model_folder import SavedModel
from mmssl.training import checkpoint
from mmssl.training.checkpoint import load_checkpoint, save_checkpoint
from mmssl.training.learner import TrainingDivergedError
from mmssl.training.result import TrainingResult
from mmssl.training.signals import TrainingInterrupted
from mmssl.training.trainer import train as train_anywhere

SMALL = (
    "backbone.embedding_dim=8",
    "optimiser.batch_users=16",
    "optimiser.learning_rate=0.02",
    "optimiser.epochs=6",
    "relations.warm_up=2",
    "relations.rate=0.1",
    "adversarial.critic_items=16",
    "adversarial.critic_users=8",
    "adversarial.weight=0.1",
)


def train(*arguments, **options) -> TrainingResult:
    """On the CPU, where a run comes to the same bits every time."""
    return train_anywhere(*arguments, **{"device": "cpu", **options})


def config(*settings: str) -> TrainingConfig:
    return TrainingConfig.load(None, [*SMALL, *settings])


def log_lines(run: Path, event: str) -> list[dict]:
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if line["event"] == event]


@pytest.fixture(scope="module")
def finished(dataset, tmp_path_factory) -> TrainingResult:
    return train(config(), dataset, tmp_path_factory.mktemp("runs") / "run")


def test_learns_more_than_popularity_where_tastes_differ(finished):
    assert finished.metrics["recall@10"] > finished.popularity["recall@10"] + 0.1


def test_the_best_epoch_is_the_first_maximum_of_the_log(finished):
    epochs = log_lines(finished.path, "epoch")
    values = [line["validation"]["recall@20"] for line in epochs]
    assert finished.best_epoch == int(np.argmax(values)) + 1
    assert finished.metrics == epochs[finished.best_epoch - 1]["validation"]


def test_metrics_json_holds_what_evaluate_measures_on_the_saved_model(finished, dataset_folder):
    stored = json.loads((finished.path / "metrics.json").read_text())
    measured = evaluate(finished.path, "val", dataset_folder)
    assert stored["metrics"] == pytest.approx(measured.metrics, abs=1e-12)
    assert stored["popularity"] == pytest.approx(measured.popularity, abs=1e-12)


def test_training_never_reads_the_test_split(finished, dataset_folder):
    assert Dataset.open(dataset_folder).test_reads() == 0


def test_the_saved_graphs_are_the_learned_ones_that_the_log_counted(dataset, tmp_path):
    result = train(config("relations.warm_up=0", "optimiser.epochs=1"), dataset, tmp_path / "run")
    saved = SavedModel.load(result.path)
    (line,) = log_lines(result.path, "epoch")
    assert {m: g.nnz for m, g in saved.graphs.items()} == line["relation_edges"]
    observed = dataset.matrix("train")
    for graph in saved.graphs.values():
        assert graph.nnz == 2 * np.count_nonzero(np.diff(observed.indptr))
        assert graph.multiply(observed).nnz == 0


def test_gradient_norms_are_logged_once_when_the_warm_up_has_ended(finished):
    (line,) = log_lines(finished.path, "gradient_norms")
    assert line["epoch"] == 3
    assert set(line["parts"]) == {"bpr", "embedding_l2", "feature_l2", "contrast", "generator"}
    assert min(line["parts"].values()) > 0
    assert line["parameters"]["attention.w_q"] > 0
    assert line["parameters"]["attention.w_k"] > 0
    # b3 moves real and generated scores alike, and cancels.
    assert all(norm > 0 for name, norm in line["critic"].items() if name != "b3")


def test_the_same_seed_gives_the_same_model_and_another_does_not(finished, dataset, tmp_path):
    again = train(config(), dataset, tmp_path / "again")
    other = train(config("seed=2"), dataset, tmp_path / "other")
    vectors = [SavedModel.load(r.path).item_vectors for r in (finished, again, other)]
    assert torch.equal(vectors[0], vectors[1])
    assert not torch.equal(vectors[0], vectors[2])


def assert_same_run(run: TrainingResult, finished: TrainingResult) -> None:
    """The metrics, the last epoch's whole state, the best epoch's model and the log, bit by bit."""
    assert run.metrics == finished.metrics
    ours, theirs = (load_checkpoint(r.path / "checkpoints" / "last") for r in (run, finished))
    assert ours[0].keys() == theirs[0].keys()
    assert all(torch.equal(ours[0][name], theirs[0][name]) for name in ours[0])
    assert ours[1]["early_stopping"] == theirs[1]["early_stopping"]
    best = SavedModel.load(run.path), SavedModel.load(finished.path)
    assert torch.equal(best[0].user_vectors, best[1].user_vectors)
    assert torch.equal(best[0].item_vectors, best[1].item_vectors)
    assert without_times(run.path) == without_times(finished.path)


def without_times(run: Path) -> list[dict]:
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [{**line, "seconds": None} for line in lines]


@pytest.mark.parametrize("stop_after", [1, 2, 4])
def test_an_interrupted_run_goes_on_to_the_same_bits(finished, dataset, tmp_path, stop_after):
    reported = []

    def interrupt(line):
        reported.append(line)
        if len(reported) == stop_after:
            raise KeyboardInterrupt

    out = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        train(config(), dataset, out, report=interrupt)
    assert not (out / "metrics.json").exists()
    resumed = train(config(), dataset, out)
    assert_same_run(resumed, finished)


def at_call(monkeypatch, owner, name, number, act):
    """Run ``act`` when the method is called for the ``number``-th time from now on."""
    method = getattr(owner, name)
    calls = []

    def counted(*arguments):
        calls.append(name)
        if len(calls) == number:
            act()
        return method(*arguments)

    monkeypatch.setattr(owner, name, counted)


STEPS = 8  # an epoch: 120 training interactions // 16 users + 1


@pytest.mark.parametrize(
    ("step", "saved"),
    [
        (1, "step 1 of epoch 1"),
        (STEPS, "step 8 of epoch 1"),
        (2 * STEPS + 1, "step 1 of epoch 3"),  # the one that logs gradient norms
        (3 * STEPS + 5, "step 5 of epoch 4"),  # after the graph was learned
        (5 * STEPS + 3, "step 3 of epoch 6"),
    ],
)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_a_step_saves_it_and_the_run_goes_on_to_the_same_bits(
    finished, dataset, tmp_path, monkeypatch, step, saved, number
):
    out, before = tmp_path / "run", signal.getsignal(number)
    with monkeypatch.context() as patch:
        at_call(patch, BatchSampler, "draw", step, lambda: os.kill(os.getpid(), number))
        with pytest.raises(TrainingInterrupted, match=rf"by {number.name}: .* up to {saved};") as e:
            train(config(), dataset, out)
    assert e.value.signal_number == number
    assert isinstance(e.value, KeyboardInterrupt)
    assert signal.getsignal(number) is before
    said = []
    resumed = train(config(), dataset, out, report=said.append)
    assert said[0] == f"going on after {saved}"
    assert_same_run(resumed, finished)


def test_schedule_and_clipping_go_on_to_the_same_bits(dataset, tmp_path, monkeypatch):
    rates = "optimiser.schedule=linear", "optimiser.warm_up_steps=10", "optimiser.clip_norm=0.1"
    whole = train(config(*rates), dataset, tmp_path / "whole")
    with monkeypatch.context() as patch:
        at_call(patch, BatchSampler, "draw", STEPS + 5, lambda: os.kill(os.getpid(), 15))
        with pytest.raises(TrainingInterrupted):
            train(config(*rates), dataset, tmp_path / "run")
    assert_same_run(train(config(*rates), dataset, tmp_path / "run"), whole)
    # After epoch e of 6, 8 e of 48 steps are done, 10 of them the warm-up's.
    logged = [line["learning_rate"] for line in log_lines(whole.path, "epoch")]
    assert logged[0] == pytest.approx(0.02 * 9 / 10)
    assert logged[1:] == pytest.approx([0.02 * (48 - 8 * e) / 38 for e in range(2, 7)])


def test_what_plus_draws_goes_on_to_the_same_bits(dataset, tmp_path, monkeypatch):
    """Interactions in the middle of their order, noise, dropout; and walks made anew."""
    settings = (
        *("optimiser.batches=interactions", "adversarial.weight=0", "backbone.dropout=0.3"),
        *("noise_contrast.weight=0.1", "neighbours.item_rate=1", "walks.weight=1"),
    )
    whole = train(config(*settings), dataset, tmp_path / "whole")
    with monkeypatch.context() as patch:
        at_call(patch, InteractionSampler, "draw", STEPS + 3, lambda: os.kill(os.getpid(), 15))
        with pytest.raises(TrainingInterrupted):
            train(config(*settings), dataset, tmp_path / "run")
    assert_same_run(train(config(*settings), dataset, tmp_path / "run"), whole)


@pytest.mark.parametrize(
    ("method", "call"), [("refresh_relations", 2), ("embeddings", 3)], ids=["refresh", "evaluation"]
)
def test_a_signal_after_the_steps_stops_at_the_epochs_end(
    finished, dataset, tmp_path, monkeypatch, method, call
):
    with monkeypatch.context() as patch:
        at_call(patch, MMSSL, method, call, lambda: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(TrainingInterrupted, match="up to epoch 3;"):
            train(config(), dataset, tmp_path / "run")
    assert_same_run(train(config(), dataset, tmp_path / "run"), finished)


def test_a_second_signal_does_not_wait_and_the_last_checkpoint_stands(
    finished, dataset, tmp_path, monkeypatch
):
    def twice():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        at_call(patch, BatchSampler, "draw", 2 * STEPS + 4, twice)
        with pytest.raises(TrainingInterrupted, match="by SIGINT: all is saved up to epoch 2;"):
            train(config(), dataset, tmp_path / "run")
    assert_same_run(train(config(), dataset, tmp_path / "run"), finished)


@pytest.mark.parametrize("file", [1, 2], ids=["best", "last"])
def test_signals_while_a_checkpoint_is_written_wait_until_it_is_whole(
    finished, dataset, tmp_path, monkeypatch, file
):
    def twice():
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        at_call(patch, checkpoint, "save_file", file, twice)
        with pytest.raises(TrainingInterrupted, match="up to epoch 1;"):
            train(config(), dataset, tmp_path / "run")
    assert_same_run(train(config(), dataset, tmp_path / "run"), finished)


def test_long_epochs_are_saved_by_the_clock(finished, dataset, tmp_path, monkeypatch):
    """An exception that is not ours, as a kill: what the clock saved is gone on from."""

    def fall_over():
        raise RuntimeError("a fault")

    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        at_call(patch, BatchSampler, "draw", 3 * STEPS + 6, fall_over)
        with pytest.raises(RuntimeError, match="a fault"):
            train(config(), dataset, out, save_minutes=1e-9)
    assert load_checkpoint(out / "checkpoints" / "last")[1]["progress"]["step"] == 5
    assert_same_run(train(config(), dataset, out, save_minutes=1e-9), finished)
    with pytest.raises(InputError, match="save_minutes 0"):
        train(config(), dataset, tmp_path / "other", save_minutes=0)


def test_it_trains_in_a_thread_where_signals_cannot_be_taken(finished, dataset, tmp_path):
    results = []
    thread = threading.Thread(
        target=lambda: results.append(train(config(), dataset, tmp_path / "run"))
    )
    thread.start()
    thread.join()
    assert_same_run(results[0], finished)


def test_a_best_model_saved_just_before_a_kill_is_not_taken_for_the_best(
    finished, dataset, tmp_path, monkeypatch
):
    """`best` is saved before `last`: after a kill in between it is an epoch ahead."""
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        at_call(patch, BatchSampler, "draw", 5 * STEPS + 1, lambda: os.kill(os.getpid(), 15))
        with pytest.raises(TrainingInterrupted):
            train(config(), dataset, out)
    tensors, _ = load_checkpoint(out / "checkpoints" / "best")
    wrong = {name: torch.zeros_like(tensor) for name, tensor in tensors.items()}
    save_checkpoint(out / "checkpoints" / "best", wrong, {"epoch": 6})
    assert_same_run(train(config(), dataset, out), finished)


def test_a_finished_or_different_run_is_not_written_over(finished, dataset):
    with pytest.raises(InputError, match="finished"):
        train(config(), dataset, finished.path)
    with pytest.raises(InputError, match="'seed: 1' there, 'seed: 7' now"):
        train(config("seed=7"), dataset, finished.path)


def test_overwrite_starts_anew_and_leaves_other_files_alone(dataset, tmp_path):
    out = tmp_path / "run"
    train(config("optimiser.epochs=1"), dataset, out)
    (out / "notes.txt").write_text("mine")
    train(config("optimiser.epochs=2"), dataset, out, overwrite=True)
    assert len(log_lines(out, "epoch")) == 2
    assert (out / "notes.txt").read_text() == "mine"


def test_a_folder_that_is_no_run_is_refused(dataset, tmp_path):
    (tmp_path / "thesis.doc").write_text("years of work")
    with pytest.raises(InputError, match="not a training run"):
        train(config(), dataset, tmp_path)


@pytest.mark.parametrize(
    ("setting", "advice"),
    [
        ("optimiser.learning_rate=1e30", "lower optimiser.learning_rate"),
        ("adversarial.critic_learning_rate=1e30", "adversarial.critic_learning_rate"),
    ],
)
def test_divergence_ends_with_what_to_lower(dataset, tmp_path, setting, advice):
    with pytest.raises(TrainingDivergedError, match=advice):
        train(config(setting), dataset, tmp_path / "run")


def test_a_switched_off_part_is_absent(dataset, tmp_path):
    out = tmp_path / "run"
    train(config("contrast.weight=0", "adversarial.weight=0", "optimiser.epochs=1"), dataset, out)
    (line,) = log_lines(out, "epoch")
    assert set(line["losses"]) == {"bpr", "embedding_l2", "feature_l2"}


def test_an_unknown_modality_is_named(dataset, tmp_path):
    with pytest.raises(InputError, match=r"no 'video' \(it has: "):
        train(config("features.modalities=[video]"), dataset, tmp_path / "a")


def test_a_finished_run_survives_an_overwrite_that_is_refused(dataset, tmp_path):
    out = tmp_path / "run"
    train(config("optimiser.epochs=1"), dataset, out)
    with pytest.raises(InputError, match="no 'video'"):
        train(config("features.modalities=[video]"), dataset, out, overwrite=True)
    assert SavedModel.load(out).info.best_epoch == 1


def test_without_a_warm_up_the_first_epoch_sees_learned_graphs(dataset, tmp_path):
    train(config("relations.warm_up=0", "relations.refresh=99"), dataset, tmp_path / "run")
    first = log_lines(tmp_path / "run", "epoch")[0]
    assert set(first["relation_edges"]) == {"image", "audio"}
    assert min(first["relation_edges"].values()) > 0


def test_fp16_needs_cuda(dataset, tmp_path):
    with pytest.raises(InputError, match="fp16 needs a CUDA device"):
        train(config("precision=fp16"), dataset, tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()


def test_a_metric_that_cannot_tell_epochs_apart_is_warned_of(dataset, tmp_path):
    said = []
    settings = config("optimiser.epochs=1", "selection_metric=recall@50")
    train(settings, dataset, tmp_path / "run", report=said.append)
    assert "only 24 items" in said[0]


def test_the_loss_reported_is_the_models_without_the_critics(dataset, tmp_path):
    said = []
    train(config("optimiser.epochs=1"), dataset, tmp_path / "run", report=said.append)
    (line,) = log_lines(tmp_path / "run", "epoch")
    own = sum(v for k, v in line["losses"].items() if k not in ("wasserstein", "gradient_penalty"))
    assert f"loss {own:.4f}," in said[0]


def test_a_dataset_without_features_is_refused(dataset, tmp_path):
    bare = Dataset(
        dataset.path,
        dataset.user_ids,
        dataset.item_ids,
        dataset.train,
        dataset.val,
        {},
        dataset.manifest,
    )
    with pytest.raises(InputError, match="no features"):
        train(config(), bare, tmp_path / "run")


def test_a_profiled_run_is_the_same_to_the_bit_and_says_where_the_time_went(
    finished, dataset, tmp_path
):
    said = []
    run = train(config(), dataset, tmp_path / "run", profile=True, report=said.append)
    assert_same_run(run, finished)
    written = json.loads((run.path / "profile.json").read_text())
    assert written["reached"] == "epoch 6"
    sections = written["sections"]
    assert set(sections) == {
        *("drawing batches", "forward", "critic", "losses", "backward", "optimiser"),
        *("graph refresh", "evaluation", "checkpoint", "other", "all"),
    }
    total = sections.pop("all")
    assert all(part["seconds"] > 0 for part in sections.values())
    assert sum(part["seconds"] for part in sections.values()) == pytest.approx(
        total["seconds"], abs=0.001
    )
    assert sum(line.startswith("forward") for line in said) == 1
    assert not (finished.path / "profile.json").exists()
