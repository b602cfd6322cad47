"""What a finished run came to: its metrics.json, and the same for people."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from extract.files import write_json
from mmssl.data.dataset import Dataset
from mmssl.evaluation.evaluate import Evaluation
from mmssl.training.progress import Progress
from mmssl.wording import counted

# Below so many validation interactions one more hit moves a figure by a hundredth or more.
_COARSE = 100


@dataclass(frozen=True)
class TrainingResult:
    """What a finished run came to; its figures stand in its metrics.json too."""

    path: Path
    best_epoch: int
    metrics: dict[str, float]
    """Validation metrics of the best epoch."""
    popularity: dict[str, float]
    """Validation metrics of popularity."""
    selection_metric: str
    """The metric that chose the epoch."""
    model: str
    """Which model was trained."""
    val_interactions: int
    """Interactions that the validation split holds."""

    def lines(self) -> list[str]:
        """The result in a few lines, for people."""
        figures = [
            f"{name}: {value:.4f} (popularity {self.popularity[name]:.4f})"
            for name, value in self.metrics.items()
            if name in ("recall@20", "ndcg@20")
        ]
        return [
            f"run: {self.path}",
            f"best epoch: {self.best_epoch}",
            "validation:",
            *figures,
            *self._doubts(),
        ]

    def _doubts(self) -> Iterator[str]:
        """What speaks against taking the figures as they stand."""
        if self.val_interactions < _COARSE:
            held = counted(self.val_interactions, "interaction")
            yield f"validation holds {held}: its figures are coarse"
        value, floor = (of[self.selection_metric] for of in (self.metrics, self.popularity))
        if self.model != "popularity" and value <= floor:
            yield (
                f"not above popularity ({self.selection_metric} {value:.4f} against {floor:.4f}):"
                " it has learned nothing of use; more interactions, or other settings"
            )


def write_metrics(
    file: Path,
    dataset: Dataset,
    *,
    seed: int,
    best_epoch: int,
    progress: Progress,
    evaluation: Evaluation,
    popularity: Evaluation,
) -> None:
    """Write metrics.json, whose presence says that the run is finished."""
    write_json(
        file,
        {
            "data": str(dataset.path.resolve()),
            "dataset_digest": dataset.digest,
            "split": "val",
            "seed": seed,
            "best_epoch": best_epoch,
            "epochs": progress.epoch,
            "metrics": evaluation.metrics,
            "popularity": popularity.metrics,
            "users": len(evaluation.users),
            "seconds": round(progress.seconds, 1),
            "seconds_per_epoch": round(progress.seconds / max(progress.epoch, 1), 3),
            "peak_memory_mib": _peak_memory_mib(),
        },
    )


def _peak_memory_mib() -> float | None:
    """Peak resident memory of this process; None where the system does not tell."""
    if sys.platform == "win32":
        return None
    import resource

    # Linux counts KiB, macOS bytes.
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit, 1)
