"""Extractions killed at any moment go on, lose nothing that was finished, and end alike.

``make endurance`` kills 100 times at random moments, locally and on a Ray cluster, there drivers
and workers; the tests do 5 of the local ones (MMSSL_EXTRACTION_KILLS), drawn from MMSSL_KILL_SEED.
"""

import contextlib
import os
import random
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

import extract
from tests.local_ray import local_cluster

KILLS = int(os.environ.get("MMSSL_EXTRACTION_KILLS", "5"))
SEED = int(os.environ.get("MMSSL_KILL_SEED", "0"))

# Words, so that a note is a line; of several lengths, so that sorting has something to do.
ROWS, PER_PART = 200, 8
TEXTS = [f"{n}-{'x' * (7 * n % 11)}" for n in range(ROWS)]
BLANK = {5, 77, 160}


class Extractions:
    """One item table and one encoder; stores, and what was encoded for them."""

    def __init__(self, folder: Path, seconds: str) -> None:
        self.folder, self.notes = folder, folder / "notes"
        rows = [f"i{n},{' ' if n in BLANK else text}" for n, text in enumerate(TEXTS)]
        (folder / "items.csv").write_text("\n".join(["id,text", *rows]) + "\n")
        self.encoder = f"noting_encoder:Noting?notes={self.notes}&seconds={seconds}"
        self.notes.touch()

    def command(self, out: Path, *more: str) -> list[str]:
        items = str(self.folder / "items.csv")
        options = ["--batch-size", "4", "--rows-per-part", str(PER_PART), "--device", "cpu"]
        where = ["--items", items, "--out", str(out), "--encoder", self.encoder]
        return ["extract", "--modality", "text", *where, *options, *more]

    def whole(self, out: Path) -> set[int]:
        """Parts of a store that are whole."""
        if not (out / "manifest.json").exists():
            return set()
        store = extract.FeatureStore.open(out)
        return set(range(store.part_count)) - set(store.verify())

    def take_notes(self) -> list[int]:
        """Rows that were encoded since the last call."""
        noted = self.notes.read_text().splitlines()
        self.notes.write_text("")
        return [int(text.split("-")[0]) for line in noted for text in line.split()[1:]]

    def assert_not_encoded_again(self, finished: set[int]) -> list[int]:
        """Nothing of parts that were whole before was encoded since; the rows that were."""
        rows = self.take_notes()
        again = {row // PER_PART for row in rows} & finished
        assert not again, f"encoded again though it was finished: parts {sorted(again)}"
        return rows


def contents(out: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in out.iterdir()}


def is_finished(out: Path) -> bool:
    """A kill may come after the last file was written, or before there is an item."""
    if not (out / "manifest.json").exists():
        return False
    store = extract.FeatureStore.open(out)
    return store.part_count > 0 and store.verify() == []


def wait_for_its_beginning(commands, extractions: Extractions, out: Path) -> None:
    """Until the first batch is encoded, or the command has ended."""
    while commands.is_alive() and not (extractions.notes.stat().st_size):
        time.sleep(0.002)


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    return Extractions(tmp_path_factory.mktemp("local"), seconds="0.002")


@pytest.fixture(scope="module")
def commands(new_commands):
    return new_commands()


def test_killed_from_outside_at_random_moments(local, tmp_path, commands):
    draw, whole = random.Random(SEED), tmp_path / "whole"
    commands.start(local.command(whole), whole)
    wait_for_its_beginning(commands, local, whole)
    began = time.monotonic()
    assert commands.end()[0] == 0
    seconds = time.monotonic() - began
    expected = contents(whole)
    # All that can be encoded was, and once.
    assert sorted(local.take_notes()) == sorted(set(range(ROWS)) - BLANK)
    killed, runs = 0, 0
    while killed < KILLS:
        runs += 1
        out, finished = tmp_path / f"store-{runs}", set()
        while not is_finished(out):
            # Every tenth is the command as people start it, with its seconds of imports.
            process = commands.start(local.command(out), out, real=killed % 10 == 3)
            if draw.random() < 0.8:
                wait_for_its_beginning(commands, local, out)
            if killed < KILLS:
                time.sleep(draw.uniform(0, seconds))
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            code, _ = commands.end()
            local.assert_not_encoded_again(finished)
            now = local.whole(out)
            assert now >= finished, "a part that was whole is not any more"
            for part in now:
                for kind in ("npy", "parquet", "json"):
                    name = f"part-{part}.{kind}"
                    assert (out / name).read_bytes() == expected[name]
            finished = now
            if code:
                killed += 1
                print(f"kill {killed} of {KILLS}: store {runs}, {len(now)} parts", flush=True)
        assert contents(out) == expected
    print(f"{killed} kills over {runs} stores of {seconds:.1f} s")


def test_killed_before_an_access_to_its_files_and_again_while_going_on(local, tmp_path, commands):
    draw, whole = random.Random(SEED), tmp_path / "whole"
    # Two parts and a short one.
    items = tmp_path / "items.csv"
    items.write_text("".join((local.folder / "items.csv").read_text().splitlines(True)[:20]))

    def command(out: Path) -> list[str]:
        return [str(items) if a.endswith("items.csv") else a for a in local.command(out)]

    commands.start(command(whole), whole)
    _, accesses = commands.end()
    expected = contents(whole)
    local.take_notes()
    moments = range(accesses)
    if len(moments) > KILLS:
        moments = sorted(draw.sample(moments, KILLS))
    for moment in moments:
        out, finished = tmp_path / f"killed-{moment}", set()
        for kill_at in (moment, draw.randrange(accesses - moment + 1), None):
            if not is_finished(out):
                commands.start(command(out), out, kill_at)
                commands.end()
                local.assert_not_encoded_again(finished)
                now = local.whole(out)
                assert now >= finished, "a part that was whole is not any more"
                finished = now
        assert contents(out) == expected, f"killed before access {moment}"
        shutil.rmtree(out)
    print(f"killed before {len(moments)} of {accesses} accesses to files")


@pytest.fixture(scope="module")
def cluster():
    with local_cluster() as address:
        yield address


def actors() -> list[psutil.Process]:
    """Processes of our cluster that encode."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if process.cmdline()[:1] and process.cmdline()[0].startswith("ray::PartActor"):
                found.append(process)
    return found


@pytest.mark.skipif(
    "MMSSL_EXTRACTION_KILLS" not in os.environ,
    reason="a cluster is killed by `make endurance`: its minutes and its ports want a free machine",
)
def test_drivers_and_workers_of_a_cluster_killed_at_random_moments(cluster, tmp_path, new_commands):
    draw, commands = random.Random(SEED), new_commands()
    # Long enough for several kills of one run.
    extractions, whole = Extractions(tmp_path, seconds="0.02"), tmp_path / "whole"
    commands.start(extractions.command(whole), whole)
    assert commands.end()[0] == 0
    expected = extract.FeatureStore.open(whole)
    assert sorted(extractions.take_notes()) == sorted(set(range(ROWS)) - BLANK)
    killed, runs = {"driver": 0, "worker": 0}, 0
    while sum(killed.values()) < KILLS:
        runs += 1
        out, finished = tmp_path / f"store-{runs}", set()
        options = ["--engine", "ray", "--ray-address", cluster, "--actors", "2"]
        while not is_finished(out):
            driver = commands.start(extractions.command(out, *options), out)
            # Two workers at most: the third that dies of one part is the last.
            for victim in draw.choice([["driver"], ["worker"], ["worker", "worker", "driver"]]):
                wait_for_its_beginning(commands, extractions, out)
                time.sleep(draw.uniform(0, 0.6))
                processes = [driver] if victim == "driver" else [a.pid for a in actors()]
                if sum(killed.values()) == KILLS or not processes or not commands.is_alive():
                    break
                with contextlib.suppress(ProcessLookupError):
                    os.kill(draw.choice(processes), signal.SIGKILL)
                    killed[victim] += 1
                    now = extractions.whole(out)
                    assert now >= finished, "a part that was whole is not any more"
                    print(f"kill {killed}: store {runs}, {len(now)} parts", flush=True)
                    if victim == "worker":
                        # From here on the notes are of what was not finished at the kill.
                        extractions.assert_not_encoded_again(finished)
                        finished = now
            commands.end()
            while actors():  # of a driver that was killed: they end by themselves
                time.sleep(0.05)
            extractions.assert_not_encoded_again(finished)
            now = extractions.whole(out)
            assert now >= finished, "a part that was whole is not any more"
            finished = now
        store = extract.FeatureStore.open(out)
        assert store.manifest == expected.manifest
        assert store.statuses().equals(expected.statuses())
        vectors = store.load().vectors
        np.testing.assert_allclose(vectors, expected.load().vectors, rtol=0, atol=1e-5)
    print(f"killed {killed} over {runs} stores")
