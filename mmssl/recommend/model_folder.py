"""A trained model on disk: one folder, complete in itself, without pickle and without code."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
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
from mmssl.evaluation.ranking import Score, added, inner_product, item_graph_score
from mmssl.recommend.model_card import model_card
from mmssl.recommend.model_info import ModelInfo

_FILES = {
    "users.parquet",
    "items.parquet",
    "model.safetensors",
    "graphs.safetensors",
    "seen.safetensors",
}
# What scores: vectors of both sides, a graph of items, or both.
_VECTORS, _ITEM_GRAPH = "vectors.safetensors", "item_graph.safetensors"
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
    dim: int | None
    """Length of the vectors; None where an item graph alone scores."""
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
    graphs: dict[str, csr_array]
    """Modality -> relation graph, U x I of ones."""
    train: csr_array
    """Training interactions, U x I of ones."""
    val: csr_array
    """Validation interactions, U x I of ones."""
    user_vectors: Tensor | None = None
    """(U, d) float32, h_u; an item's score is its inner product with h_i."""
    item_vectors: Tensor | None = None
    """(I, d) float32, h_i."""
    item_graph: csr_array | None = None
    """(I, I) float32: scores are the rows of ``train @ item_graph``, added to those of the vectors
    where there are both."""

    @property
    def dim(self) -> int | None:
        """Length of the vectors; None where an item graph alone scores."""
        return None if self.item_vectors is None else self.item_vectors.shape[1]

    def score(self, device: torch.device) -> Score:
        """What ranks the items for (b,) user rows, on a device."""
        parts: list[Score] = []
        if self.user_vectors is not None and self.item_vectors is not None:
            parts.append(inner_product(self.user_vectors.to(device), self.item_vectors.to(device)))
        if self.item_graph is not None:
            parts.append(item_graph_score(self.train, self.item_graph, device))
        return added(parts)

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
            if self.item_graph is not None:
                _write_tensors(_weighted_graph(self.item_graph), new / _ITEM_GRAPH)
            if self.user_vectors is not None and self.item_vectors is not None:
                vectors = {"user": self.user_vectors, "item": self.item_vectors}
                _write_tensors(vectors, new / _VECTORS)
            _write_tensors(csr_tensors(self.graphs), new / "graphs.safetensors")
            seen = {"train": self.train, "val": self.val}
            _write_tensors(csr_tensors(seen), new / "seen.safetensors")
            manifest = _Manifest(
                schema_version=1,
                model=self.info,
                users=len(self.user_ids),
                items=len(self.item_ids),
                dim=self.dim,
                libraries=installed_versions(_LIBRARIES),
                files={path.name: sha256_file(path) for path in sorted(new.iterdir())},
            )
            write_text(
                new / "README.md",
                model_card(
                    self.info,
                    self.train,
                    self.val,
                    dim=self.dim,
                    item_graph=self.item_graph is not None,
                ),
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
        scoring: dict[str, Any] = {}
        if _VECTORS in manifest.files:
            vectors = load_file(folder / _VECTORS)
            scoring = {"user_vectors": vectors["user"], "item_vectors": vectors["item"]}
        if _ITEM_GRAPH in manifest.files:
            graph = load_file(folder / _ITEM_GRAPH)
            scoring["item_graph"] = _read_weighted_graph(graph, manifest.items)
        shape = (manifest.users, manifest.items)
        graphs = csr_arrays(load_file(folder / "graphs.safetensors"), shape)
        seen = csr_arrays(load_file(folder / "seen.safetensors"), shape)
        return cls(
            info=manifest.model,
            user_ids=pl.read_parquet(folder / "users.parquet")["user_id"].to_list(),
            item_ids=pl.read_parquet(folder / "items.parquet")["item_id"].to_list(),
            parameters=load_file(folder / "model.safetensors"),
            graphs=graphs,
            train=seen["train"],
            val=seen["val"],
            **scoring,
        )

    def _problem(self, manifest: _Manifest | None = None) -> str | None:
        """What does not fit together, in a few words; None when all is well."""
        users, items = len(self.user_ids), len(self.item_ids)
        for kind, ids in (("user", self.user_ids), ("item", self.item_ids)):
            if len(set(ids)) != len(ids):
                return f"a {kind} id occurs twice"
        problem = self._scoring_problem()
        if problem:
            return problem
        if manifest and (manifest.users, manifest.items, manifest.dim) != (users, items, self.dim):
            return (
                f"config.json counts {manifest.users} users, {manifest.items} items and"
                f" {manifest.dim} dimensions, the files {users}, {items} and {self.dim}"
            )
        matrices = {"train": self.train, "val": self.val, **self.graphs}
        for name, matrix in matrices.items():
            if matrix.shape != (users, items):
                return f"{name} is {matrix.shape[0]} x {matrix.shape[1]}, not {users} x {items}"
        if not set(self.graphs) <= set(self.info.encoders):
            return f"graphs of {sorted(self.graphs)}, encoders of {sorted(self.info.encoders)}"
        return None

    def _scoring_problem(self) -> str | None:
        users, items = len(self.user_ids), len(self.item_ids)
        if self.item_graph is not None:
            if self.item_graph.shape != (items, items):
                return f"the item graph is {self.item_graph.shape}, not {(items, items)}"
            if not bool(np.isfinite(self.item_graph.data).all()):
                return "the item graph holds NaN or infinite values"
        if self.user_vectors is None or self.item_vectors is None:
            if (self.user_vectors is None) != (self.item_vectors is None):
                return "it has vectors of one side alone"
            nothing = self.item_graph is None
            return "it has neither vectors nor an item graph" if nothing else None
        if self.user_vectors.ndim != 2:
            return f"user vectors are {tuple(self.user_vectors.shape)}, not a matrix"
        dim = self.user_vectors.shape[1]
        sides = (("user", users, self.user_vectors), ("item", items, self.item_vectors))
        for kind, count, vectors in sides:
            if vectors.shape != (count, dim):
                return f"{kind} vectors are {tuple(vectors.shape)}, not {(count, dim)}"
            if vectors.dtype != torch.float32:
                return f"{kind} vectors are {vectors.dtype}, not torch.float32"
            if not bool(vectors.isfinite().all()):
                return f"{kind} vectors hold NaN or infinite values"
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
    wanted = _FILES | {_VECTORS if manifest.dim is not None else _ITEM_GRAPH}
    if not wanted <= set(manifest.files) <= wanted | {_ITEM_GRAPH}:
        raise InputError(f"{path}: files: expected the digests of {', '.join(sorted(wanted))}")
    return manifest


def _write_ids(ids: list[str], column: str, path: Path) -> None:
    pl.DataFrame({column: ids}, schema={column: pl.String}).write_parquet(path)


def _write_tensors(tensors: dict[str, Tensor], path: Path) -> None:
    save_file({name: each.detach().cpu().contiguous() for name, each in tensors.items()}, path)


def _weighted_graph(graph: csr_array) -> dict[str, Tensor]:
    weights = torch.from_numpy(graph.data.astype(np.float32))
    return csr_tensors({"graph": graph}) | {"graph.weight": weights}


def _read_weighted_graph(tensors: dict[str, Tensor], items: int) -> csr_array:
    graph = csr_arrays(tensors, (items, items))["graph"]
    graph.data = tensors["graph.weight"].numpy()
    if len(graph.data) != len(graph.indices):
        raise ValueError("the item graph has not as many weights as edges")
    return graph
