"""Checkpoints: safetensors for every tensor, JSON for the rest, two generations on disk.

``NAME`` is the newest checkpoint and ``NAME.previous`` the one before. A new one is written beside
them and takes the name only when it is whole, and an old one gives up its name before it is
deleted: what bears one of the two names is whole, and a kill at any moment leaves at least one.
"""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from extract.errors import InputError
from extract.files import read_json, sha256_file, write_json

SCHEMA_VERSION = 2

_TENSORS = "tensors.safetensors"


def save_checkpoint(folder: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write a checkpoint at ``folder``; what stood there becomes ``folder.previous``."""
    new, previous, old = (_sibling(folder, name) for name in ("new", "previous", "old"))
    _remove_leftovers(folder)
    new.mkdir(parents=True)
    # A copy, since safetensors refuses tensors that share memory.
    copies = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    try:
        save_file(copies, new / _TENSORS)
        _sync(new / _TENSORS)
    except (SafetensorError, OSError) as error:
        raise InputError(
            f"{new}: the checkpoint could not be written ({' '.join(str(error).split())}); the one"
            " before is kept: make room and give the same command again"
        ) from None
    digest = sha256_file(new / _TENSORS)
    write_json(
        new / "facts.json", {"schema_version": SCHEMA_VERSION, "tensors_sha256": digest, **facts}
    )
    _sync(new)
    if folder.exists():
        if previous.exists():
            previous.rename(old)
        folder.rename(previous)
    new.rename(folder)
    _sync(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def load_checkpoint(folder: Path, **wanted: Any) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The newest whole checkpoint at ``folder``: its tensors on the CPU and its facts.

    Args:
        folder: where ``save_checkpoint`` wrote.
        wanted: facts that it must have, as ``epoch=3``; others are passed over.

    Raises:
        InputError: there is none, or none that is whole, of this version, and wanted.
    """
    problem: InputError | None = None
    for generation in generations(folder):
        try:
            return _load(generation, wanted)
        except InputError as error:
            problem = problem or error
    raise problem or InputError(f"{folder}: no checkpoint; start anew with --overwrite")


def return_to_checkpoint(folder: Path, **wanted: Any) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """As ``load_checkpoint``, to go on from it: a newer one that was passed over is deleted.

    Else the next one saved would take the place of the only good one. What kills left half written
    or half deleted goes too.
    """
    _remove_leftovers(folder)
    passed_over: list[Path] = []
    for generation in generations(folder):
        try:
            found = _load(generation, wanted)
        except InputError:
            passed_over.append(generation)
        else:
            for newer in passed_over:
                shutil.rmtree(newer)
            return found
    return load_checkpoint(folder, **wanted)


def _load(folder: Path, wanted: Mapping[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    facts = read_json(folder / "facts.json")
    version = facts.get("schema_version") if isinstance(facts, dict) else None
    if version != SCHEMA_VERSION:
        raise InputError(
            f"{folder}: checkpoint version {version}; this reads {SCHEMA_VERSION}; start anew with"
            " --overwrite"
        )
    for name, value in wanted.items():
        if facts.get(name) != value:
            raise InputError(
                f"{folder}: the checkpoint of {name} {facts.get(name)}, not {value}; start anew"
                " with --overwrite"
            )
    tensors = folder / _TENSORS
    if not tensors.is_file() or sha256_file(tensors) != facts.get("tensors_sha256"):
        raise InputError(f"{tensors}: missing or damaged; start anew with --overwrite")
    return load_file(tensors), facts


def generations(folder: Path) -> list[Path]:
    """The checkpoints that stand at ``folder``, the newest first."""
    return [path for path in (folder, _sibling(folder, "previous")) if path.is_dir()]


def has_checkpoint(folder: Path) -> bool:
    """Whether there is a checkpoint at ``folder`` to go on from."""
    return bool(generations(folder))


def _remove_leftovers(folder: Path) -> None:
    for generation in ("new", "old"):
        shutil.rmtree(_sibling(folder, generation), ignore_errors=True)


def _sibling(folder: Path, generation: str) -> Path:
    return folder.with_name(f"{folder.name}.{generation}")


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


# --- what is not a flat dictionary of tensors -------------------------------------------------


def flatten_optimiser(
    optimiser: torch.optim.Optimizer, prefix: str
) -> tuple[dict[str, Tensor], Any]:
    """An optimiser's state as named tensors and a JSON part (groups and plain numbers)."""
    state = optimiser.state_dict()
    tensors: dict[str, Tensor] = {}
    plain: dict[str, dict[str, Any]] = {}
    for index, values in state["state"].items():
        for name, value in values.items():
            if isinstance(value, Tensor):
                tensors[f"{prefix}{index}.{name}"] = value
            else:
                plain.setdefault(str(index), {})[name] = value
    return tensors, {"groups": state["param_groups"], "plain": plain}


def restore_optimiser(
    optimiser: torch.optim.Optimizer, prefix: str, tensors: Mapping[str, Tensor], facts: Any
) -> None:
    """The inverse of ``flatten_optimiser``."""
    state: dict[int, dict[str, Any]] = {int(i): dict(v) for i, v in facts["plain"].items()}
    for name, tensor in tensors.items():
        if name.startswith(prefix):
            index, _, field = name.removeprefix(prefix).partition(".")
            state.setdefault(int(index), {})[field] = tensor
    optimiser.load_state_dict({"state": state, "param_groups": facts["groups"]})
