"""Training: epochs of steps, validation after each, the best epoch kept."""

import math
import resource
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import patch_environment
from torch import Tensor

from extract.device import resolve_device
from extract.errors import InputError
from extract.files import write_json
from mmssl.baselines.popularity import Popularity
from mmssl.config import TrainingConfig
from mmssl.data.dataset import Dataset, ModalityFeatures
from mmssl.data.graphs import csr_arrays, csr_tensors
from mmssl.data.sampling import Batch, BatchSampler
from mmssl.evaluation.evaluate import Evaluation, evaluate_scores
from mmssl.model.mmssl import MMSSL
from mmssl.training import checkpoint
from mmssl.training.diagnostics import parameter_gradient_norms, part_gradient_norms
from mmssl.training.early_stopping import EarlyStopping
from mmssl.training.export import export_model
from mmssl.training.run_folder import RunFolder

# What to lower when a part of the objective is no longer a finite number, though the weights are.
_WHAT_TO_LOWER = {
    "bpr": "optimiser.learning_rate",
    "embedding_l2": "optimiser.learning_rate",
    "feature_l2": "optimiser.learning_rate",
    "contrast": "contrast.weight (or raise contrast.temperature)",
    "generator": "adversarial.weight",
    "wasserstein": "adversarial.critic_learning_rate",
    "gradient_penalty": "adversarial.gradient_penalty or adversarial.critic_learning_rate",
}


class TrainingDivergedError(InputError):
    """A part of the objective became NaN or infinite; the message says what to lower."""


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
    data: Path | Dataset,
    out: Path,
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
        raise InputError(f"{dataset.path}: no validation interactions, so no epoch can be chosen")
    folder = RunFolder(out)
    run = _Run(config, dataset, folder, _accelerator(device, config.precision), report)
    if folder.open(config, dataset.digest, overwrite) == "resume":
        run.resume()
    else:
        run.start()
    while not run.stopping.should_stop and run.epoch < config.optimiser.epochs:
        run.train_epoch()
    return run.finish()


class _Run:
    """The state of one training run."""

    def __init__(
        self,
        config: TrainingConfig,
        dataset: Dataset,
        folder: RunFolder,
        accelerator: Accelerator,
        report: Callable[[str], None] | None,
    ) -> None:
        self.config, self.dataset, self.folder = config, dataset, folder
        self.accelerator, self.report = accelerator, report
        torch.manual_seed(config.seed)
        self.draws = torch.Generator().manual_seed(config.seed)
        self.seen = dataset.matrix("train")
        self.model = MMSSL(
            config,
            self.seen,
            _select(dataset, config.features.modalities),
            self.draws,
            device=self.accelerator.device,
        )
        self.sampler = BatchSampler(
            self.seen, config.optimiser.batch_users, self.draws, self.accelerator.device
        )
        self.stopping = EarlyStopping(config.optimiser.patience)
        self.epoch = 0
        self.seconds = 0.0
        critic = self.model.critic
        of_critic = set(critic.parameters()) if critic else set()
        self.parameters = [p for p in self.model.parameters() if p not in of_critic]
        self.optimiser = self.accelerator.prepare(
            torch.optim.AdamW(
                self.parameters,
                lr=config.optimiser.learning_rate,
                weight_decay=config.optimiser.weight_decay,
            )
        )
        self.critic_optimiser = critic and self.accelerator.prepare(
            torch.optim.Adam(
                critic.parameters(), lr=config.adversarial.critic_learning_rate, betas=(0.5, 0.9)
            )
        )

    # --- one epoch ---------------------------------------------------------------------------

    def train_epoch(self) -> None:
        """Steps, graph refresh, evaluation, log line, checkpoint."""
        self.epoch += 1
        started = time.perf_counter()
        self.model.train()
        sums: dict[str, float] = {}
        for step in range(1, len(self.sampler) + 1):
            look = step == 1 and self.epoch == self.config.relations.warm_up + 1
            for name, value in self.step(self.sampler.draw(), look).items():
                sums[name] = sums.get(name, 0.0) + value
        losses = {name: value / len(self.sampler) for name, value in sums.items()}
        stepped = time.perf_counter()
        if self._refresh_is_due():
            self.model.refresh_relations()
        refreshed = time.perf_counter()
        self.model.eval()
        evaluation = self.evaluate()
        value = self._selected(evaluation.metrics)
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
            checkpoint.save_checkpoint(
                self.folder.best, self._model_tensors(), {"epoch": self.epoch}
            )
        self.save()
        self._report(
            f"epoch {self.epoch}: loss {sum(losses.values()):.4f},"
            f" {self.config.selection_metric} {value:.4f}"
            f" (best {self.stopping.best_value:.4f} at {self.stopping.best_epoch}),"
            f" {ended - started:.1f} s"
        )

    def step(self, batch: Batch, look: bool) -> dict[str, float]:
        """One step of the critic, then one of everything else; the parts' values."""
        values: dict[str, float] = {}
        norms: dict[str, Any] = {}
        critic = self.model.critic
        if critic is not None:
            with self.accelerator.autocast():
                critic_parts = self.model.critic_losses(batch)
            values |= self._descend(critic_parts, self.critic_optimiser)
            if look:
                norms["critic"] = parameter_gradient_norms(critic)
            critic.zero_grad()
            critic.requires_grad_(False)
        with self.accelerator.autocast():
            parts = self.model.losses(batch)
        if look:
            norms["parts"] = part_gradient_norms(parts, self.parameters)
        values |= self._descend(parts, self.optimiser)
        if critic is not None:
            critic.requires_grad_(True)
        if look:
            norms["parameters"] = {
                name: norm
                for name, norm in parameter_gradient_norms(self.model).items()
                if not name.startswith("critic.")
            }
            self.folder.log("gradient_norms", epoch=self.epoch, **norms)
        self.optimiser.zero_grad()
        return values

    def _descend(self, parts: Mapping[str, Tensor], optimiser: Any) -> dict[str, float]:
        values = {name: float(part.detach()) for name, part in parts.items()}
        broken = [name for name, value in values.items() if not math.isfinite(value)]
        if broken:
            self._diverged(
                ", ".join(f"{name} is {values[name]}" for name in broken),
                [_WHAT_TO_LOWER[name] for name in broken],
            )
        self.accelerator.backward(torch.stack(list(parts.values())).sum())
        optimiser.step()
        return values

    def _diverged(self, what: str, otherwise: Iterable[str]) -> NoReturn:
        """Say what to lower: the rate of whichever side has blown up, else ``otherwise``."""
        if self.model.critic is not None and _blown_up(self.model.critic.parameters()):
            lower = ["adversarial.critic_learning_rate"]
        elif _blown_up(self.parameters):
            lower = ["optimiser.learning_rate"]
        else:
            lower = list(dict.fromkeys(otherwise))
        raise TrainingDivergedError(
            f"{self.folder.path}: training diverged in epoch {self.epoch}: {what};"
            f" lower {' and '.join(lower)}"
        )

    def _report(self, line: str) -> None:
        if self.report is not None:
            self.report(line)

    def _refresh_is_due(self) -> bool:
        after = self.epoch - self.config.relations.warm_up
        return after >= 0 and after % self.config.relations.refresh == 0

    # --- validation --------------------------------------------------------------------------

    def evaluate(self) -> Evaluation:
        """Full ranking of the validation split, training items left out."""
        try:
            return evaluate_scores(self.model.score, self.dataset.val, exclude=self.seen)
        except FloatingPointError as error:
            self._diverged(str(error), ["optimiser.learning_rate"])

    def _selected(self, metrics: Mapping[str, float]) -> float:
        metric = self.config.selection_metric
        if metric not in metrics:
            raise InputError(
                f"selection_metric: no metric '{metric}' (there are: {', '.join(metrics)})"
            )
        return metrics[metric]

    # --- saving and going on -----------------------------------------------------------------

    def start(self) -> None:
        """The first log line: what is trained, on what."""
        self.folder.log(
            "start",
            users=len(self.dataset.user_ids),
            items=len(self.dataset.item_ids),
            train=len(self.dataset.train),
            val=len(self.dataset.val),
            modalities=list(self.model.modalities),
            parameters=sum(p.numel() for p in self.model.parameters()),
            device=str(self.accelerator.device),
            threads=torch.get_num_threads(),
        )

    def _model_tensors(self) -> dict[str, Tensor]:
        parameters = {f"model/{name}": t for name, t in self.model.state_dict().items()}
        graphs = {f"graphs/{m}": edges for m, edges in self.model.relation_edges.items()}
        return parameters | csr_tensors(graphs)

    def _load_model(self, tensors: Mapping[str, Tensor]) -> None:
        self.model.load_state_dict(
            {n.removeprefix("model/"): t for n, t in tensors.items() if n.startswith("model/")}
        )
        graphs = {n: t for n, t in tensors.items() if n.startswith("graphs/")}
        edges = csr_arrays(graphs, self.seen.shape)
        self.model.load_relations({n.removeprefix("graphs/"): e for n, e in edges.items()})

    def save(self) -> None:
        """Everything that training needs to go on as if it had not stopped."""
        tensors = self._model_tensors()
        facts: dict[str, Any] = {
            "epoch": self.epoch,
            "seconds": self.seconds,
            "early_stopping": asdict(self.stopping),
            "log_size": self.folder.log_size(),
        }
        tensors["rng/draws"] = self.draws.get_state()
        tensors["rng/torch"] = torch.get_rng_state()
        if self.accelerator.device.type == "cuda":
            tensors["rng/cuda"] = torch.cuda.get_rng_state(self.accelerator.device)
        for name, optimiser in self._optimisers():
            state, facts[name] = checkpoint.flatten_optimiser(optimiser, f"{name}/")
            tensors |= state
        checkpoint.save_checkpoint(self.folder.last, tensors, facts)

    def resume(self) -> None:
        """Go on from the last checkpoint."""
        tensors, facts = checkpoint.load_checkpoint(self.folder.last)
        self._load_model(tensors)
        for name, optimiser in self._optimisers():
            checkpoint.restore_optimiser(optimiser, f"{name}/", tensors, facts[name])
        self.draws.set_state(tensors["rng/draws"])
        torch.set_rng_state(tensors["rng/torch"])
        if "rng/cuda" in tensors:
            torch.cuda.set_rng_state(tensors["rng/cuda"], self.accelerator.device)
        self.epoch, self.seconds = facts["epoch"], facts["seconds"]
        self.stopping = EarlyStopping(**facts["early_stopping"])
        self.folder.cut_log(facts["log_size"])
        self._report(f"going on after epoch {self.epoch}")

    def _optimisers(self) -> Iterator[tuple[str, torch.optim.Optimizer]]:
        for name in ("optimiser", "critic_optimiser"):
            prepared = getattr(self, name)
            if prepared is not None:
                # What accelerate wraps around it keeps nothing of its own.
                yield name, prepared.optimizer

    def finish(self) -> TrainingResult:
        """The best epoch's model, its metrics beside popularity's, and the run's cost."""
        tensors, facts = checkpoint.load_checkpoint(self.folder.best)
        self._load_model(tensors)
        self.model.eval()
        evaluation = self.evaluate()
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
        result = TrainingResult(
            self.folder.path, best_epoch, evaluation.metrics, popularity.metrics
        )
        write_json(
            self.folder.metrics,
            {
                "data": str(self.dataset.path.resolve()),
                "dataset_digest": self.dataset.digest,
                "split": "val",
                "seed": self.config.seed,
                "best_epoch": result.best_epoch,
                "epochs": self.epoch,
                "metrics": result.metrics,
                "popularity": result.popularity,
                "users": len(evaluation.users),
                "seconds": round(self.seconds, 1),
                "seconds_per_epoch": round(self.seconds / max(self.epoch, 1), 3),
                "peak_memory_mib": _peak_memory_mib(),
            },
        )
        return result


def _blown_up(parameters: Iterable[Tensor]) -> bool:
    # No weight of a working model comes near 1e15; comparisons with NaN are false.
    return not all(bool((p.detach().abs() < 1e15).all()) for p in parameters)


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


def _accelerator(name: str, precision: str) -> Accelerator:
    device = resolve_device(name)
    # Accelerate keeps device and precision for the whole process; a second run may want others.
    AcceleratorState._reset_state(reset_partial_state=True)
    with patch_environment(accelerate_torch_device=str(device)):
        accelerator = Accelerator(mixed_precision=precision, cpu=device.type == "cpu")
    if accelerator.num_processes > 1:
        raise InputError("training runs in one process; start it without `accelerate launch`")
    return accelerator


def _peak_memory_mib() -> float:
    # Linux counts KiB, macOS bytes.
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit, 1)
