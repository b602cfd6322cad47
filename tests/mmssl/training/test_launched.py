"""Training in several processes: real ones, which find each other over the loopback."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file
from scipy.sparse import csr_array

from mmssl.config import TrainingConfig
from mmssl.evaluation.evaluate import evaluate_scores
from mmssl.evaluation.ranking import InnerProduct, top_k
from mmssl.recommend.model_folder import SavedModel
from mmssl.training.checkpoint import load_checkpoint
from mmssl.training.trainer import train

ROOT = Path(__file__).parents[3]
WORKER = Path(__file__).with_name("launched.py")
# A run takes a few seconds, more on a busy machine; one that hangs must fail.
SECONDS = 240

# No dropout and no noise, which several processes draw otherwise; 13 users and 11 of them for the
# critic do not divide evenly.
SETTINGS = {
    "backbone": {"embedding_dim": 8},
    "features": {"dropout": 0},
    "optimiser": {"batch_users": 13, "epochs": 5, "patience": 100},
    "relations": {"warm_up": 2, "rate": 0.1},
    "adversarial": {
        "weight": 0.01,
        "critic_users": 11,
        "critic_items": 16,
        "critic_hidden": [8, 4],
        "critic_dropout": [0, 0],
        "gumbel_scale": 0,
    },
}


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("config") / "small.yaml"
    path.write_text(yaml.safe_dump(SETTINGS))
    return path


def environment(**more: str) -> dict[str, str]:
    offline = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
    return {**os.environ, **offline, **more}


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def start(count: int, *command: object) -> list[subprocess.Popen]:
    """Start a Python command line in several processes, as a launcher does."""
    port = free_port()
    started = []
    for index in range(count):
        rank = {"RANK": str(index), "LOCAL_RANK": str(index)}
        size = {"WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count)}
        meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        started.append(
            subprocess.Popen(
                [sys.executable, *map(str, command)],
                env=environment(**rank, **size, **meeting),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    return started


def finish(started: list[subprocess.Popen]) -> list[tuple[int, str, str]]:
    """Exit code, standard output and standard error of each process."""
    ends = []
    try:
        for process in started:
            out, err = process.communicate(timeout=SECONDS)
            ends.append((process.returncode, out, err))
    finally:
        for process in started:
            process.kill()
    return ends


def command(config, dataset_folder, out, *settings) -> list[object]:
    places = ["--config", config, "--data", dataset_folder, "--out", out]
    return [ROOT / "cli.py", "train", *places, "--device", "cpu", *settings]


def epochs(run: Path) -> list[dict]:
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if line["event"] == "epoch"]


def last(run: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(run / "checkpoints" / "last")[0]


@pytest.fixture(scope="module")
def one(config, dataset_folder, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("one") / "run"
    train(TrainingConfig.load(config), dataset_folder, out, device="cpu")
    return out


@pytest.fixture(scope="module")
def two(config, dataset_folder, tmp_path_factory) -> Path:
    """The same run by `accelerate launch`: two processes, gloo, what a person types."""
    out = tmp_path_factory.mktemp("two") / "run"
    launcher = [sys.executable, "-m", "accelerate.commands.accelerate_cli", "launch"]
    launcher += ["--multi_gpu", "--num_processes", "2", "--num_machines", "1"]
    launcher += ["--mixed_precision", "no", "--dynamo_backend", "no"]
    launcher += ["--main_process_ip", "127.0.0.1", "--main_process_port", free_port()]
    called = [*launcher, *command(config, dataset_folder, out)]
    with subprocess.Popen(
        list(map(str, called)),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            said, err = process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            # The launcher and its processes are a group of their own.
            os.killpg(process.pid, signal.SIGKILL)
            raise
    assert process.returncode == 0, err
    assert said.count("run: ") == 1
    assert err.count("epoch 1: loss") == 1
    return out


def test_accelerate_launch_gives_the_losses_of_one_process(one, two):
    theirs, ours = epochs(one), epochs(two)
    assert len(ours) == len(theirs) == 5
    for line, expected in zip(ours, theirs, strict=True):
        for part, value in expected["losses"].items():
            # The critic's first part is the small difference of two means.
            tolerance = {"abs": 1e-6} if part == "wasserstein" else {"rel": 1e-5, "abs": 0}
            assert line["losses"][part] == pytest.approx(value, **tolerance), part
        assert line["relation_edges"] == expected["relation_edges"]
        assert line["validation"] == pytest.approx(expected["validation"], abs=1e-12)
    assert min(ours[-1]["relation_edges"].values()) > 0


def test_the_model_is_that_of_one_process(one, two):
    theirs, ours = SavedModel.load(one), SavedModel.load(two)
    assert ours.info.best_epoch == theirs.info.best_epoch
    torch.testing.assert_close(ours.user_vectors, theirs.user_vectors, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ours.item_vectors, theirs.item_vectors, rtol=1e-4, atol=1e-5)
    start_line = json.loads((two / "log.jsonl").read_text().splitlines()[0])
    assert start_line["processes"] == 2


def test_a_killed_run_goes_on_in_as_many_processes_or_others(two, config, dataset_folder, tmp_path):
    out, alone = tmp_path / "run", tmp_path / "alone"
    started = start(2, *command(config, dataset_folder, out))
    deadline = time.monotonic() + SECONDS
    while not (out / "checkpoints" / "last").is_dir() and time.monotonic() < deadline:
        time.sleep(0.01)
    for process in started:
        process.send_signal(signal.SIGKILL)
    finish(started)
    assert not (out / "metrics.json").exists()
    shutil.copytree(out, alone)
    ends = finish(start(2, *command(config, dataset_folder, out)))
    assert [code for code, _, _ in ends] == [0, 0], ends
    assert "going on after epoch" in ends[0][2]
    said: list[str] = []
    train(TrainingConfig.load(config), dataset_folder, alone, device="cpu", report=said.append)
    assert said[0].startswith("going on after epoch")
    expected, same, other = last(two), last(out), last(alone)
    for name, tensor in expected.items():
        assert torch.equal(same[name], tensor), name
        if not name.startswith(("model/critic.", "critic_optimiser/", "rng/torch")):
            torch.testing.assert_close(other[name], tensor, rtol=1e-4, atol=1e-5)


def test_what_ends_one_process_ends_all_in_one_line(config, dataset_folder, tmp_path):
    diverging = command(config, dataset_folder, tmp_path / "run", "optimiser.learning_rate=1e30")
    (main, other) = finish(start(2, *diverging))
    assert (main[0], other[0]) == (2, 2), (main, other)
    assert main[2].splitlines()[-1].startswith("error: ")
    assert "lower optimiser.learning_rate" in main[2]
    assert "Traceback" not in main[2]
    assert other[2] == ""


@pytest.fixture(scope="module")
def checked(dataset_folder, tmp_path_factory) -> tuple[list[dict], list[dict[str, torch.Tensor]]]:
    """What three processes have found, each by itself: facts and tensors."""
    out = tmp_path_factory.mktemp("checked")
    for code, _, err in finish(start(3, WORKER, dataset_folder, out)):
        assert code == 0, err
    facts = [json.loads((out / f"{index}.json").read_text()) for index in range(3)]
    for index, fact in enumerate(facts):
        fact["connected"] = (out / f"{index}.connected").read_text()
    return facts, [load_file(out / f"{index}.safetensors") for index in range(3)]


def test_parameters_graphs_and_random_states_are_the_same_bits_in_all(checked):
    facts, tensors = checked
    assert facts[0]["losses"] == facts[1]["losses"] == facts[2]["losses"]
    assert min(facts[0]["edges"].values()) > 0
    names = tensors[0].keys()
    assert {"model/user_id", "model/critic.w1", "rng/torch", "rng/draws"} <= names
    assert any(name.startswith("graphs/") for name in names)
    for name in names:
        assert torch.equal(tensors[0][name], tensors[1][name]), name
        assert torch.equal(tensors[0][name], tensors[2][name]), name


def test_evaluation_and_lists_are_those_of_one_process_to_the_bit(checked, dataset):
    facts, (found, *_) = checked
    # Copies, since a product's last bit may hang on where in memory its factors begin.
    score = InnerProduct(found["users"].clone(), found["items"].clone())
    seen = dataset.matrix("train")
    expected = evaluate_scores(score, dataset.val, seen, block=7)
    assert facts[2]["metrics"] == expected.metrics
    per_user = np.stack(list(expected.per_user.values()))
    assert np.array_equal(found["per_user"].numpy(), per_user)
    score_many = InnerProduct(found["users"].clone(), found["many"].clone())
    nothing = csr_array((len(found["users"]), len(found["many"])), dtype=np.float32)
    expected = evaluate_scores(score_many, dataset.val, nothing, [5], block=7)
    assert np.array_equal(found["glanced"].numpy(), expected.per_user["mrr@5"])
    lists, scores = top_k(score, np.arange(len(found["users"])), seen, 30, block=3)
    assert np.array_equal(found["lists"].numpy(), lists)
    assert np.array_equal(found["scores"].numpy(), scores)


def test_an_error_of_one_process_is_heard_by_all(checked):
    facts, _ = checked
    for heard in (fact["hears"] for fact in facts):
        assert heard[:2] == [
            ["InputError", "image.npy: gone"],
            ["FloatingPointError", "a score is NaN"],
        ]
    assert facts[1]["hears"][2] == ["InputError", "[Errno 28] No space left on device"]


def test_processes_part_before_the_interpreter_ends(checked):
    """Gloo's threads would abort one ending process in ten."""
    facts, _ = checked
    assert [fact["connected"] for fact in facts] == ["False"] * 3


def test_large_and_sparse_gradients_are_added_up(checked):
    facts, (found, *_) = checked
    # 1 + 2 + 3, twice where a row comes twice.
    assert facts[0]["large"] == [6.0, 6.0]
    assert found["sparse"][:, 0].tolist() == [0.0, 6.0, 0.0, 0.0, 12.0, 0.0]
