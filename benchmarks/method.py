"""What each part of the method does to validation Recall@20: a study, one committed row a training.

    python benchmarks/method.py run --data data/tiktok --stage tune-lightgcn --workers 2
    python benchmarks/method.py table --stage final

The study is benchmarks/method.yaml: stages of named runs and of seeded random searches. Every
finished training appends a row to docs/results/method.csv; what has a row there (the same
configuration on the same dataset) is not run again, and an interrupted training goes on from its
last epoch. Only the validation split is read.
"""

import argparse
import csv
import hashlib
import itertools
import json
import multiprocessing
import os
import random
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Python looks for modules beside this file first, where `extract` would be a benchmark.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch
import yaml
from scipy import stats

from mmssl import Dataset, TrainingConfig, train

HERE = Path(__file__).resolve().parent
METRIC = "recall@20"
COLUMNS = (
    *("stage", "name", "seed", METRIC, "ndcg@20", "best_epoch", "epochs", "seconds"),
    *("settings", "curve", "key", "commit"),
)


@dataclass(frozen=True)
class Run:
    """One training of the study."""

    stage: str
    name: str
    config: str
    """A file, from the root of the project."""
    settings: tuple[str, ...]
    seed: int

    def resolved(self) -> "TrainingConfig":
        """The whole configuration."""
        return TrainingConfig.load(HERE.parent / self.config, [*self.settings, f"seed={self.seed}"])

    def key(self, dataset_digest: str) -> str:
        """What the row is known by: what differs from the defaults, and the dataset.

        A setting added later, whose default is what was done before, leaves old keys as they are.
        """
        values = self.resolved().model_dump(mode="json", exclude_defaults=True)
        values.pop("name", None)
        text = json.dumps(values, sort_keys=True) + dataset_digest
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def runs_of(study: dict[str, Any], stage: str) -> Iterator[Run]:
    """The trainings of a stage: its named runs, or the trials of its seeded random search."""
    described = study[stage]
    common = tuple(described.get("settings", ()))
    for seed in described["seeds"]:
        for name, run in described.get("runs", {}).items():
            config, *settings = run if isinstance(run, list) else [run]
            yield Run(stage, name, config, (*common, *settings), seed)
        for name, search in described.get("searches", {}).items():
            for number, settings in enumerate(trials(search), start=1):
                chosen = (*common, *search.get("settings", ()), *settings)
                yield Run(stage, f"{name}/{number}", search["config"], chosen, seed)


def trials(search: dict[str, Any]) -> list[tuple[str, ...]]:
    """Distinct random points of a space of values, from the search's own seed."""
    space = search["space"]
    points = list(itertools.islice(itertools.product(*space.values()), 2_000_000))
    drawn = random.Random(search["seed"]).sample(points, search["trials"])
    return [
        tuple(f"{key}={value}" for key, value in zip(space, point, strict=True)) for point in drawn
    ]


def train_one(run: Run, data: Path, work: Path, commit: str, threads: int) -> dict[str, Any]:
    """Train, and the row of it."""
    torch.set_num_threads(threads)
    dataset = Dataset.open(data)
    key = run.key(dataset.digest)
    out = work / key
    if not (out / "metrics.json").is_file():
        train(run.resolved(), dataset, out, device="cpu")
    metrics = json.loads((out / "metrics.json").read_text())
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    curve = [line["validation"][METRIC] for line in lines if line["event"] == "epoch"]
    shutil.rmtree(out)
    return {
        "stage": run.stage,
        "name": run.name,
        "seed": run.seed,
        METRIC: round(metrics["metrics"][METRIC], 6),
        "ndcg@20": round(metrics["metrics"]["ndcg@20"], 6),
        "best_epoch": metrics["best_epoch"],
        "epochs": metrics["epochs"],
        "seconds": metrics["seconds"],
        "settings": " ".join([run.config, *run.settings]),
        "curve": " ".join(f"{value:.4f}" for value in curve),
        "key": key,
        "commit": commit,
    }


def end_with_the_study() -> None:
    """To be called in a worker: it ends when the study does, however that ends."""
    study = multiprocessing.parent_process()
    assert study is not None

    def wait() -> None:
        study.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def read_rows(path: Path) -> list[dict[str, str]]:
    """All rows there are."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def append_row(path: Path, row: Mapping[str, Any]) -> None:
    """One row more, on disk before the next training begins."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = not path.is_file()
    with path.open("a", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, COLUMNS)
        if fresh:
            writer.writeheader()
        writer.writerow(row)
        handle.flush()
        os.fsync(handle.fileno())


def run_stages(study: dict[str, Any], arguments: argparse.Namespace) -> None:
    """Train what has no row yet."""
    digest = Dataset.open(arguments.data).digest
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=HERE, capture_output=True, text=True
    ).stdout.strip()
    rows = read_rows(arguments.rows)
    done = {row["key"]: row for row in rows}
    named = {(row["key"], row["stage"], row["name"]) for row in rows}
    pending: dict[str, Run] = {}
    for run in itertools.chain.from_iterable(runs_of(study, s) for s in arguments.stage):
        key = run.key(digest)
        if key not in done:
            pending.setdefault(key, run)
        elif (key, run.stage, run.name) not in named:
            # The same training under another name: its figures stand again, with its commit.
            append_row(arguments.rows, {**done[key], "stage": run.stage, "name": run.name})
    print(f"{len(pending)} trainings to do", flush=True)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        arguments.workers, mp_context=context, initializer=end_with_the_study
    ) as pool:
        jobs = {
            pool.submit(
                *(train_one, run, arguments.data, arguments.work, commit, arguments.threads)
            ): run
            for run in pending.values()
        }
        for job in as_completed(jobs):
            run = jobs[job]
            try:
                row = job.result()
            except Exception as error:  # A diverged trial must not end the study.
                print(f"{run.stage} {run.name} seed {run.seed}: {error}", file=sys.stderr)
                continue
            append_row(arguments.rows, row)
            print(f"{row['stage']} {row['name']} seed {row['seed']}: {row[METRIC]}", flush=True)


def table(rows: Sequence[Mapping[str, str]], reference: str | None, seeds: int) -> str:
    """Markdown: mean and deviation over seeds, and the paired difference to the reference.

    ``seeds`` is how many the stage has: where a run has fewer rows yet, the table says so.
    """
    by_name: dict[str, dict[int, float]] = {}
    for row in rows:
        by_name.setdefault(row["name"], {})[int(row["seed"])] = float(row[METRIC])
    first = reference or next(iter(by_name))
    lines = [
        f"| run | seeds | validation {METRIC}, mean ± deviation over seeds |"
        f" difference to {first}, paired by seed (95 % interval) |",
        "|---|---|---|---|",
    ]
    for name, values in by_name.items():
        figures = np.array(list(values.values()))
        spread = f" ± {figures.std(ddof=1):.4f}" if len(figures) > 1 else ""
        lines.append(
            f"| {name} | {len(figures)} of {seeds} | {figures.mean():.4f}{spread} |"
            f" {_difference(values, by_name[first]) if name != first else ''} |"
        )
    return "\n".join(lines)


def _difference(ours: dict[int, float], theirs: dict[int, float]) -> str:
    shared = sorted(ours.keys() & theirs.keys())
    gaps = np.array([ours[seed] - theirs[seed] for seed in shared])
    if len(gaps) < 2:
        return f"{gaps.mean():+.4f}" if len(gaps) else ""
    half = stats.t.ppf(0.975, len(gaps) - 1) * stats.sem(gaps)
    return f"{gaps.mean():+.4f} ({gaps.mean() - half:+.4f} to {gaps.mean() + half:+.4f})"


def main() -> None:
    """Run stages of the study, or print the table of one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=["run", "table"])
    parser.add_argument("--stage", action="append", required=True, help="repeatable, in order")
    parser.add_argument("--data", type=Path, default=Path("data/tiktok"))
    parser.add_argument("--work", type=Path, default=Path("runs/method"), help="unfinished runs")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1, help="of each worker")
    parser.add_argument("--study", type=Path, default=HERE / "method.yaml")
    parser.add_argument("--rows", type=Path, default=HERE.parent / "docs/results/method.csv")
    parser.add_argument("--reference", help="the run that others are compared with")
    arguments = parser.parse_args()
    study = yaml.safe_load(arguments.study.read_text(encoding="utf-8"))
    unknown = [stage for stage in arguments.stage if stage not in study]
    if unknown:
        parser.error(f"no stage {unknown[0]}; there are: {', '.join(study)}")
    if arguments.action == "run":
        run_stages(study, arguments)
    else:
        for stage in arguments.stage:
            rows = [row for row in read_rows(arguments.rows) if row["stage"] == stage]
            print(table(rows, arguments.reference, len(study[stage]["seeds"])), end="\n\n")


if __name__ == "__main__":
    main()
