"""``tune``: run a search to its end, train its winner over several seeds, write what came out."""

import multiprocessing
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import yaml
from filelock import FileLock, Timeout
from optuna.trial import TrialState

from extract.errors import InputError
from extract.files import read_json, write_json, write_text
from extract.tables import write_table
from mmssl.config import TrainingConfig
from mmssl.data.dataset import Dataset
from mmssl.evaluation.significance import mean_and_deviation
from mmssl.settings import nested
from mmssl.training.trainer import train
from mmssl.tuning.plan import TuningPlan
from mmssl.tuning.plot import plot_search
from mmssl.tuning.search import Search, trial_number, values_of
from mmssl.tuning.trials import Worker


@dataclass(frozen=True)
class TuningResult:
    """What a search came to; the same stands in its result.json."""

    path: Path
    best: dict[str, Any]
    """``key.sub`` -> value of the best trial."""
    value: float
    """Its validation metric."""
    metric: str
    trials: int
    pruned: int
    seeds: dict[int, float]
    """Seed -> the winner's validation metric."""
    importances: dict[str, float]

    def lines(self) -> list[str]:
        """The result in a few lines, for people."""
        lines = [
            f"search: {self.path} ({self.trials} trials, {self.pruned} of them pruned)",
            f"best trial: {self.metric} {self.value:.4f} on validation, with",
            *(f"  {key} = {value}" for key, value in self.best.items()),
        ]
        if self.seeds:
            mean, deviation = mean_and_deviation(list(self.seeds.values()))
            spread = "" if deviation is None else f" ± {deviation:.4f}"
            seeds = ", ".join(map(str, self.seeds))
            lines.append(f"over the seeds {seeds}: {self.metric} {mean:.4f}{spread}")
        return [*lines, f"configuration: {self.path / 'best.yaml'}"]


def tune(
    plan_file: Path | str,
    data: Path | str,
    out: Path | str,
    *,
    trials: int | None = None,
    workers: int = 1,
    seeds: Sequence[int] = (),
    device: str = "auto",
    overwrite: bool = False,
    report: Callable[[str], None] = lambda _: None,
) -> TuningResult:
    """Seek the settings with the best validation metric; the test split is never read.

    A search that was stopped or killed goes on when it is called again, a trial from its last
    checkpoint, and with one worker ends as if nothing had happened; with more trials than before a
    finished one goes on too. Several workers end their trials in an order that no seed decides, and
    then later trials differ from run to run.

    Args:
        plan_file: a YAML as ``mmssl.tuning.plan.TuningPlan`` describes it.
        data: the dataset.
        out: the folder of the search: ``trials.sqlite3``, ``trials.csv``, ``best.yaml``,
            ``result.json``, ``search.png``, a folder a trial and a run a seed.
        trials: how many; by default what the plan says.
        workers: processes that run trials at once, each with its share of the cores.
        seeds: the winner is trained with each.
        device: ``auto``, ``cpu``, ``cuda:N`` or ``mps``.
        overwrite: begin anew where ``out`` holds a search.
        report: called with a line about each trial.

    Raises:
        InputError: a plan, dataset or folder that cannot be used, or no trial was worth anything.
        TrainingInterrupted: a signal came.
    """
    plan_file, out = Path(plan_file), Path(out)
    if workers < 1:
        raise InputError(f"--workers {workers}: at least one has to work")
    if len(set(seeds)) < len(seeds):
        raise InputError("a seed is named twice")
    plan = TuningPlan.load(plan_file)
    if trials is not None:
        if trials < 1:
            raise InputError(f"--trials {trials}: at least one has to be run")
        plan = plan.model_copy(update={"trials": trials})
    dataset = Dataset.open(data)
    base = plan.configuration(plan_file, {})
    _make_room(out, overwrite)
    with _held(out):
        search = Search(out, plan, base, plan.key(base, dataset.digest))
        search.give_up_broken_off()
        _work(Worker(plan_file, plan, Path(data), out, device, None), workers, report)
        return _conclude(search, plan, plan_file, dataset, out, seeds, device, report)


def _make_room(out: Path, overwrite: bool) -> None:
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: a file stands where the search's folder should be")
    there = out.is_dir() and any(out.iterdir())
    if there and not (out / "trials.sqlite3").is_file():
        leftover = {path.name for path in out.iterdir()} <= {".lock", ".asking"}
        if not leftover:
            raise InputError(f"{out}: not empty and no search; choose another --out")
    if there and overwrite:
        with _held(out):
            for name in ("result.json", "best.yaml", "trials.csv", "search.png"):
                (out / name).unlink(missing_ok=True)
            for folder in ("trials", "seeds"):
                shutil.rmtree(out / folder, ignore_errors=True)
            # Last: as long as it is there, what stands here is a search.
            (out / "trials.sqlite3").unlink(missing_ok=True)


class _held:  # noqa: N801 - used as a context
    """Keeps every other ``tune`` out of a folder."""

    def __init__(self, out: Path) -> None:
        self._out, self._lock = out, FileLock(out / ".lock", blocking=False)

    def __enter__(self) -> None:
        try:
            self._out.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
        except Timeout:
            raise InputError(
                f"{self._out}: another search is at work there; wait, or choose another --out"
            ) from None
        except OSError as error:
            raise InputError(f"{self._out}: cannot be written ({error.strerror})") from None

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def _work(worker: Worker, count: int, report: Callable[[str], None]) -> None:
    """Run the trials, here or in processes of their own."""
    if count == 1:
        worker.work(report)
        return
    context = multiprocessing.get_context("spawn")
    threads = max(1, (os.cpu_count() or 1) // count)
    shared = Worker(**{**vars(worker), "threads": threads, "parent": os.getpid()})
    failures = context.SimpleQueue()
    processes = [
        context.Process(target=_work_apart, args=(shared, failures), name=f"worker-{n}")
        for n in range(count)
    ]
    try:
        for process in processes:
            process.start()
        for process in processes:
            process.join()
    finally:
        for process in processes:
            if process.is_alive():
                process.terminate()
                process.join()
    if not failures.empty():
        raise InputError(failures.get())
    broken = [process for process in processes if process.exitcode]
    if broken:
        raise InputError(
            f"{broken[0].name} of the search ended with {broken[0].exitcode}; what was finished is"
            " kept: run the same command again"
        )


def _work_apart(worker: Worker, failures: Any) -> None:
    try:
        worker.work(lambda line: print(line, flush=True))
    except InputError as error:
        failures.put(str(error))


def _conclude(
    search: Search,
    plan: TuningPlan,
    plan_file: Path,
    dataset: Dataset,
    out: Path,
    seeds: Sequence[int],
    device: str,
    report: Callable[[str], None],
) -> TuningResult:
    ended, best = search.ended(), search.best()
    if best is None or best.value is None:
        raise InputError(
            f"{out}: none of the {len(ended)} trials came to a result, all diverged or were pruned;"
            " look at the space (a learning rate too high?)"
        )
    values = values_of(best, plan)
    config = plan.configuration(plan_file, values)
    rows = [
        {
            "trial": trial_number(trial) + 1,
            "state": trial.state.name.lower(),
            "value": trial.value,
            "epochs": len(trial.intermediate_values),
            **{key: str(value) for key, value in values_of(trial, plan).items()},
        }
        for trial in ended
    ]
    write_table(pl.DataFrame(rows, schema_overrides={"value": pl.Float64}), out / "trials.csv")
    chosen = config.model_dump(mode="json")
    write_text(
        out / "best.yaml",
        f"# The best of {len(ended)} trials of {plan_file.name}: {config.selection_metric}"
        f" {best.value:.4f} on validation.\n{yaml.safe_dump(chosen, sort_keys=False)}",
    )
    importances = search.importances()
    plot_search(ended, importances, config.selection_metric, out / "search.png")
    found = {}
    for seed in seeds:
        found[seed] = _with_seed(config, seed, dataset, out, device, report)
    result = TuningResult(
        path=out,
        best=values,
        value=best.value,
        metric=config.selection_metric,
        trials=len(ended),
        pruned=sum(trial.state == TrialState.PRUNED for trial in ended),
        seeds=found,
        importances=importances,
    )
    write_json(
        out / "result.json",
        {
            "plan": plan.model_dump(mode="json"),
            "dataset_digest": dataset.digest,
            "metric": result.metric,
            "split": "val",
            "best_trial": trial_number(best) + 1,
            "best": nested(values),
            "value": result.value,
            "trials": result.trials,
            "pruned": result.pruned,
            "seeds": {str(seed): value for seed, value in found.items()},
            "importances": importances,
        },
    )
    return result


def _with_seed(
    config: TrainingConfig,
    seed: int,
    dataset: Dataset,
    out: Path,
    device: str,
    report: Callable[[str], None],
) -> float:
    """The validation metric of the winner with a seed; a finished run is not made again."""
    own = config.model_copy(update={"seed": seed})
    folder = out / "seeds" / str(seed)
    if (folder / "metrics.json").is_file() and TrainingConfig.load(folder / "config.yaml") == own:
        metrics = read_json(folder / "metrics.json")["metrics"]
    else:
        there = (folder / "config.yaml").is_file()
        other = there and TrainingConfig.load(folder / "config.yaml") != own
        metrics = train(own, dataset, folder, device=device, overwrite=other).metrics
    value = float(metrics[config.selection_metric])
    report(f"seed {seed}: {config.selection_metric} {value:.4f}")
    return value
