"""`cli.py extract --engine ray` on a cluster of its own, and how it ends."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

import extract

pytest.importorskip("ray")

ROOT = Path(__file__).parents[2]

ENCODER = '''
import time
import torch
from extract import Encoder

class Letters(Encoder):
    """How often each byte occurs."""
    modalities = ("text",)
    dim = 256
    space = "letters"
    def __init__(self, seconds="0"):
        self.seconds = float(seconds)
    def preprocess(self, raw):
        return torch.bincount(torch.tensor(list(raw.encode())), minlength=256).float()
    def encode(self, batch):
        time.sleep(self.seconds)
        return torch.stack(batch)
    def fingerprint(self):
        return {}
'''
TEXTS = [f"text {'x' * (n % 7)} {n}" for n in range(60)]


@pytest.fixture
def places(tmp_path):
    """A working folder with a table and an encoder, a home folder, and one for Ray's files."""
    (tmp_path / "letters.py").write_text(ENCODER)
    # It must not stand in for a module that somebody else imports.
    (tmp_path / "tomllib.py").write_text("raise SystemExit('the wrong module')")
    rows = "".join(f"i{n},{text}\n" for n, text in enumerate(TEXTS))
    (tmp_path / "items.csv").write_text("id,text\n" + rows)
    (tmp_path / "home").mkdir()
    # Its sockets need a short name.
    own = Path(tempfile.mkdtemp(prefix="ray-"))
    yield tmp_path, tmp_path / "home", own
    shutil.rmtree(own, ignore_errors=True)


def start(places, encoder: str, *options: str) -> subprocess.Popen:
    folder, home, own = places
    command = ["extract", "--modality", "text", "--items", "items.csv", "--out", "store"]
    return subprocess.Popen(
        [sys.executable, ROOT / "cli.py", *command, "--encoder", encoder, *options],
        cwd=folder,
        env={**os.environ, "HOME": str(home), "RAY_TMPDIR": str(own)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_a_cluster_of_its_own_leaves_the_features_and_nothing_else(places):
    folder, home, own = places
    run = start(places, "letters:Letters", "--engine", "ray", "--rows-per-part", "8")
    out, err = run.communicate()
    assert (run.returncode, err) == (0, "")
    assert out.splitlines()[0] == "text: 60 items through letters:Letters (column 'text')"
    loaded = extract.FeatureStore.open(folder / "store").load()
    assert loaded.ids == [f"i{n}" for n in range(60)]
    wanted = [np.bincount(np.frombuffer(text.encode(), np.uint8), minlength=256) for text in TEXTS]
    np.testing.assert_array_equal(loaded.vectors, wanted)
    assert [*home.iterdir(), *own.iterdir()] == []
    assert {path.name for path in folder.iterdir()} - {"__pycache__"} == {
        *("letters.py", "tomllib.py", "items.csv", "home", "store")
    }


@pytest.mark.parametrize(
    ("sent", "code", "said"), [("SIGINT", 130, "error: interrupted\n"), ("SIGTERM", 143, "")]
)
def test_an_interruption_ends_the_cluster_and_keeps_finished_parts(places, sent, code, said):
    folder, _, own = places
    options = ["--engine", "ray", "--rows-per-part", "4", "--batch-size", "4"]
    run = start(places, "letters:Letters?seconds=0.3", *options)
    while not (folder / "store/part-1.json").exists():
        assert run.poll() is None, run.communicate()
        time.sleep(0.02)
    if sent == "SIGINT":
        # As a terminal does: to all processes of the command.
        os.killpg(run.pid, signal.SIGINT)
    else:
        # As `kill` does. Sent to all, Ray's own processes may end before the command does, which
        # Ray then ends itself, with exit code 1.
        os.kill(run.pid, signal.SIGTERM)
    _, err = run.communicate()
    assert (run.returncode, err) == (code, said)
    assert list(own.iterdir()) == []
    pending = extract.FeatureStore.open(folder / "store").verify()
    assert 0 < len(pending) < 14
    assert {0, 1}.isdisjoint(pending)


def test_a_cluster_that_is_not_there_is_one_line(places):
    options = ["--engine", "ray", "--ray-address", "127.0.0.1:1"]
    run = start(places, "letters:Letters", *options)
    _, err = run.communicate(timeout=60)
    assert run.returncode == 2
    assert err.startswith("error: --ray-address 127.0.0.1:1: no Ray cluster answers there")
    assert len(err.splitlines()) == 1
    assert not (places[0] / "store").exists()
