"""What a training costs at a size: a power-law data set, some steps, shares of the rest."""

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

# Python looks for modules beside this file first, where `extract` would be a benchmark.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray

from mmssl.config import TrainingConfig
from mmssl.data.dataset import Interactions, ModalityFeatures
from mmssl.evaluation.evaluate import evaluate_scores
from mmssl.settings import shipped
from mmssl.training.accelerator import make_accelerator
from mmssl.training.learner import Learner

# Weights of ranks 1, 2, ... are rank^-exponent: a few very popular items, active users less so.
_USER_EXPONENT, _ITEM_EXPONENT = 0.6, 0.8


@dataclass(frozen=True)
class Size:
    """A data set's size."""

    users: int
    items: int
    interactions: int
    modalities: int = 2
    dim: int = 128

    def divided(self, by: int) -> "Size":
        """As many times fewer users, items and interactions."""
        smaller = (self.users // by, self.items // by, self.interactions // by)
        return Size(*smaller, self.modalities, self.dim)


@dataclass(frozen=True)
class Cost:
    """What one size cost, in seconds and GiB; extrapolated figures are named so."""

    size: Size
    edges_per_user: int
    steps: int
    seconds_per_step: float
    """Median, by the wall clock."""
    cpu_seconds_per_step: float
    """Median, of all threads together: what other programs on the machine change less."""
    seconds_per_refresh_extrapolated: float
    seconds_per_evaluation_extrapolated: float
    """Of a ranking for every user."""
    steps_per_epoch: int
    seconds_per_epoch_extrapolated: float
    peak_gib: float
    """Of the whole process, from the drawing of the data to the evaluation."""


def power_law(
    size: Size, draw: np.random.Generator
) -> tuple[sp.csr_array, dict[str, ModalityFeatures]]:
    """Distinct pairs of a Zipf-like user and a Zipf-like item, independently; normal features.

    Ranks are dealt to rows at random. Memory: a few arrays of the interactions' length.
    """
    pick_user = _zipf(size.users, _USER_EXPONENT, draw)
    pick_item = _zipf(size.items, _ITEM_EXPONENT, draw)
    keys = np.empty(0, dtype=np.int64)
    while len(keys) < size.interactions:
        # A few more than are missing, since some fall on pairs that are there already.
        count = int(1.1 * (size.interactions - len(keys))) + 100
        drawn = pick_user(count) * size.items + pick_item(count)
        keys = np.unique(np.concatenate([keys, drawn]))
    if len(keys) > size.interactions:
        kept = np.ones(len(keys), dtype=bool)
        kept[draw.permutation(len(keys))[size.interactions :]] = False
        keys = keys[kept]
    users, items = np.divmod(keys, size.items)
    starts = np.concatenate([[0], np.cumsum(np.bincount(users, minlength=size.users))])
    values = np.ones(len(keys), dtype=np.float32)
    observed = sp.csr_array((values, items, starts), shape=(size.users, size.items))
    features = {
        f"modality-{m}": ModalityFeatures(
            draw.standard_normal((size.items, size.dim), dtype=np.float32),
            np.ones(size.items, dtype=bool),
            None,
            "",
        )
        for m in range(size.modalities)
    }
    return observed, features


def _zipf(n: int, exponent: float, draw: np.random.Generator) -> Callable[[int], NDArray[np.int64]]:
    """Draws rows 0..n-1 with weights rank^-exponent, ranks dealt out at random."""
    cumulative = np.cumsum(np.arange(1, n + 1, dtype=np.float64) ** -exponent)
    row_of_rank = draw.permutation(n)

    def pick(count: int) -> NDArray[np.int64]:
        ranks = np.searchsorted(cumulative, draw.random(count) * cumulative[-1], side="right")
        return row_of_rank[np.minimum(ranks, n - 1)]

    return pick


def stand_in_relations(size: Size, k: int, draw: np.random.Generator) -> sp.csr_array:
    """As many edges as a learned graph has, to Zipf-like items: k a user (less some doubles)."""
    pick_item = _zipf(size.items, _ITEM_EXPONENT, draw)
    users = np.repeat(np.arange(size.users), k)
    values = np.ones(len(users), dtype=np.float32)
    edges = sp.csr_array((values, (users, pick_item(len(users)))), shape=(size.users, size.items))
    edges.sum_duplicates()
    edges.data[:] = 1
    return edges


def measure(
    size: Size, config: TrainingConfig, steps: int, share: float, report: Callable[[str], None]
) -> Cost:
    """Train some steps at a size, then refresh and evaluate for a share of the users.

    The steps run on relation graphs of a learned graph's size, since they come before the refresh.
    """
    draw = np.random.default_rng(config.seed)
    observed, features = power_law(size, draw)
    report(f"drawn: {size.users:,} users x {size.items:,} items, {observed.nnz:,} interactions")
    learner = Learner(config, observed, features, make_accelerator("cpu", config.precision))
    model = learner.model
    k = model.relations.k
    loading = _Clock()
    model.relations.load({m: stand_in_relations(size, k, draw) for m in features})
    loaded = loading.seconds()

    model.train()
    seconds, cpu_seconds = [], []
    for _ in range(steps):
        clock = _Clock()
        learner.step(learner.sampler.draw())
        seconds.append(clock.seconds())
        cpu_seconds.append(clock.cpu_seconds())
    report(f"{steps} steps: {', '.join(f'{s:.2f}' for s in seconds)} s")

    model.eval()
    with_history = np.flatnonzero(np.diff(observed.indptr))
    some = np.sort(
        draw.choice(with_history, max(1, round(share * len(with_history))), replace=False)
    )
    factor = len(with_history) / len(some)
    # What a refresh does for nobody is what it does once, however many users there are.
    clock = _Clock()
    model.relations.learned(model.features(), some[:0])
    once = clock.seconds()
    clock = _Clock()
    model.relations.learned(model.features(), some)
    refresh = once + factor * max(clock.seconds() - once, 0.0) + loaded
    report(f"refresh: {len(some):,} users ranked")

    clock = _Clock()
    model.embeddings()
    propagation = clock.seconds()
    relevant = Interactions(some, draw.integers(size.items, size=len(some)))
    clock = _Clock()
    evaluate_scores(model.score(), relevant, observed)
    evaluation = propagation + factor * clock.seconds()
    report(f"evaluation: {len(some):,} users ranked")

    step = float(np.median(seconds))
    epoch = len(learner.sampler) * step + refresh + evaluation
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return Cost(
        size=size,
        edges_per_user=k,
        steps=steps,
        seconds_per_step=step,
        cpu_seconds_per_step=float(np.median(cpu_seconds)),
        seconds_per_refresh_extrapolated=refresh,
        seconds_per_evaluation_extrapolated=evaluation,
        steps_per_epoch=len(learner.sampler),
        seconds_per_epoch_extrapolated=epoch,
        peak_gib=peak / _PER_GIB,
    )


# Linux counts KiB, macOS bytes.
_PER_GIB = 2**30 if sys.platform == "darwin" else 2**20


class _Clock:
    def __init__(self) -> None:
        self._started, self._cpu_started = time.perf_counter(), time.process_time()

    def seconds(self) -> float:
        return time.perf_counter() - self._started

    def cpu_seconds(self) -> float:
        return time.process_time() - self._cpu_started


def exponent(x: Sequence[float], y: Sequence[float]) -> float:
    """e of y ~ x^e: the slope of a least-squares line through the logarithms."""
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def measure_sizes(
    largest: Size,
    count: int,
    *,
    config: Path | None,
    settings: Sequence[str],
    steps: int,
    share: float,
    json_file: Path | None,
) -> None:
    """Print the cost of ``count`` sizes, each twice the one before, and the fitted exponents.

    Every size runs in a process of its own, so that its peak of memory is its own.
    """
    path = config or shipped("tiktok_sampled.yaml")
    TrainingConfig.load(path, settings)  # what is wrong with it is said before anything runs
    costs = []
    for power in reversed(range(count)):
        size = largest.divided(2**power)
        job = {
            "size": asdict(size),
            "config": str(path),
            "settings": list(settings),
            "steps": steps,
            "share": share,
        }
        # This file is run as a program by its path: benchmarks are no package.
        done = subprocess.run(
            [sys.executable, __file__, json.dumps(job)], check=True, stdout=subprocess.PIPE
        )
        values = json.loads(done.stdout)
        costs.append(Cost(**values | {"size": Size(**values["size"])}))
        print("\n".join(lines(costs[-1], share)), flush=True)
    summary: dict[str, object] = {
        "threads": torch.get_num_threads(),
        "settings": list(settings),
        "config": path.name,
        "share": share,
        "costs": [asdict(cost) for cost in costs],
    }
    if count > 1:
        interactions = [cost.size.interactions for cost in costs]
        summary["exponents"] = exponents = {
            name: exponent(interactions, [getattr(cost, name) for cost in costs])
            for name in ("peak_gib", "seconds_per_step", "cpu_seconds_per_step")
        }
        print(
            f"over {count} sizes, in interactions: peak memory ~ n^{exponents['peak_gib']:.2f},"
            f" s/step ~ n^{exponents['seconds_per_step']:.2f}"
            f" (CPU s/step ~ n^{exponents['cpu_seconds_per_step']:.2f})"
        )
    if json_file:
        json_file.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")


def lines(cost: Cost, share: float) -> list[str]:
    """A cost as lines of text for people."""
    size = cost.size
    return [
        f"{size.users:,} users x {size.items:,} items, {size.interactions:,} interactions,"
        f" {size.modalities} modalities of {size.dim}, relation graphs of {cost.edges_per_user}"
        " edges a user",
        f"  {cost.seconds_per_step:.3f} s/step, {cost.cpu_seconds_per_step:.3f} CPU s/step (medians"
        f" of {cost.steps})",
        f"  {cost.seconds_per_refresh_extrapolated:.1f} s/refresh and"
        f" {cost.seconds_per_evaluation_extrapolated:.1f} s/evaluation of all users (extrapolated"
        f" from {share:.1%} of them)",
        f"  {cost.seconds_per_epoch_extrapolated / 3600:.2f} h/epoch of {cost.steps_per_epoch:,}"
        " steps, a refresh and an evaluation (extrapolated)",
        f"  {cost.peak_gib:.2f} GiB peak memory",
    ]


def main() -> None:
    """Measure the one size that the argument describes, as JSON; what it prints is a Cost."""
    job = json.loads(sys.argv[1])
    config = TrainingConfig.load(Path(job["config"]), job["settings"])
    cost = measure(
        Size(**job["size"]),
        config,
        job["steps"],
        job["share"],
        lambda line: print(f"  {line}", file=sys.stderr, flush=True),
    )
    print(json.dumps(asdict(cost)))


if __name__ == "__main__":
    main()
