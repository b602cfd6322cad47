"""A trained model on disk: one folder, complete in itself, without pickle and without code."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import polars as pl
import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from scipy.sparse import csr_array
from torch import Tensor

from extract.errors import InputError
from extract.files import atomic_folder, read_json, sha256_file, write_json, write_text
from extract.versions import installed_versions
from mmssl.data.graphs import csr_arrays, csr_tensors
from mmssl.recommend.model_card import model_card
from mmssl.recommend.model_info import ModelInfo

_FILES = {
    "users.parquet",
    "items.parquet",
    "model.safetensors",
    "vectors.safetensors",
    "graphs.safetensors",
    "seen.safetensors",
}
# A panic of polars is no Exception, but a BaseException.
_UNREADABLE = (
    *(KeyError, ValueError, OSError, SafetensorError),
    *(pl.exceptions.PolarsError, pl.exceptions.PanicException),
)
_LIBRARIES = ("mmssl-toolkit", "torch", "numpy", "scipy", "safetensors", "polars")


class _Manifest(BaseModel):
    """``config.json``: the model, the sizes that the other files must have, and their digests."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1]
    model: ModelInfo
    users: int
    items: int
    dim: int
    libraries: dict[str, str]
    files: dict[str, str]


@dataclass(frozen=True, eq=False)
class SavedModel:
    """Everything that recommending and going on with a model need, for U users and I items."""

    info: ModelInfo
    user_ids: list[str]
    """Original ids in row order, U of them."""
    item_ids: list[str]
    """Original ids in row order, I of them."""
    parameters: dict[str, Tensor]
    """The model's state, by name."""
    user_vectors: Tensor
    """(U, d) float32, h_u; the score of an item is its inner product with h_i."""
    item_vectors: Tensor
    """(I, d) float32, h_i."""
    graphs: dict[str, csr_array]
    """Modality -> relation graph, U x I of ones."""
    train: csr_array
    """Training interactions, U x I of ones."""
    val: csr_array
    """Validation interactions, U x I of ones."""

    def seen(self) -> csr_array:
        """What each user is known to have interacted with, training and validation together."""
        return csr_array(self.train + self.val)

    def save(self, folder: Path) -> None:
        """Write the folder whole: beside it first, then renamed; one already there is replaced.

        Raises:
            ValueError: sizes that do not belong together, repeated ids, or vectors with NaN.
        """
        problem = self._problem()
        if problem:
            raise ValueError(f"this model cannot be saved: {problem}")
        with atomic_folder(folder) as new:
            _write_ids(self.user_ids, "user_id", new / "users.parquet")
            _write_ids(self.item_ids, "item_id", new / "items.parquet")
            _write_tensors(self.parameters, new / "model.safetensors")
            vectors = {"user": self.user_vectors, "item": self.item_vectors}
            _write_tensors(vectors, new / "vectors.safetensors")
            _write_tensors(csr_tensors(self.graphs), new / "graphs.safetensors")
            seen = {"train": self.train, "val": self.val}
            _write_tensors(csr_tensors(seen), new / "seen.safetensors")
            manifest = _Manifest(
                schema_version=1,
                model=self.info,
                users=len(self.user_ids),
                items=len(self.item_ids),
                dim=self.user_vectors.shape[1],
                libraries=installed_versions(_LIBRARIES),
                files={path.name: sha256_file(path) for path in sorted(new.iterdir())},
            )
            write_text(
                new / "README.md",
                model_card(self.info, self.train, self.val, dim=self.user_vectors.shape[1]),
            )
            write_json(new / "config.json", manifest.model_dump(mode="json"))

    @classmethod
    def load(cls, path: Path) -> "SavedModel":
        """Read the ``model/`` folder of a run, or such a folder itself.

        Raises:
            InputError: no model there, or one whose files are missing, changed, or do not fit
                together; the message names the file.
        """
        folder = path / "model" if (path / "model").is_dir() else path
        if not (folder / "config.json").is_file():
            raise InputError(
                f"{path}: no trained model here (neither model/config.json nor config.json);"
                " name the folder of a finished run"
            )
        manifest = _read_manifest(folder / "config.json")
        for name, digest in manifest.files.items():
            if not (folder / name).is_file():
                raise InputError(f"{folder / name}: missing; the model folder is not complete")
            if sha256_file(folder / name) != digest:
                raise InputError(f"{folder / name}: changed or damaged since the model was saved")
        try:
            model = cls._read(folder, manifest)
        except _UNREADABLE as error:
            raise InputError(f"{folder}: not a whole model ({error})") from None
        problem = model._problem(manifest)
        if problem:
            raise InputError(f"{folder}: not a whole model ({problem})")
        return model

    @classmethod
    def _read(cls, folder: Path, manifest: _Manifest) -> "SavedModel":
        vectors = load_file(folder / "vectors.safetensors")
        shape = (manifest.users, manifest.items)
        graphs = csr_arrays(load_file(folder / "graphs.safetensors"), shape)
        seen = csr_arrays(load_file(folder / "seen.safetensors"), shape)
        return cls(
            info=manifest.model,
            user_ids=pl.read_parquet(folder / "users.parquet")["user_id"].to_list(),
            item_ids=pl.read_parquet(folder / "items.parquet")["item_id"].to_list(),
            parameters=load_file(folder / "model.safetensors"),
            user_vectors=vectors["user"],
            item_vectors=vectors["item"],
            graphs=graphs,
            train=seen["train"],
            val=seen["val"],
        )

    def _problem(self, manifest: _Manifest | None = None) -> str | None:
        """What does not fit together, in a few words; None when all is well."""
        users, items = len(self.user_ids), len(self.item_ids)
        if self.user_vectors.ndim != 2:
            return f"user vectors are {tuple(self.user_vectors.shape)}, not a matrix"
        dim = self.user_vectors.shape[1]
        if manifest and (manifest.users, manifest.items, manifest.dim) != (users, items, dim):
            return (
                f"config.json counts {manifest.users} users, {manifest.items} items and"
                f" {manifest.dim} dimensions, the files {users}, {items} and {dim}"
            )
        sides = {
            "user": (self.user_ids, self.user_vectors),
            "item": (self.item_ids, self.item_vectors),
        }
        for kind, (ids, vectors) in sides.items():
            if len(set(ids)) != len(ids):
                return f"a {kind} id occurs twice"
            if vectors.shape != (len(ids), dim):
                return f"{kind} vectors are {tuple(vectors.shape)}, not {(len(ids), dim)}"
            if vectors.dtype != torch.float32:
                return f"{kind} vectors are {vectors.dtype}, not torch.float32"
            if not bool(vectors.isfinite().all()):
                return f"{kind} vectors hold NaN or infinite values"
        matrices = {"train": self.train, "val": self.val, **self.graphs}
        for name, matrix in matrices.items():
            if matrix.shape != (users, items):
                return f"{name} is {matrix.shape[0]} x {matrix.shape[1]}, not {users} x {items}"
        if set(self.graphs) != set(self.info.encoders):
            return f"graphs of {sorted(self.graphs)}, encoders of {sorted(self.info.encoders)}"
        return None


def _read_manifest(path: Path) -> _Manifest:
    values = read_json(path)
    found = values.get("schema_version") if isinstance(values, dict) else None
    if found != 1:
        raise InputError(f"{path}: schema version {found!r}; this version reads 1")
    try:
        manifest = _Manifest.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{path}: {where}: {first['msg']}") from None
    # Nothing outside the folder is opened, and nothing in it without its digest.
    if set(manifest.files) != _FILES:
        raise InputError(f"{path}: files: expected the digests of {', '.join(sorted(_FILES))}")
    return manifest


def _write_ids(ids: list[str], column: str, path: Path) -> None:
    pl.DataFrame({column: ids}, schema={column: pl.String}).write_parquet(path)


def _write_tensors(tensors: dict[str, Tensor], path: Path) -> None:
    save_file({name: each.detach().cpu().contiguous() for name, each in tensors.items()}, path)
