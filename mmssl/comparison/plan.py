"""What is compared: a YAML of configurations, seeds and metrics."""

import json
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from extract.errors import InputError, nearest
from mmssl.config import TrainingConfig
from mmssl.evaluation.metrics import DEFAULT_KS, METRICS
from mmssl.settings import first_problem, read_yaml

Seeds = Annotated[tuple[Annotated[int, Field(ge=0, lt=2**32)], ...], Field(min_length=1)]
_Share = Annotated[float, Field(gt=0, lt=1)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Entry(_Part):
    """One line of the comparison."""

    config: str
    """A configuration, seen from the plan's folder."""
    settings: dict[str, Any] = {}
    """``key.sub: value`` over it."""
    seeds: Seeds | None = None
    """In the place of the plan's."""
    drop: dict[str, _Share] = {}
    """Modality -> share of the items that have it which lose it, drawn by the run's seed."""


class ComparisonPlan(_Part):
    """A comparison; read by ``load``."""

    models: Annotated[dict[str, Entry], Field(min_length=1)]
    """Name in the table -> what is trained."""
    seeds: Seeds
    """Each model is trained once with each."""
    reference: str
    """The model that all others are tested against."""
    metrics: Annotated[tuple[str, ...], Field(min_length=1)] = ("recall@20", "ndcg@20")
    """The table's columns; the first one is tested."""

    @field_validator("metrics")
    @classmethod
    def _metrics_exist(cls, metrics: tuple[str, ...]) -> tuple[str, ...]:
        known = [f"{name}@{k}" for name in METRICS for k in DEFAULT_KS]
        for metric in metrics:
            if metric not in known:
                raise ValueError(f"no metric '{metric}'; there are: {', '.join(known)}")
        return metrics

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.reference not in self.models:
            hint = nearest(self.reference, list(self.models))
            raise ValueError(f"reference '{self.reference}' is none of the models{hint}")
        for name, entry in self.models.items():
            seeds = self.seeds_of(name)
            if len(set(seeds)) < len(seeds):
                raise ValueError(f"a seed of '{name}' is named twice")
            if not name or set(name) & set('/\\|"\n'):
                raise ValueError(f"{name!r} is no name for a table")
            if entry.drop and self.reference == name:
                raise ValueError(f"'{name}' is the reference and drops no modality")
        return self

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a plan, and every configuration that it names.

        Raises:
            InputError: unreadable, an unknown key or bad value, here or in a configuration.
        """
        try:
            plan = cls.model_validate(read_yaml(path))
        except ValidationError as error:
            raise InputError(f"{path}: {first_problem(error, cls)}") from None
        for name in plan.models:
            try:
                plan.configuration(path, name, plan.seeds_of(name)[0])
            except InputError as error:
                raise InputError(f"{path}: {name}: {error}") from None
        return plan

    def seeds_of(self, name: str) -> tuple[int, ...]:
        """The seeds of a model."""
        return self.models[name].seeds or self.seeds

    def configuration(self, path: Path, name: str, seed: int) -> TrainingConfig:
        """A model's configuration with a seed.

        Args:
            path: the plan's file.
            name: of the model.
            seed: of the run.
        """
        return TrainingConfig.load(
            path.parent / self.models[name].config, self.settings(name, seed)
        )

    def settings(self, name: str, seed: int) -> list[str]:
        """What stands over a model's configuration, as ``key.sub=value``."""
        together = {**self.models[name].settings, "seed": seed}
        return [f"{key}={json.dumps(value)}" for key, value in together.items()]
