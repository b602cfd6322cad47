"""Raw media to embeddings: ``run`` fills a feature store, ``FeatureStore.open`` reads it."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from extract.config import ExtractionConfig
    from extract.encoders.base import Encoder, Video, Waveform
    from extract.errors import InputError
    from extract.extraction import run
    from extract.store import FeatureStore
    from extract.summary import ExtractionSummary

__all__ = [
    "Encoder",
    "ExtractionConfig",
    "ExtractionSummary",
    "FeatureStore",
    "InputError",
    "Video",
    "Waveform",
    "run",
]

_HOMES = {
    "Encoder": "extract.encoders.base",
    "ExtractionConfig": "extract.config",
    "ExtractionSummary": "extract.summary",
    "FeatureStore": "extract.store",
    "InputError": "extract.errors",
    "Video": "extract.encoders.base",
    "Waveform": "extract.encoders.base",
    "run": "extract.extraction",
}


def __getattr__(name: str) -> Any:
    # Imported on first use, so that `import extract` and `--help` do not wait for torch.
    if name not in _HOMES:
        raise AttributeError(f"module 'extract' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
