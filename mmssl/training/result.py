"""What a finished run came to: its metrics.json, and the same for people."""

import sys
from dataclasses import dataclass
from pathlib import Path

from extract.files import write_json
from mmssl.data.dataset import Dataset
from mmssl.evaluation.evaluate import Evaluation
from mmssl.training.progress import Progress


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
