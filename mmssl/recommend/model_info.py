"""What a saved model says of itself."""

from typing import Any

from pydantic import BaseModel, ConfigDict


class ModelInfo(BaseModel):
    """What a model is and where it comes from; plain values, kept in ``config.json``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    """The kind of model, as ``mmssl``."""
    variant: str
    """Which configuration of it, as ``paper``."""
    encoders: dict[str, str | None]
    """Modality -> encoder URI; None where the features came ready-made."""
    data: str
    """The dataset folder that the model was trained on."""
    data_digest: str
    """Its digest; another dataset under the same path is told apart by it."""
    seed: int
    best_epoch: int
    """The epoch whose parameters these are, counted from 1."""
    training: dict[str, Any]
    """The resolved training configuration."""
    metrics: dict[str, float]
    """Validation metrics of that epoch."""
    popularity: dict[str, float]
    """The same metrics of popularity."""
    protocol: dict[str, Any]
    """How they were measured: ``mmssl.evaluation.evaluate.protocol``."""
