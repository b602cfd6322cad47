"""From YAML files and ``key.sub=value`` arguments to plain values, and errors for people."""

import contextlib
import difflib
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from extract.errors import InputError


def shipped(name: str) -> Path:
    """A configuration of ``configs/``, in the source tree or in the installed package."""
    return Path(str(resources.files("configs").joinpath(name)))


BASE = "base"
"""The key under which a file names another one, whose settings hold where its own say nothing."""


def read_yaml(path: Path, derived: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The values of a YAML file, over those of the file that its key ``base`` names.

    Args:
        path: the file.
        derived: the files that led here by their ``base``.

    Raises:
        InputError: missing, unreadable, no mapping, or a base of itself.
    """
    values = _read_one(path)
    if BASE not in values:
        return values
    base = values.pop(BASE)
    if not isinstance(base, str) or not base:
        raise InputError(f"{path}: base names one file, as `base: ../tiktok.yaml`")
    parent = path.parent / base
    try:
        seen = (*derived, path.resolve())
        again = parent.resolve() in seen
    except (ValueError, OSError, RuntimeError) as error:
        raise InputError(f"{path}: base {base!r} is no path ({error})") from None
    if again:
        raise InputError(f"{path}: base {base} leads back to where it came from")
    return _over(read_yaml(parent, seen), values)


def _over(below: dict[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        before = merged.get(key)
        if isinstance(before, dict) and isinstance(value, dict):
            merged[key] = _over(before, value)
        else:
            merged[key] = value
    return merged


def _read_one(path: Path) -> dict[str, Any]:
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


def apply_setting(values: dict[str, Any], override: str) -> None:
    """Put one ``key.sub=value`` into nested values."""
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


def nested(settings: Mapping[str, Any]) -> dict[str, Any]:
    """``{"key.sub": value}`` as ``{"key": {"sub": value}}``."""
    values: dict[str, Any] = {}
    for key, value in settings.items():
        *sections, last = key.split(".")
        place = values
        for section in sections:
            place = place.setdefault(section, {})
        place[last] = value
    return values


def first_problem(error: ValidationError, configuration: type[BaseModel]) -> str:
    """The first thing wrong, in one line that names the setting and the nearest valid one."""
    problem = error.errors()[0]
    location = [str(part) for part in problem["loc"] if part not in _UNION_BRANCHES]
    name = ".".join(location)
    if problem["type"] == "extra_forbidden":
        return f"unknown setting '{name}'; {nearest_setting(location, configuration)}"
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "model_type":
        message = "this is a section; write its settings as `key: value` lines below it"
    given = "" if problem["type"] == "value_error" else f" (given: {_short(problem['input'])})"
    return f"{name}: {message}{given}" if name else f"{message}{given}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


# What pydantic puts into an error's path for the branches of a union.
_UNION_BRANCHES = (
    *("constrained-int", "literal['all']", "literal['catalogue']"),
    "tuple[constrained-int, constrained-int]",
)


def nearest_setting(location: Sequence[str], configuration: type[BaseModel]) -> str:
    """What a person may have meant by a path of keys that does not exist."""
    known = list(setting_names(configuration))
    last = location[-1]
    section = "".join(f"{part}." for part in location[:-1])
    within = [key.removeprefix(section) for key in known if key.startswith(section)]
    close = [section + name for name in difflib.get_close_matches(last, within, n=1)]
    elsewhere = [key for key in known if key.rpartition(".")[2] == last]
    nearest = close or elsewhere or difflib.get_close_matches(".".join(location), known, n=1)
    if section and within and not close:
        return f"{section[:-1]} has: {', '.join(within)}"
    return f"did you mean '{nearest[0]}'?" if nearest else "--print-config shows all settings"


def setting_names(section: type[BaseModel], prefix: str = "") -> Iterable[str]:
    """Every setting below a section, as key.sub."""
    for name, field in section.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from setting_names(kind, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"
