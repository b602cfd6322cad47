"""The files of a model folder: their names, the manifest over them, what each of them holds."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from safetensors import SafetensorError
from safetensors.torch import save_file
from scipy.sparse import csr_array
from torch import Tensor

from extract.errors import InputError
from mmssl.data.graphs import csr_arrays, csr_tensors
from mmssl.recommend.manifests import read_versioned
from mmssl.recommend.model_info import ModelInfo
from mmssl.vectors import TwoSided

FILES = {
    "users.parquet",
    "items.parquet",
    "model.safetensors",
    "graphs.safetensors",
    "seen.safetensors",
}
# What scores: vectors of both sides, a graph of items, or both.
VECTORS, ITEM_GRAPH = "vectors.safetensors", "item_graph.safetensors"
# What explains a score, and what finds the neighbours of an item that is new: where there are any.
PARTS, FEATURES = "parts.safetensors", "features.safetensors"
# A panic of polars is no Exception, but a BaseException; numpy has no word for some types of torch.
UNREADABLE = (
    *(KeyError, TypeError, ValueError, OSError, SafetensorError),
    *(pl.exceptions.PolarsError, pl.exceptions.PanicException),
)
LIBRARIES = ("mmssl-toolkit", "torch", "numpy", "scipy", "safetensors", "polars")


class ModelManifest(BaseModel):
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
class ItemFeatures:
    """The raw embeddings of one modality, a row an item."""

    vectors: NDArray[np.float32]
    """(I, dim), zeros where absent."""
    present: NDArray[np.bool_]
    """(I,)"""


def folder_of(path: Path) -> Path:
    """The model folder that is meant: the ``model/`` of a run, or the folder itself."""
    return path / "model" if (path / "model").is_dir() else path


def read_model_manifest(path: Path) -> ModelManifest:
    """The manifest of a model folder.

    Raises:
        InputError: not one of this version, or it names other files than a model has.
    """
    manifest = read_versioned(path, ModelManifest)
    # Nothing outside the folder is opened, and nothing in it without its digest.
    wanted = FILES | {VECTORS if manifest.dim is not None else ITEM_GRAPH}
    if not wanted <= set(manifest.files) <= wanted | {ITEM_GRAPH, PARTS, FEATURES}:
        raise InputError(f"{path}: files: expected the digests of {', '.join(sorted(wanted))}")
    return manifest


def write_ids(ids: list[str], column: str, path: Path) -> None:
    """Original ids in row order, as the only column of a Parquet file."""
    pl.DataFrame({column: ids}, schema={column: pl.String}).write_parquet(path)


def write_tensors(tensors: dict[str, Tensor], path: Path) -> None:
    """Tensors by name, as safetensors."""
    save_file({name: each.detach().cpu().contiguous() for name, each in tensors.items()}, path)


def part_tensors(parts: dict[str, TwoSided]) -> dict[str, Tensor]:
    """``<modality>.user`` (U, d) and ``<modality>.item`` (I, d)."""
    users = {f"{m}.user": part.user for m, part in parts.items()}
    return users | {f"{m}.item": part.item for m, part in parts.items()}


def feature_tensors(features: dict[str, ItemFeatures]) -> dict[str, Tensor]:
    """``<modality>.vectors`` (I, dim) and ``<modality>.present`` (I,)."""
    vectors = {f"{m}.vectors": torch.from_numpy(f.vectors) for m, f in features.items()}
    return vectors | {f"{m}.present": torch.from_numpy(f.present) for m, f in features.items()}


def grown(matrix: csr_array, shape: tuple[int, int]) -> csr_array:
    """A copy of a matrix with empty rows and columns behind its own."""
    larger = csr_array(matrix, copy=True)
    larger.resize(shape)
    return larger


def weighted_graph_tensors(graph: csr_array) -> dict[str, Tensor]:
    """The pattern of a graph as ``csr_tensors`` has it, and ``graph.weight``, float32."""
    weights = torch.from_numpy(graph.data.astype(np.float32))
    return csr_tensors({"graph": graph}) | {"graph.weight": weights}


def read_weighted_graph(tensors: dict[str, Tensor], items: int) -> csr_array:
    """The inverse of ``weighted_graph_tensors``: (items, items).

    Raises:
        ValueError: offsets, columns or weights do not fit.
    """
    graph = csr_arrays(tensors, (items, items))["graph"]
    graph.data = tensors["graph.weight"].numpy()
    if len(graph.data) != len(graph.indices):
        raise ValueError("the item graph has not as many weights as edges")
    return graph
