"""What a training run is: YAML, then ``key.sub=value`` arguments, then validation.

What all models share stands here; each model's own settings stand beside it, in a subclass of
``TrainingConfig`` that ``mmssl.models`` knows by the model's name.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from extract.errors import InputError
from mmssl.settings import apply_setting, first_problem, read_yaml

Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Rate = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """Settings that belong together: unknown ones are refused, and none changes later."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class FeatureConfig(Section):
    """Which raw embeddings a model takes, and how they are scaled."""

    modalities: tuple[str, ...] | None = None
    """Which of the dataset's modalities to use, as [image, text]; all of them when left out."""
    scaling: Literal["none", "standardise", "unit"] = "none"
    """``standardise``: each column to mean 0 and deviation 1 over the items that have the modality;
    ``unit``: the mean vector is removed and each row divided by its L2 norm."""

    @field_validator("modalities", mode="before")
    @classmethod
    def _some_and_each_once(cls, value: Any) -> Any:
        names = [value] if isinstance(value, str) else value
        if isinstance(names, list | tuple):
            if not names:
                raise ValueError("name at least one modality, or leave it out for all of them")
            if len(set(map(str, names))) < len(names):
                raise ValueError("a modality is named twice")
        return names


class OptimiserConfig(Section):
    """AdamW: rate, schedule, decay; how long training lasts."""

    learning_rate: Positive = 1e-3
    """AdamW's, for all parameters but a critic's."""
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """How the model's learning rate falls over all steps of all ``epochs``: not at all, in a
    straight line to 0, or along half a cosine to 0. A critic's does not change."""
    warm_up_steps: Annotated[int, Field(ge=0)] = 0
    """First steps, over which the learning rate rises in a straight line; part of the run's."""
    clip_norm: Positive | None = None
    """Upper bound of the L2 norm of the model's gradient, all parameters but a critic's together;
    no bound when left out."""
    weight_decay: Weight = 0.0
    """AdamW's decoupled decay, of all parameters."""
    epochs: Count = 1000
    """The most epochs."""
    patience: Count = 7
    """Evaluations without a better validation metric before training stops."""


class TrainingConfig(Section):
    """A training run; ``mmssl.train`` takes it and the run folder keeps it as config.yaml."""

    model: str
    """Which model is trained: one of ``mmssl.models.MODELS``."""
    name: str
    """What this configuration is called in results and model cards."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 1
    """Of every draw: first parameters, batches, dropout, noise."""
    selection_metric: str = "recall@20"
    """The validation metric that chooses the epoch; larger is better."""

    @property
    def epochs(self) -> int:
        """The most epochs; a model that learns nothing has one, of no steps."""
        return 1

    @property
    def patience(self) -> int:
        """Evaluations without a better validation metric before training stops."""
        return 1

    @property
    def modalities(self) -> tuple[str, ...] | None:
        """The modalities that the model takes; None for all that there are."""
        return ()

    @property
    def mixed_precision(self) -> Literal["full", "bf16", "fp16"]:
        """As ``MixedPrecisionConfig.precision``."""
        return "full"

    @field_validator("selection_metric")
    @classmethod
    def _metric_exists(cls, metric: str) -> str:
        from mmssl.evaluation.metrics import DEFAULT_KS, METRICS

        known = [f"{name}@{k}" for name in METRICS for k in DEFAULT_KS]
        if metric not in known:
            raise ValueError(f"no metric '{metric}'; there are: {', '.join(known)}")
        return metric

    @classmethod
    def load(cls, path: Path | None = None, overrides: Sequence[str] = ()) -> Self:
        """Read YAML (and its ``base``), apply ``key.sub=value`` overrides, validate.

        Raises:
            InputError: unreadable file, unknown model or key (with the nearest valid one), or bad
                value.
        """
        source = " and ".join(
            [*([str(path)] if path else []), *(["the settings given"] if overrides else [])]
        )
        values = read_yaml(path) if path else {}
        for override in overrides:
            apply_setting(values, override)
        return cls.parse(values, source or "configuration")

    @classmethod
    def parse(cls, values: Mapping[str, Any], source: str) -> Self:
        """Validate plain values as settings of the model that they name.

        Args:
            values: nested settings; without ``model`` they are MMSSL's.
            source: what names them in an error.
        """
        from mmssl.models import DEFAULT_MODEL, config_class

        kind = config_class(values.get("model", DEFAULT_MODEL), source)
        if not issubclass(kind, cls):
            raise InputError(f"{source}: model '{values['model']}' is none of {cls.__name__}")
        try:
            return kind.model_validate(values)
        except ValidationError as error:
            raise InputError(f"{source}: {first_problem(error, kind)}") from None

    def to_yaml(self) -> str:
        """Every setting, resolved, as YAML that ``load`` reads back."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)


class LearnedConfig(TrainingConfig):
    """A training run of a model with something to learn."""

    optimiser: OptimiserConfig = OptimiserConfig()

    @property
    def epochs(self) -> int:
        """The most epochs."""
        return self.optimiser.epochs

    @property
    def patience(self) -> int:
        """Evaluations without a better validation metric before training stops."""
        return self.optimiser.patience


class MixedPrecisionConfig(LearnedConfig):
    """A training run of a model with dense products, which alone a lower precision speeds up."""

    precision: Literal["full", "bf16", "fp16"] = "full"
    """``full``: float32; ``bf16`` and ``fp16`` (CUDA only): mixed, by autocast."""

    @property
    def mixed_precision(self) -> Literal["full", "bf16", "fp16"]:
        """As ``precision``."""
        return self.precision
