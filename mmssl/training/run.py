"""A run: epochs of steps, validation after each, the best epoch kept; log and checkpoints."""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, TypeAlias

import torch

from mmssl import launch
from mmssl.baselines.popularity import popularity_score
from mmssl.config import TrainingConfig
from mmssl.data.dataset import Dataset
from mmssl.evaluation.evaluate import Evaluation, evaluate_scores
from mmssl.evaluation.ranking import Score
from mmssl.training.checkpoint import load_checkpoint, return_to_checkpoint, save_checkpoint
from mmssl.training.early_stopping import EarlyStopping
from mmssl.training.export import export_model
from mmssl.training.learner import Learner
from mmssl.training.profile import Profile
from mmssl.training.progress import Progress
from mmssl.training.result import TrainingResult, write_metrics
from mmssl.training.run_folder import RunFolder
from mmssl.training.signals import StopSignals
from mmssl.training.tracking import epoch_values

OnEpoch: TypeAlias = Callable[[int, Mapping[str, float]], None]
"""Told of an epoch, counted from 1, and its validation metrics."""


class Run:
    """One training: ``start`` or ``resume``, ``train_epoch`` until ``ended``, ``finish``."""

    def __init__(
        self,
        config: TrainingConfig,
        dataset: Dataset,
        folder: RunFolder,
        learner: Learner,
        profile: Profile,
        signals: StopSignals,
        save_minutes: float,
        report: Callable[[str], None] | None,
        on_epoch: OnEpoch | None = None,
    ) -> None:
        self.config, self.dataset, self.folder = config, dataset, folder
        self.learner, self.profile, self.signals = learner, profile, signals
        self.processes, self.on_main = learner.processes, learner.processes.on_main
        speaks = report is not None and self.processes.is_main
        self.report: Callable[[str], Any] = report if report and speaks else _say_nothing
        self.on_epoch: OnEpoch = on_epoch if on_epoch and self.processes.is_main else _pass_over
        self.model = learner.model
        self.seen = dataset.matrix("train")
        self.stopping = EarlyStopping(config.patience)
        self.progress = Progress()
        self.save_seconds = 60 * save_minutes
        self.saved_at = time.monotonic()

    def start(self) -> None:
        """The first log line: what is trained, on what."""
        cutoff = int(self.config.selection_metric.rpartition("@")[2])
        if cutoff >= len(self.dataset.item_ids):
            self.report(
                f"warning: {self.config.selection_metric} chooses the epoch, but there are only"
                f" {len(self.dataset.item_ids)} items: nearly every list holds them all; take"
                " selection_metric=ndcg@10, or more items"
            )
        if launch.asked_for_several():
            self.report(
                "warning: `accelerate launch --cpu` starts one process, however many are asked for,"
                " unless MPI starts them: take `torchrun --nproc_per_node N`"
            )
        self.on_main(
            self.folder.log,
            "start",
            users=len(self.dataset.user_ids),
            items=len(self.dataset.item_ids),
            train=len(self.dataset.train),
            val=len(self.dataset.val),
            modalities=list(self.model.modalities),
            parameters=sum(p.numel() for p in self.model.parameters()),
            device=str(self.learner.accelerator.device),
            threads=torch.get_num_threads(),
            processes=self.processes.count,
        )

    def resume(self) -> None:
        """Go on from the last checkpoint."""
        # The main process deletes what is passed over, then all read what it left.
        self.on_main(return_to_checkpoint, self.folder.last)
        tensors, facts = self.processes.agree(load_checkpoint, self.folder.last)
        self.progress = Progress(**facts["progress"])
        self.stopping = EarlyStopping(**facts["early_stopping"])
        if self.stopping.best_epoch:
            # A kill after the best epoch was saved and before its end was: the epoch is done again.
            best = self.stopping.best_epoch
            self.on_main(return_to_checkpoint, self.folder.best, epoch=best)
        self.learner.restore(tensors, facts)
        self.on_main(self.folder.cut_log, facts["log_size"])
        self._tell_saved()
        self.report(f"going on after {self.progress}")
        if self.processes.is_main:
            for epoch, metrics in self.folder.validation_log():
                self.on_epoch(epoch, metrics)

    def ended(self) -> bool:
        """Whether patience or the epochs have run out."""
        return self.stopping.should_stop or self.progress.epoch >= self.config.epochs

    def train_epoch(self) -> None:
        """Steps, graph refresh, evaluation, log line, checkpoint."""
        progress, epoch = self.progress, self.progress.epoch + 1
        self._steps(epoch)
        losses = progress.means()
        stepped = time.perf_counter()
        self._refresh(epoch)
        refreshed = time.perf_counter()
        evaluation = self._evaluate()
        value = evaluation.metrics[self.config.selection_metric]
        improved = self.stopping.update(epoch, value)
        ended = time.perf_counter()
        seconds = progress.step_seconds + ended - stepped
        self.on_main(
            self.folder.log,
            "epoch",
            epoch=epoch,
            losses=losses,
            learning_rate=self.learner.learning_rate,
            validation=evaluation.metrics,
            best_epoch=self.stopping.best_epoch,
            **self.model.epoch_facts(),
            seconds={
                "steps": round(progress.step_seconds, 3),
                "refresh": round(refreshed - stepped, 3),
                "evaluation": round(ended - refreshed, 3),
            },
        )
        self.learner.accelerator.log(
            epoch_values(losses, evaluation.metrics, self.learner.learning_rate), step=epoch
        )
        progress.end_epoch(seconds)
        self._save(improved)
        objective = sum(
            value for part, value in losses.items() if part not in self.model.critic_parts
        )
        self.report(
            f"epoch {epoch}: loss {objective:.4f},"
            f" {self.config.selection_metric} {value:.4f}"
            f" (best {self.stopping.best_value:.4f} at {self.stopping.best_epoch}),"
            f" {seconds:.1f} s"
        )
        self._share_signals()
        self.signals.check()
        self.on_epoch(epoch, evaluation.metrics)

    def _steps(self, epoch: int) -> None:
        """What is left of an epoch's steps."""
        progress, sampler = self.progress, self.learner.sampler
        if not progress.step:
            with self.profile.section("graph refresh"):
                self.model.begin_epoch(epoch)
        self.model.train()
        while progress.step < len(sampler):
            started = time.perf_counter()
            # The first step that sees the learned graph shows whether every part moves the model.
            norms: dict[str, Any] | None = None
            if not progress.step and epoch == self.model.first_whole_epoch:
                norms = {}
            with self.profile.section("drawing batches"):
                batch = sampler.draw()
            parts = self.learner.step(batch, norms)
            progress.end_step(parts, time.perf_counter() - started)
            if norms is not None:
                self.on_main(self.folder.log, "gradient_norms", epoch=epoch, **norms)
            overdue = time.monotonic() - self.saved_at >= self.save_seconds
            if self.processes.any(overdue or self.signals.received is not None):
                self._save()
                self._share_signals()
                self.signals.check()

    def _share_signals(self) -> None:
        """A signal that one process has received is every process's: they stop together."""
        self.signals.received = self.processes.largest(self.signals.received or 0) or None

    def _refresh(self, epoch: int) -> None:
        """What the model does at an epoch's end; graphs made of broken numbers are refused."""
        try:
            with self.profile.section("graph refresh"):
                self.model.end_epoch(epoch)
        except FloatingPointError as error:
            self.learner.diverged(str(error), ["optimiser.learning_rate"])

    def _evaluate(self) -> Evaluation:
        """Full ranking of the validation split, training items left out."""
        self.model.eval()
        try:
            with self.profile.section("evaluation"):
                return self._measure(self.model.score())
        except FloatingPointError as error:
            self.learner.diverged(str(error), ["optimiser.learning_rate"])

    def _measure(self, score: Score) -> Evaluation:
        return evaluate_scores(score, self.dataset.val, exclude=self.seen, processes=self.processes)

    def _save(self, improved: bool = False) -> None:
        self.on_main(self._write_checkpoints, improved)
        if not self.processes.is_main:
            self._tell_saved()

    def _write_checkpoints(self, improved: bool) -> None:
        """Save all that going on needs, and before it, at the best epoch's end, the best model."""
        with self.signals.held(), self.profile.section("checkpoint"):
            if improved:
                best = self.model.scoring_tensors()
                save_checkpoint(self.folder.best, best, {"epoch": self.progress.epoch})
            tensors, facts = self.learner.state()
            own = {
                "progress": asdict(self.progress),
                "early_stopping": asdict(self.stopping),
                "log_size": self.folder.log_size(),
            }
            save_checkpoint(self.folder.last, tensors, own | facts)
            # While signals are still held: what is saved must be told as it is.
            self._tell_saved()

    def _tell_saved(self) -> None:
        self.saved_at = time.monotonic()
        self.signals.saved = (
            f"all is saved up to {self.progress}; to go on, give the same command with --out"
            f" {self.folder.path} and without --overwrite"
        )

    def finish(self) -> TrainingResult:
        """The best epoch's model, its metrics beside popularity's, and the run's cost."""
        best_epoch = self.stopping.best_epoch
        tensors, _ = self.processes.agree(load_checkpoint, self.folder.best, epoch=best_epoch)
        self.model.load_scoring_tensors(tensors)
        evaluation = self._evaluate()
        popularity = self._measure(popularity_score(self.seen))
        self.on_main(
            export_model,
            self.model,
            self.dataset,
            self.folder.model,
            best_epoch=best_epoch,
            validation=evaluation,
            popularity=popularity,
        )
        with self.signals.held():
            self.on_main(
                write_metrics,
                self.folder.metrics,
                self.dataset,
                seed=self.config.seed,
                best_epoch=best_epoch,
                progress=self.progress,
                evaluation=evaluation,
                popularity=popularity,
            )
        return TrainingResult(
            self.folder.path,
            best_epoch,
            evaluation.metrics,
            popularity.metrics,
            selection_metric=self.config.selection_metric,
            model=self.config.model,
            val_interactions=len(self.dataset.val),
        )

    def write_profile(self) -> None:
        """Where the time went, if that was asked for."""
        if not self.processes.is_main:
            return
        reached = {"reached": str(self.progress)}
        for line in self.profile.write(self.folder.profile, **reached):
            self.report(line)


def _say_nothing(_: str) -> None:
    return None


def _pass_over(_: int, __: Mapping[str, float]) -> None:
    return None
