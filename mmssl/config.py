"""What a training run is: YAML, then ``key.sub=value`` arguments, then validation."""

import contextlib
import difflib
from collections.abc import Iterable, Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from extract.errors import InputError

Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Rate = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FeatureConfig(_Section):
    """How raw embeddings enter the model (METHOD equations 1 and 2)."""

    modalities: tuple[str, ...] | None = None
    """Which of the dataset's modalities to use, as [image, text]; all of them when left out."""
    scaling: Literal["none", "standardise", "unit"] = "none"
    """``standardise``: each column to mean 0 and deviation 1 over the items that have the modality;
    ``unit``: the mean vector is removed and each row divided by its L2 norm."""
    missing: Literal["zero", "mean", "learned"] = "zero"
    """What stands for an item without the modality: a zero projection, the mean raw vector of the
    items that have it, or one learned projected vector a modality."""
    dropout: Rate = 0.2
    """On the projected features."""

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


class BackboneConfig(_Section):
    """Attention and propagation (equations 9 to 11)."""

    embedding_dim: Count = 64
    heads: Count = 4
    attention: Literal["paper", "identity"] = "paper"
    """``identity`` is the published code's fault 1: every attention weight acts as the identity."""
    layers: Annotated[int, Field(ge=0)] = 2
    normalisation: Literal["row", "symmetric"] = "row"
    """``row``: D_u^(-1/2) R and D_i^(-1/2) R^T; ``symmetric``: D_u^(-1/2) R D_i^(-1/2)."""
    propagation_order: Literal["alternating", "simultaneous"] = "alternating"
    """``alternating``: items from the user side just computed; ``simultaneous``: both from the
    layer before."""
    final_softmax: bool = False
    """Softmax over the dimensions at the last layer, as the published code does."""
    relation_rate: Weight = 0.36
    """eta of equation 10: weight of the normalised relation embedding beside the id embedding."""
    feature_rate: Weight = 0.55
    """omega of equation 11: weight of the normalised modality features in the final vectors."""

    @model_validator(mode="after")
    def _heads_divide(self) -> "BackboneConfig":
        if self.embedding_dim % self.heads:
            raise ValueError(
                f"embedding_dim {self.embedding_dim} must be a multiple of heads {self.heads}"
            )
        return self


class RelationConfig(_Section):
    """The learned relation graph of each modality (equation 7)."""

    graph: Literal["learned", "union", "observed"] = "learned"
    rate: Annotated[float, Field(gt=0, le=1)] = 0.0015
    """Share of the items that a user is joined to: k = max(1, round(rate x items))."""
    warm_up: Annotated[int, Field(ge=0)] = 3
    """Epochs with the observed graph before the first rebuild."""
    refresh: Count = 1
    """Epochs between rebuilds."""


class ContrastConfig(_Section):
    """Cross-modal contrast over the batch's users (equation 12)."""

    weight: Weight = 0.03
    """lambda_cl; 0 switches the contrast off."""
    temperature: Positive = 0.5
    anchor: Literal["final", "collaborative"] = "final"
    """What a modality's relation embedding is contrasted with: h_u or c_u."""


class AdversarialConfig(_Section):
    """Generator and critic of the modality-aware structure (equations 3 to 6)."""

    weight: Weight = 1e-4
    """lambda_g; 0 switches generator and critic off."""
    mask_observed: bool = True
    """Take a user's observed items out of the generated row."""
    critic_users: Count = 256
    """Users of a batch on whom the critic works."""
    critic_items: Annotated[int, Field(ge=2)] | Literal["all"] = 1024
    """Items a step on which rows are compared; ``all`` is the paper's form."""
    critic_hidden: tuple[Count, Count] = (128, 64)
    critic_dropout: tuple[Rate, Rate] = (0.31, 0.5)
    critic_learning_rate: Positive = 3e-4
    gradient_penalty: Weight = 10.0
    gumbel_temperature: Positive = 0.005
    """tau_g of equation 5."""
    gumbel_scale: Weight = 1e-5
    """s of equation 5."""
    prediction_scale: Weight = 1.0
    """zeta of equation 5: weight of the model's own prediction in the real rows."""


class OptimiserConfig(_Section):
    """Batches, steps and regularisation (equation 13)."""

    learning_rate: Positive = 5.5e-4
    weight_decay: Weight = 0.01
    embedding_l2: Weight = 1e-5
    feature_l2: Weight = 1e-5
    batch_users: Count = 1024
    """Users a step, drawn without replacement, each with one positive and one negative item."""
    epochs: Count = 1000
    patience: Count = 7
    """Evaluations without a better validation metric before training stops."""


class TrainingConfig(_Section):
    """A training run; ``mmssl.train`` takes it and the run folder keeps it as config.yaml."""

    name: str = "paper"
    """What this configuration is called in results and model cards."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 1
    features: FeatureConfig = FeatureConfig()
    backbone: BackboneConfig = BackboneConfig()
    relations: RelationConfig = RelationConfig()
    contrast: ContrastConfig = ContrastConfig()
    adversarial: AdversarialConfig = AdversarialConfig()
    optimiser: OptimiserConfig = OptimiserConfig()
    selection_metric: str = "recall@20"
    """The validation metric that chooses the epoch; larger is better."""
    precision: Literal["full", "bf16", "fp16"] = "full"
    """``full``: float32; ``bf16`` and ``fp16`` (CUDA only): mixed, by autocast."""

    @field_validator("selection_metric")
    @classmethod
    def _metric_exists(cls, metric: str) -> str:
        from mmssl.evaluation.metrics import DEFAULT_KS, METRICS

        known = [f"{name}@{k}" for name in METRICS for k in DEFAULT_KS]
        if metric not in known:
            raise ValueError(f"no metric '{metric}'; there are: {', '.join(known)}")
        return metric

    @classmethod
    def load(cls, path: Path | None = None, overrides: Sequence[str] = ()) -> "TrainingConfig":
        """Read YAML, apply ``key.sub=value`` overrides, validate.

        Raises:
            InputError: unreadable file, unknown key (with the nearest valid one) or bad value.
        """
        source = " and ".join(
            [*([str(path)] if path else []), *(["the settings given"] if overrides else [])]
        )
        values = _read_yaml(path) if path else {}
        for override in overrides:
            _apply(values, override)
        return cls.parse(values, source or "configuration")

    @classmethod
    def parse(cls, values: Any, source: str) -> "TrainingConfig":
        """Validate plain values; ``source`` names them in the error."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise InputError(f"{source}: {_first_problem(error)}") from None

    def to_yaml(self) -> str:
        """Every setting, resolved, as YAML that ``load`` reads back."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)


def shipped(name: str) -> Path:
    """A configuration of ``configs/``, in the source tree or in the installed package."""
    return Path(str(resources.files("configs").joinpath(name)))


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such configuration file") from None
    except (yaml.YAMLError, ValueError, RecursionError, OSError) as error:
        raise InputError(f"{path}: not readable as YAML ({error})") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise InputError(f"{path}: expected `key: value` lines, found {type(values).__name__}")
    return values


def _apply(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise InputError(f"'{override}': a setting is written key.sub=value, e.g. seed=2")
    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        raise InputError(f"'{override}': the value is not readable as YAML") from None
    if isinstance(value, str):
        # YAML 1.1 reads 1e-4 as text; people mean the number.
        with contextlib.suppress(ValueError):
            value = float(value)
    *sections, last = key.split(".")
    for section in sections:
        child = values.setdefault(section, {})
        if not isinstance(child, dict):
            raise InputError(f"'{override}': '{section}' is a value, not a section")
        values = child
    values[last] = value


def _first_problem(error: ValidationError) -> str:
    problem = error.errors()[0]
    location = [str(part) for part in problem["loc"] if part not in _UNION_BRANCHES]
    name = ".".join(location)
    if problem["type"] == "extra_forbidden":
        return f"unknown setting '{name}'; {_nearest_setting(location)}"
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "model_type":
        message = "this is a section; write its settings as `key: value` lines below it"
    given = "" if problem["type"] == "value_error" else f" (given: {_short(problem['input'])})"
    return f"{name}: {message}{given}" if name else f"{message}{given}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


# What pydantic puts into an error's path for the branches of a union.
_UNION_BRANCHES = ("constrained-int", "literal['all']")


def _nearest_setting(location: Sequence[str]) -> str:
    """What a person may have meant by a path of keys that does not exist."""
    known = list(_keys(TrainingConfig))
    last = location[-1]
    section = "".join(f"{part}." for part in location[:-1])
    within = [key.removeprefix(section) for key in known if key.startswith(section)]
    close = [section + name for name in difflib.get_close_matches(last, within, n=1)]
    elsewhere = [key for key in known if key.rpartition(".")[2] == last]
    nearest = close or elsewhere or difflib.get_close_matches(".".join(location), known, n=1)
    if section and within and not close:
        return f"{section[:-1]} has: {', '.join(within)}"
    return f"did you mean '{nearest[0]}'?" if nearest else "--print-config shows all settings"


def _keys(section: type[BaseModel], prefix: str = "") -> Iterable[str]:
    """Every setting below a section, as key.sub."""
    for name, field in section.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _keys(kind, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"
