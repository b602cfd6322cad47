"""Trainings killed at any moment go on, and come to the same bits as one that never was.

``make endurance`` kills 50 times from outside at random moments, and before every access to the
run's files; the tests do 5 of each (MMSSL_KILLS), drawn from MMSSL_KILL_SEED.
"""

import contextlib
import json
import os
import random
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from mmssl.data.prepare import prepare
from mmssl.data.prepare_config import PrepareConfig
from mmssl.recommend.model_folder import SavedModel
from mmssl.training.checkpoint import generations, load_checkpoint

KILLS = int(os.environ.get("MMSSL_KILLS", "5"))
SEED = int(os.environ.get("MMSSL_KILL_SEED", "0"))

SETTINGS = [
    *("backbone.embedding_dim=8", "relations.warm_up=1", "relations.rate=0.1"),
    *("adversarial.critic_items=16", "adversarial.critic_users=8", "optimiser.learning_rate=0.02"),
]


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """40 users of four tastes, 24 items of four kinds, features that tell the kind."""
    folder, draw = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    kind = np.arange(24) % 4
    rows = []
    for user in range(40):
        taste = np.where(kind == user % 4, 1.0, 0.05)
        rows += [f"u{user},{i}" for i in draw.choice(24, 5, replace=False, p=taste / taste.sum())]
    (folder / "likes.csv").write_text("user,item\n" + "\n".join(rows) + "\n")
    for modality in ("image", "audio"):
        np.save(folder / f"{modality}.npy", np.eye(4)[kind] + 0.3 * draw.normal(size=(24, 4)))
    features = {m: folder / f"{m}.npy" for m in ("image", "audio")}
    out = folder / "dataset"
    likes = folder / "likes.csv"
    prepare(PrepareConfig(interactions=likes, features=features, ratios=(0.6, 0.2, 0.2), out=out))
    return out


def outcome(run: Path) -> dict:
    """All that a finished run leaves, without times."""
    metrics = json.loads((run / "metrics.json").read_text())
    log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    SavedModel.load(run)
    tensors = {
        (path.name, name): (str(array.dtype), array.shape, array.tobytes())
        for path in sorted((run / "model").glob("*.safetensors"))
        for name, array in load_file(path).items()
    }
    return {
        "metrics": {name: metrics[name] for name in ("metrics", "popularity", "best_epoch")},
        "log": [{**line, "seconds": None} for line in log],
        "tensors": tensors,
        # Which of two generations there are depends on where training went on.
        "files": sorted(p.name for p in [*run.iterdir(), *run.glob("checkpoints/[!b]*")]),
    }


def assert_whole(run: Path, reached: tuple[int, int] | None) -> tuple[int, int] | None:
    """Whatever bears a name is whole, and no progress has been lost; the progress."""
    for name in ("last", "best"):
        for generation in generations(run / "checkpoints" / name):
            load_checkpoint(generation)
    if (run / "model").exists():
        SavedModel.load(run)
    if (run / "metrics.json").exists():
        json.loads((run / "metrics.json").read_text())
    if not generations(run / "checkpoints" / "last"):
        assert reached is None, "there was a checkpoint before the kill"
        return None
    progress = load_checkpoint(run / "checkpoints" / "last")[1]["progress"]
    now = (progress["epoch"], progress["step"])
    assert reached is None or now >= reached
    return now


def is_finished(run: Path) -> bool:
    """A kill may come after the last file was written."""
    return (run / "metrics.json").exists()


def train_command(data: Path, out: Path, *more: str) -> list[str]:
    return ["train", "--data", str(data), "--out", str(out), *more, *SETTINGS]


@pytest.fixture(scope="module")
def trainings(new_commands):
    return new_commands()


def wait_for_its_beginning(trainings, out: Path, *, goes_on: bool) -> None:
    """Until the run folder is made, or the training says that it goes on, or it has ended."""
    while trainings.is_alive():
        if trainings.said.exists() and trainings.said.stat().st_size:
            return
        if not goes_on and (out / "config.yaml").exists():
            return
        time.sleep(0.002)


def test_killed_from_outside_at_random_moments(data, tmp_path, trainings):
    draw = random.Random(SEED)
    # Steps of a few ms, each of them saved: kills fall into both.
    more = ["--save-minutes", "1e-9", "optimiser.batch_users=20", "optimiser.epochs=3"]
    whole = tmp_path / "whole"
    trainings.start(train_command(data, whole, *more), whole)
    wait_for_its_beginning(trainings, whole, goes_on=False)
    began = time.monotonic()
    assert trainings.end()[0] == 0
    seconds = time.monotonic() - began
    expected = outcome(whole)
    killed, runs = 0, 0
    while killed < KILLS:
        runs += 1
        out, reached = tmp_path / f"run-{runs}", None
        command = train_command(data, out, *more)
        while not is_finished(out):
            goes_on = (out / "config.yaml").exists()
            # Every fifth is the command as people start it, with its seconds of imports.
            process = trainings.start(command, out, real=killed % 5 == 3)
            wait_for_its_beginning(trainings, out, goes_on=goes_on)
            if killed < KILLS:
                time.sleep(draw.uniform(0, seconds))
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            code, _ = trainings.end()
            if code:
                killed += 1
                reached = assert_whole(out, reached)
                print(f"kill {killed} of {KILLS}: run {runs}, reached {reached}", flush=True)
        assert outcome(out) == expected
    print(f"{killed} kills over {runs} runs of {seconds:.1f} s")


def test_killed_before_an_access_to_its_files_and_again_while_going_on(data, tmp_path, trainings):
    draw = random.Random(SEED)
    # Two epochs of two steps, each step saved.
    more = ["--save-minutes", "1e-9", "optimiser.batch_users=100", "optimiser.epochs=2"]
    whole = tmp_path / "whole"
    trainings.start(train_command(data, whole, *more), whole)
    _, accesses = trainings.end()
    expected = outcome(whole)
    moments = range(accesses)
    if KILLS < 50:
        moments = sorted(draw.sample(moments, KILLS))
    for moment in moments:
        out = tmp_path / f"killed-{moment}"
        command = train_command(data, out, *more)
        reached = None
        for kill_at in (moment, draw.randrange(accesses - moment + 1), None):
            if not is_finished(out):
                trainings.start(command, out, kill_at)
                trainings.end()
                reached = assert_whole(out, reached)
        assert outcome(out) == expected, f"killed before access {moment}"
        shutil.rmtree(out)
    print(f"killed before {len(moments)} of {accesses} accesses to files")
