"""One worker of a search: asks for a trial, trains it, tells what it came to, until all are run."""

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from extract.files import read_json
from mmssl.config import TrainingConfig
from mmssl.data.dataset import Dataset
from mmssl.training.learner import TrainingDivergedError
from mmssl.training.run_folder import RunFolder
from mmssl.training.trainer import train
from mmssl.tuning.plan import TuningPlan
from mmssl.tuning.search import Asked, Search

_NO_VALUE = "pruned, or diverged"


class _PrunedError(Exception):
    """A trial that is not worth going on with."""


class _DeserterError(Exception):
    """The process that started this worker is gone."""


@dataclass(frozen=True)
class Worker:
    """What a worker needs; plain values, so that it can be sent to another process."""

    plan_file: Path
    plan: TuningPlan
    data: Path
    out: Path
    device: str
    threads: int | None
    """Of torch; None: as it is."""
    parent: int | None = None
    """The process without which the worker stops; None: its own."""

    def work(self, report: Callable[[str], None]) -> None:
        """Run trials until none is left.

        Raises:
            InputError: a trial cannot be trained, for another reason than that it diverges.
            TrainingInterrupted: a signal came.
        """
        if self.threads is not None:
            torch.set_num_threads(self.threads)
        dataset = Dataset.open(self.data)
        base = self.plan.configuration(self.plan_file, {})
        search = Search(self.out, self.plan, base, self.plan.key(base, dataset.digest))
        try:
            while (asked := search.ask()) is not None:
                value = self._run(asked, dataset)
                search.tell(asked, value)
                self._tidy(asked)
                shown = (
                    "pruned or diverged"
                    if value is None
                    else f"{base.selection_metric} {value:.4f}"
                )
                chosen = ", ".join(f"{key}={given}" for key, given in asked.values.items())
                report(f"trial {asked.number + 1} of {self.plan.trials}: {shown} ({chosen})")
        except _DeserterError:
            return

    def _run(self, asked: Asked, dataset: Dataset) -> float | None:
        """The best validation value of a trial, or None if it was pruned or diverged."""
        config = self.plan.configuration(self.plan_file, asked.values)
        folder = self._folder(asked)
        best = -1.0

        def watch(epoch: int, metrics: Mapping[str, float]) -> None:
            nonlocal best
            if self.parent is not None and os.getppid() != self.parent:
                raise _DeserterError
            best = max(best, metrics[config.selection_metric])
            asked.trial.report(best, epoch)
            if self.plan.pruning and asked.trial.should_prune():
                raise _PrunedError

        try:
            value = _finished(folder, config, dataset)
            if value is not None:
                # What later trials are pruned by.
                for epoch, metrics in folder.validation_log():
                    watch(epoch, metrics)
                return value
            result = train(
                config,
                dataset,
                folder.path,
                device=self.device,
                overwrite=not _is_of(folder, config),
                on_epoch=watch,
            )
            return result.metrics[config.selection_metric]
        except (_PrunedError, TrainingDivergedError):
            return None

    def _tidy(self, asked: Asked) -> None:
        """Remove what fills a disk, once the value, which a search is for, is kept."""
        folder = self._folder(asked)
        for large in (folder.path / "checkpoints", folder.model):
            shutil.rmtree(large, ignore_errors=True)

    def _folder(self, asked: Asked) -> RunFolder:
        return RunFolder(self.out / "trials" / f"{asked.number:04d}")


def _is_of(folder: RunFolder, config: TrainingConfig) -> bool:
    """Whether a run that stands there, if any, is one of this configuration."""
    return not folder.config.is_file() or TrainingConfig.load(folder.config) == config


def _finished(folder: RunFolder, config: TrainingConfig, dataset: Dataset) -> float | None:
    """The value of a run that was killed after its end and before it was told."""
    if not folder.metrics.is_file() or not _is_of(folder, config):
        return None
    metrics = read_json(folder.metrics)
    if metrics["dataset_digest"] != dataset.digest:
        return None
    return float(metrics["metrics"][config.selection_metric])
