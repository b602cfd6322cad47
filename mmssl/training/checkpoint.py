"""Checkpoints: safetensors for every tensor, JSON for the rest, two generations on disk.

``NAME`` is the newest checkpoint and ``NAME.previous`` the one before. A new one is written beside
them and takes the name only when it is whole, so that a kill at any moment leaves one of the two.
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

SCHEMA_VERSION = 1

_TENSORS = "tensors.safetensors"


def save_checkpoint(folder: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write a checkpoint at ``folder``; what stood there becomes ``folder.previous``."""
    new, previous = _sibling(folder, "new"), _sibling(folder, "previous")
    shutil.rmtree(new, ignore_errors=True)
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
    if folder.exists():
        shutil.rmtree(previous, ignore_errors=True)
        folder.rename(previous)
    new.rename(folder)
    _sync(folder.parent)


def load_checkpoint(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The newest whole checkpoint at ``folder``: its tensors on the CPU and its facts.

    Raises:
        InputError: there is none, or none that is whole and of this version.
    """
    problem: InputError | None = None
    for generation in (folder, _sibling(folder, "previous")):
        if generation.is_dir():
            try:
                return _load(generation)
            except InputError as error:
                problem = problem or error
    raise problem or InputError(f"{folder}: no checkpoint")


def _load(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    facts = read_json(folder / "facts.json")
    version = facts.get("schema_version") if isinstance(facts, dict) else None
    if version != SCHEMA_VERSION:
        raise InputError(
            f"{folder}: checkpoint version {version}; this reads {SCHEMA_VERSION}; start anew with"
            " --overwrite"
        )
    tensors = folder / _TENSORS
    if not tensors.is_file() or sha256_file(tensors) != facts.get("tensors_sha256"):
        raise InputError(f"{tensors}: missing or damaged; start anew with --overwrite")
    return load_file(tensors), facts


def has_checkpoint(folder: Path) -> bool:
    """Whether there is a checkpoint at ``folder`` to go on from."""
    return folder.is_dir() or _sibling(folder, "previous").is_dir()


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
