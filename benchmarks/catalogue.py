"""Extraction of a large catalogue: memory, rate, and what a second run costs.

    python benchmarks/catalogue.py --items 1000000 --json catalogue.json

The catalogue is synthetic: distinct texts of some ten words. The encoder counts bytes, so that what
is measured is all the rest. Each extraction runs in a process of its own, through the command line:
of a hundredth of the items, of all of them, and of all of them again, when nothing is left to do.
Exits with 1 where a bar is missed (--no-bars: never).
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

# Python looks for modules beside this file first, where `extract` would be a benchmark.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from extract import Encoder, FeatureStore

ROOT = Path(__file__).resolve().parent.parent

# What was set before the first measurement.
MOST_MEMORY = 1.2
"""Peak of the whole catalogue over that of a hundredth of it."""
LEAST_RATE = 20_000
"""Items a second."""
LONGEST_AGAIN = 5
"""Seconds, of a run that finds all finished."""

_TRADES = ("red", "blue", "small", "large", "old", "new", "warm", "light", "plain", "round")
_THINGS = ("lamp", "chair", "boat", "shirt", "clock", "bottle", "guitar", "kettle", "tent", "kite")


class ByteHistogram(Encoder):
    """Texts: how often each byte value occurs."""

    modalities = ("text",)
    dim = 256
    space = "byte-histogram"

    def preprocess(self, raw: Any) -> Any:
        """The text as UTF-8."""
        return np.frombuffer(raw.encode(), dtype=np.uint8)

    def encode(self, batch: Sequence[Any]) -> torch.Tensor:
        """Counts: (n, 256)."""
        # Byte b of text i is counted in cell 256 i + b.
        rows = np.repeat(np.arange(len(batch)) * 256, [len(text) for text in batch])
        counts = np.bincount(rows + np.concatenate(batch), minlength=256 * len(batch))
        return torch.from_numpy(counts.reshape(-1, 256).astype(np.float32))

    def fingerprint(self) -> dict[str, Any]:
        """UTF-8 bytes."""
        return {"preprocessing": "UTF-8"}


def texts(count: int) -> Iterator[str]:
    """Distinct short texts, synthetic ones."""
    for n in range(count):
        trade, thing = _TRADES[n % 10], _THINGS[n // 10 % 10]
        yield f"A {trade} {thing}, number {n} of a synthetic catalogue, for the {trade} room"


def write_catalogue(path: Path, count: int) -> Path:
    """A CSV of ids and texts, written row by row."""
    with path.open("w", encoding="utf-8") as handle:
        handle.write("item_id,text\n")
        for n, text in enumerate(texts(count)):
            handle.write(f'item-{n},"{text}"\n')
    return path


@dataclass(frozen=True)
class Run:
    """One extraction in a process of its own."""

    items: int
    seconds: float
    """From the start of the process to its end, the loading of libraries included."""
    cpu_seconds: float
    """Of the whole process, all cores together."""
    peak_mib: float
    """Resident memory, of the libraries too."""

    @property
    def items_per_s(self) -> float:
        """Of the whole process."""
        return self.items / self.seconds


def extract_apart(table: Path, out: Path, items: int) -> Run:
    """Run an extraction as a person does, and see what it used."""
    command = [
        *(sys.executable, "cli.py", "extract", "--modality", "text", "--device", "cpu"),
        *("--items", str(table), "--out", str(out)),
        *("--encoder", "benchmarks.catalogue:ByteHistogram"),
    ]
    started = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    said = process.stdout.read()
    # For what this one child used; `wait` would not tell.
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode or f"ok {items}, failed 0, missing 0" not in said:
        sys.exit(f"the extraction of {table} went wrong ({process.returncode}): {said}")
    # Linux counts KiB, macOS bytes.
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return Run(items, seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / unit)


def check(store: Path, count: int, draw: np.random.Generator) -> None:
    """Compare some vectors of the finished store with counts made here, one by one."""
    opened = FeatureStore.open(store)
    wanted = {}
    rows = {0, count - 1, *draw.integers(count, size=100).tolist()}
    for row, text in enumerate(texts(count)):
        if row in rows:
            wanted[row] = np.bincount(np.frombuffer(text.encode(), dtype=np.uint8), minlength=256)
    for row, counts in wanted.items():
        part, first = row // opened.manifest.rows_per_part, row % opened.manifest.rows_per_part
        if opened.part_ids(part)[first] != f"item-{row}":
            sys.exit(f"row {row} of the store is another item")
        if not np.array_equal(opened.part_vectors(part)[first], counts):
            sys.exit(f"row {row} of the store has the vector of another text")


def report(few: Run, all_items: Run, again: Run) -> tuple[list[str], list[str]]:
    """The figures in words, and the bars that are missed."""
    memory = all_items.peak_mib / few.peak_mib
    lines = [
        f"{few.items:,} items: peak {few.peak_mib:.0f} MiB, {few.seconds:.1f} s",
        f"{all_items.items:,} items: peak {all_items.peak_mib:.0f} MiB, {memory:.2f} times that;"
        f" {all_items.seconds:.1f} s ({all_items.cpu_seconds:.1f} CPU),"
        f" {all_items.items_per_s:,.0f} items/s, starting and ending included",
        f"again, when all is finished: {again.seconds:.1f} s ({again.cpu_seconds:.1f} CPU)",
    ]
    missed = []
    if memory > MOST_MEMORY:
        missed.append(f"peak memory {memory:.2f} times that of few items, above {MOST_MEMORY}")
    if all_items.items_per_s < LEAST_RATE:
        missed.append(f"{all_items.items_per_s:,.0f} items/s, below {LEAST_RATE:,}")
    if again.seconds > LONGEST_AGAIN:
        missed.append(f"{again.seconds:.1f} s again, above {LONGEST_AGAIN}")
    return lines, missed


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--few", type=int, help="default: a hundredth")
    parser.add_argument("--folder", type=Path, help="for table and store; default: a temporary one")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    parser.add_argument(
        "--bars", action=argparse.BooleanOptionalAction, default=True, help="exit 1 below them"
    )
    given = parser.parse_args()
    few_items = given.few or max(1, given.items // 100)
    with tempfile.TemporaryDirectory(prefix="catalogue-", dir=given.folder) as name:
        folder, load = Path(name), os.getloadavg()[0]
        few_table = write_catalogue(folder / "few.csv", few_items)
        few = extract_apart(few_table, folder / "few", few_items)
        table = write_catalogue(folder / "all.csv", given.items)
        everything = extract_apart(table, folder / "all", given.items)
        again = extract_apart(table, folder / "all", given.items)
        check(folder / "all", given.items, np.random.default_rng(0))
    lines, missed = report(few, everything, again)
    after = os.getloadavg()[0]
    print(*lines, f"{os.cpu_count()} cores, load {load:.1f} before, {after:.1f} after", sep="\n")
    if missed:
        print(*missed, sep="\n")
    if given.json:
        runs = {"few": few, "all": everything, "again": again}
        figures: dict[str, Any] = {name: asdict(run) for name, run in runs.items()}
        figures |= {"cores": os.cpu_count(), "load": [load, after], "missed": missed}
        given.json.write_text(json.dumps(figures, indent=2) + "\n")
    sys.exit(1 if missed and given.bars else 0)


if __name__ == "__main__":
    main()
