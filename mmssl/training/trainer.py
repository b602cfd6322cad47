"""Training: epochs of steps, validation after each, the best epoch kept."""

import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from extract.errors import InputError
from extract.files import write_json
from mmssl.baselines.popularity import Popularity
from mmssl.config import TrainingConfig
from mmssl.data.dataset import Dataset, ModalityFeatures
from mmssl.evaluation.evaluate import Evaluation, evaluate_scores
from mmssl.training.checkpoint import load_checkpoint, save_checkpoint
from mmssl.training.early_stopping import EarlyStopping
from mmssl.training.export import export_model
from mmssl.training.learner import CRITIC_PARTS, Learner, TrainingDivergedError, make_accelerator
from mmssl.training.run_folder import RunFolder


@dataclass(frozen=True)
class TrainingResult:
    """What a finished run came to; the same values stand in its metrics.json."""

    path: Path
    best_epoch: int
    metrics: dict[str, float]
    """Validation metrics of the best epoch."""
    popularity: dict[str, float]
    """Validation metrics of popularity."""

    def lines(self) -> list[str]:
        """The result in a few lines, for people."""
        figures = [
            f"{name}: {value:.4f} (popularity {self.popularity[name]:.4f})"
            for name, value in self.metrics.items()
            if name in ("recall@20", "ndcg@20")
        ]
        return [f"run: {self.path}", f"best epoch: {self.best_epoch}", "validation:", *figures]


def train(
    config: TrainingConfig,
    data: Path | str | Dataset,
    out: Path | str,
    *,
    device: str = "auto",
    overwrite: bool = False,
    report: Callable[[str], None] | None = None,
) -> TrainingResult:
    """Train, choose the epoch on validation, and write the run folder.

    An unfinished run of the same configuration and dataset at ``out`` goes on from its last
    checkpoint. The test split is never read.

    Args:
        config: the whole run.
        data: a dataset, or the folder of one.
        out: the run folder.
        device: ``auto``, ``cpu``, ``cuda:N`` or ``mps``.
        overwrite: start anew where ``out`` holds a run.
        report: called with one line of progress an epoch.

    Raises:
        InputError: a dataset or folder that can't be used; TrainingDivergedError with what to
            lower when the objective is no longer finite.
    """
    dataset = data if isinstance(data, Dataset) else Dataset.open(data)
    if not len(dataset.val):
        raise InputError(
            f"{dataset.path}: no validation interactions, so no epoch can be chosen;"
            " prepare the dataset with a validation split"
        )
    features = _select(dataset, config.features.modalities)
    accelerator = make_accelerator(device, config.precision)
    folder = RunFolder(Path(out))
    found = folder.check(config, dataset.digest, overwrite)
    learner = Learner(config, dataset.matrix("train"), features, accelerator)
    run = _Run(config, dataset, folder, learner, report or (lambda _: None))
    if found == "resume":
        run.resume()
    else:
        # Everything that can be refused has been: from here on an older run may be deleted.
        folder.begin(config, dataset.digest)
        run.start()
    try:
        while not run.stopping.should_stop and run.epoch < config.optimiser.epochs:
            run.train_epoch()
    except TrainingDivergedError as error:
        raise TrainingDivergedError(f"{out}: epoch {run.epoch}: {error}") from None
    return run.finish()


class _Run:
    """One run: its epochs, its log, its checkpoints."""

    def __init__(
        self,
        config: TrainingConfig,
        dataset: Dataset,
        folder: RunFolder,
        learner: Learner,
        report: Callable[[str], None],
    ) -> None:
        self.config, self.dataset, self.folder = config, dataset, folder
        self.learner, self.report = learner, report
        self.model = learner.model
        self.seen = dataset.matrix("train")
        self.stopping = EarlyStopping(config.optimiser.patience)
        self.epoch = 0
        self.seconds = 0.0

    def start(self) -> None:
        """The first log line: what is trained, on what."""
        cutoff = int(self.config.selection_metric.rpartition("@")[2])
        if cutoff >= len(self.dataset.item_ids):
            self.report(
                f"warning: {self.config.selection_metric} chooses the epoch, but there are only"
                f" {len(self.dataset.item_ids)} items: nearly every list holds them all; take"
                " selection_metric=ndcg@10, or more items"
            )
        self.folder.log(
            "start",
            users=len(self.dataset.user_ids),
            items=len(self.dataset.item_ids),
            train=len(self.dataset.train),
            val=len(self.dataset.val),
            modalities=list(self.model.modalities),
            parameters=sum(p.numel() for p in self.model.parameters()),
            device=str(self.learner.accelerator.device),
            threads=torch.get_num_threads(),
        )

    def train_epoch(self) -> None:
        """Steps, graph refresh, evaluation, log line, checkpoint."""
        self.epoch += 1
        started = time.perf_counter()
        if self.epoch == 1 and self.config.relations.warm_up == 0:
            self.model.refresh_relations()
        losses = self._steps()
        stepped = time.perf_counter()
        if self._refresh_is_due():
            self.model.refresh_relations()
        refreshed = time.perf_counter()
        evaluation = self._evaluate()
        value = evaluation.metrics[self.config.selection_metric]
        improved = self.stopping.update(self.epoch, value)
        ended = time.perf_counter()
        self.seconds += ended - started
        self.folder.log(
            "epoch",
            epoch=self.epoch,
            losses=losses,
            validation=evaluation.metrics,
            best_epoch=self.stopping.best_epoch,
            relation_edges={m: g.nnz for m, g in self.model.relation_edges.items()},
            seconds={
                "steps": round(stepped - started, 3),
                "refresh": round(refreshed - stepped, 3),
                "evaluation": round(ended - refreshed, 3),
            },
        )
        if improved:
            best = self.learner.model_tensors()
            save_checkpoint(self.folder.best, best, {"epoch": self.epoch})
        self._save()
        objective = sum(value for part, value in losses.items() if part not in CRITIC_PARTS)
        self.report(
            f"epoch {self.epoch}: loss {objective:.4f},"
            f" {self.config.selection_metric} {value:.4f}"
            f" (best {self.stopping.best_value:.4f} at {self.stopping.best_epoch}),"
            f" {ended - started:.1f} s"
        )

    def _steps(self) -> dict[str, float]:
        """An epoch's steps; the mean of every part of the objective."""
        self.model.begin_epoch()
        self.model.train()
        sampler = self.learner.sampler
        sums: dict[str, float] = {}
        for step in range(len(sampler)):
            # The first step that sees the learned graph shows whether every part moves the model.
            norms: dict[str, Any] | None = None
            if step == 0 and self.epoch == self.config.relations.warm_up + 1:
                norms = {}
            for name, value in self.learner.step(sampler.draw(), norms).items():
                sums[name] = sums.get(name, 0.0) + value
            if norms is not None:
                self.folder.log("gradient_norms", epoch=self.epoch, **norms)
        return {name: value / len(sampler) for name, value in sums.items()}

    def _refresh_is_due(self) -> bool:
        after = self.epoch - self.config.relations.warm_up
        return after >= 0 and after % self.config.relations.refresh == 0

    def _evaluate(self) -> Evaluation:
        """Full ranking of the validation split, training items left out."""
        self.model.eval()
        try:
            return evaluate_scores(self.model.score, self.dataset.val, exclude=self.seen)
        except FloatingPointError as error:
            self.learner.diverged(str(error), ["optimiser.learning_rate"])

    def _save(self) -> None:
        tensors, facts = self.learner.state()
        own = {
            "epoch": self.epoch,
            "seconds": self.seconds,
            "early_stopping": asdict(self.stopping),
            "log_size": self.folder.log_size(),
        }
        save_checkpoint(self.folder.last, tensors, own | facts)

    def resume(self) -> None:
        """Go on from the last checkpoint."""
        tensors, facts = load_checkpoint(self.folder.last)
        self.learner.restore(tensors, facts)
        self.epoch, self.seconds = facts["epoch"], facts["seconds"]
        self.stopping = EarlyStopping(**facts["early_stopping"])
        self.folder.cut_log(facts["log_size"])
        self.report(f"going on after epoch {self.epoch}")

    def finish(self) -> TrainingResult:
        """The best epoch's model, its metrics beside popularity's, and the run's cost."""
        tensors, facts = load_checkpoint(self.folder.best)
        self.learner.load_model(tensors)
        evaluation = self._evaluate()
        popularity = evaluate_scores(
            Popularity(self.seen).score, self.dataset.val, exclude=self.seen
        )
        best_epoch = facts["epoch"]
        export_model(
            self.model,
            self.dataset,
            self.folder.model,
            best_epoch=best_epoch,
            validation=evaluation,
            popularity=popularity,
        )
        write_json(
            self.folder.metrics,
            {
                "data": str(self.dataset.path.resolve()),
                "dataset_digest": self.dataset.digest,
                "split": "val",
                "seed": self.config.seed,
                "best_epoch": best_epoch,
                "epochs": self.epoch,
                "metrics": evaluation.metrics,
                "popularity": popularity.metrics,
                "users": len(evaluation.users),
                "seconds": round(self.seconds, 1),
                "seconds_per_epoch": round(self.seconds / max(self.epoch, 1), 3),
                "peak_memory_mib": _peak_memory_mib(),
            },
        )
        return TrainingResult(self.folder.path, best_epoch, evaluation.metrics, popularity.metrics)


def _select(dataset: Dataset, wanted: tuple[str, ...] | None) -> dict[str, ModalityFeatures]:
    if not dataset.features:
        raise InputError(f"{dataset.path}: no features; prepare it with --features MODALITY=PATH")
    for modality in wanted or ():
        if modality not in dataset.features:
            raise InputError(
                f"features.modalities: the dataset has no '{modality}'"
                f" (it has: {', '.join(dataset.features)})"
            )
    return {m: dataset.features[m] for m in wanted or dataset.features}


def _peak_memory_mib() -> float | None:
    """Peak resident memory of this process; None where the system does not tell."""
    if sys.platform == "win32":
        return None
    import resource

    # Linux counts KiB, macOS bytes.
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit, 1)
