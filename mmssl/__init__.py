"""Embeddings and interactions to recommendations."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmssl.config import TrainingConfig
    from mmssl.data.dataset import Dataset
    from mmssl.data.prepare import prepare
    from mmssl.evaluation.evaluate import evaluate
    from mmssl.recommend.recommender import Recommender
    from mmssl.training.trainer import train

__all__ = ["Dataset", "Recommender", "TrainingConfig", "evaluate", "prepare", "train"]

_HOMES = {
    "Dataset": "mmssl.data.dataset",
    "Recommender": "mmssl.recommend.recommender",
    "TrainingConfig": "mmssl.config",
    "evaluate": "mmssl.evaluation.evaluate",
    "prepare": "mmssl.data.prepare",
    "train": "mmssl.training.trainer",
}


def __getattr__(name: str) -> Any:
    # Imported on first use, so that `import mmssl` and `--help` do not wait for torch.
    if name not in _HOMES:
        raise AttributeError(f"module 'mmssl' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
