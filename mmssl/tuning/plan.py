"""What a search is: a YAML of a configuration, a typed space around it, and a budget."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from extract.errors import InputError
from mmssl.config import TrainingConfig
from mmssl.settings import first_problem, read_yaml


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class IntegerRange(_Part):
    """Whole numbers from ``low`` to ``high``, both included."""

    type: Literal["int"]
    low: int
    high: int
    log: bool = False
    """Whether ratios count instead of differences."""

    @model_validator(mode="after")
    def _ascends(self) -> Self:
        _check_range(self.low, self.high, self.log)
        return self


class FloatRange(_Part):
    """Numbers from ``low`` to ``high``."""

    type: Literal["float"]
    low: float
    high: float
    log: bool = False
    """Whether ratios count instead of differences."""

    @model_validator(mode="after")
    def _ascends(self) -> Self:
        _check_range(self.low, self.high, self.log)
        return self


class Choices(_Part):
    """One of some values, in no order."""

    type: Literal["choice"]
    values: Annotated[tuple[Any, ...], Field(min_length=2)]


def _check_range(low: float, high: float, log: bool) -> None:
    if not low < high:
        raise ValueError(f"low {low} must be below high {high}")
    if log and low <= 0:
        raise ValueError(f"on a log scale low must be above 0, not {low}")


Range = Annotated[IntegerRange | FloatRange | Choices, Field(discriminator="type")]


class TuningPlan(_Part):
    """A search; read by ``load``."""

    config: str
    """The configuration that is tuned: a YAML file, seen from the plan's folder."""
    settings: dict[str, Any] = {}
    """``key.sub: value``, the same in all trials."""
    space: Annotated[dict[str, Range], Field(min_length=1)]
    """``key.sub`` -> where its value is sought."""
    trials: Annotated[int, Field(ge=1)] = 20
    """How many trials, in all."""
    random_trials: Annotated[int, Field(ge=1)] = 10
    """First trials, drawn uniformly; the later ones come from a model of those before (TPE)."""
    pruning: bool = True
    """End a trial whose best epoch so far is worse than the median of earlier trials at it."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Of the search; the trials themselves have the configuration's."""

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a plan.

        Raises:
            InputError: unreadable, an unknown key or bad range, or a setting that the configured
                model does not have.
        """
        values = read_yaml(path)
        try:
            plan = cls.model_validate(values)
        except ValidationError as error:
            raise InputError(f"{path}: {first_problem(error, cls)}") from None
        fixed_too = sorted(set(plan.space) & set(plan.settings))
        if fixed_too:
            raise InputError(f"{path}: '{fixed_too[0]}' stands in settings and in space; keep one")
        # Whatever is wrong with the configuration or with a key is said before anything runs.
        try:
            base = plan.configuration(path, {})
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
        for key, found in plan.space.items():
            for value in _ends(found):
                try:
                    plan.configuration(path, {key: value})
                except InputError as error:
                    raise InputError(f"{path}: space: {key}={value}: {error}") from None
        if plan.pruning and base.epochs == 1:
            raise InputError(
                f"{path}: pruning compares epochs, and there is one; set pruning: false"
            )
        return plan

    def configuration(self, path: Path, values: Mapping[str, Any]) -> TrainingConfig:
        """The configuration with a trial's values.

        Args:
            path: the plan's file.
            values: ``key.sub`` -> value.
        """
        together = {**self.settings, **values}
        settings = [f"{key}={json.dumps(value)}" for key, value in together.items()]
        return TrainingConfig.load(path.parent / self.config, settings)

    def key(self, base: TrainingConfig, dataset_digest: str) -> str:
        """What a begun search is known by: everything but how many trials there are to be.

        Args:
            base: the configuration with ``settings`` and no trial's values.
            dataset_digest: of the dataset that the trials are trained on.
        """
        values = self.model_dump(mode="json", exclude={"trials", "config", "settings"})
        text = json.dumps([values, base.model_dump(mode="json"), dataset_digest], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def own_values(self, base: TrainingConfig) -> dict[str, Any] | None:
        """The configuration's own values in the space, if all lie in it: the first trial."""
        values = {key: value_of(base, key) for key in self.space}
        inside = all(_contains(self.space[key], value) for key, value in values.items())
        return values if inside else None


def value_of(config: BaseModel, key: str) -> Any:
    """A setting's value by its ``key.sub``; tuples as lists, as YAML has them."""
    value: Any = config
    for name in key.split("."):
        value = getattr(value, name)
    return list(value) if isinstance(value, tuple) else value


def _ends(found: Range) -> tuple[Any, ...]:
    return found.values if isinstance(found, Choices) else (found.low, found.high)


def _contains(found: Range, value: Any) -> bool:
    if isinstance(found, Choices):
        return value in found.values
    return isinstance(value, int | float) and found.low <= value <= found.high
