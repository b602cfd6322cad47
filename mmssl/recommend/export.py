"""A model's vectors as files for other programs, with original ids, digests and how to score."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from safetensors.numpy import save_file

from extract.errors import InputError
from extract.files import atomic_folder, read_json, sha256_file, write_json
from extract.versions import installed_versions
from mmssl.recommend.index import IndexKind, VectorIndex
from mmssl.recommend.model_folder import SavedModel
from mmssl.recommend.vectors import model_vectors, sample_queries

VectorFormat = Literal["npy", "parquet", "safetensors"]

RECALL_AT, RECALL_USERS, RECALL_SEED = 20, 1000, 0
_MANIFEST, _KIND = "manifest.json", "mmssl vectors"
_ROWS_PER_GROUP = 2**16
_LIBRARIES = ("mmssl-toolkit", "numpy", "polars", "pyarrow", "safetensors", "faiss-cpu")


@dataclass(frozen=True)
class ExportReport:
    """What ``export_vectors`` wrote, in words and numbers."""

    folder: Path
    manifest: dict[str, Any]
    """``manifest.json``."""

    def lines(self) -> list[str]:
        """The report as lines of text for people."""
        told = self.manifest
        lines = [
            f"{self.folder}: vectors of users {told['users']:,}, items {told['items']:,},"
            f" {told['dim']} numbers each, as {told['format']}",
            f"score: {told['score']}",
        ]
        if told["untrained_users"]:
            lines.append(
                f"users without a training interaction: {told['untrained_users']:,} (column"
                " trained); their vectors mean nothing, `recommend` gives them popular items"
            )
        if index := told["index"]:
            lines.append(
                f"index: {index['kind']}, recall@{index['k']} {index['recall']:.4f} against exact"
                f" search, for the vectors of {index['users']:,} users"
            )
        return lines


def export_vectors(
    model: SavedModel,
    out: Path,
    format: VectorFormat = "parquet",
    *,
    index: IndexKind | Literal["auto"] | None = None,
    threads: int = 1,
    vectors_only: bool = False,
) -> ExportReport:
    """Write the vectors of users and items as a folder that appears whole.

    ``users.parquet`` and ``items.parquet`` hold, in row order, ``id`` (string), ``trained``
    (whether it has a training interaction) and, as ``parquet``, ``vector`` (a fixed-size list of d
    float32); as ``npy`` the vectors are ``users.npy`` and ``items.npy``, as ``safetensors`` the
    tensors ``user`` and ``item`` of ``vectors.safetensors``. ``manifest.json`` has the SHA-256 of
    every file and says how to score; ``index/`` is a ``VectorIndex``.

    Args:
        model: the model.
        out: the folder; one that an export made is replaced, another that holds anything is not.
        format: of the vectors.
        index: also index the items' vectors, and measure recall@20 for users drawn at random.
        threads: for building and measuring the index.
        vectors_only: as ``mmssl.recommend.vectors.model_vectors``.

    Raises:
        InputError: the model's score is not made of vectors, something else stands at ``out``, it
            cannot be written, or ``index`` without the extra of that name.
    """
    users, items = model_vectors(model, vectors_only=vectors_only)
    _require_free(out)
    item_graph = model.item_graph is not None
    score = "the inner product of a user's and an item's vector"
    if item_graph:
        score += "; the model itself adds what a graph of items says, which is not in this folder"
    trained = {
        "users": np.diff(model.train.indptr) > 0,
        "items": np.bincount(model.train.indices, minlength=len(items)) > 0,
    }
    with atomic_folder(out) as new:
        for side, ids, vectors in (
            ("users", model.user_ids, users),
            ("items", model.item_ids, items),
        ):
            if format == "npy":
                np.save(new / f"{side}.npy", vectors, allow_pickle=False)
            inline = vectors if format == "parquet" else None
            _write_rows(new / f"{side}.parquet", ids, trained[side], inline)
        if format == "safetensors":
            tensors = {"user": users, "item": items}
            save_file(
                {name: np.ascontiguousarray(each) for name, each in tensors.items()},
                new / "vectors.safetensors",
            )
        indexed = None
        if index is not None:
            built = VectorIndex.build(items, index, threads, model.item_ids)
            built.save(new / "index")
            indexed = _measured(built, sample_queries(model, RECALL_USERS, RECALL_SEED))
        files = sorted(path for path in new.rglob("*") if path.is_file())
        manifest = {
            "schema_version": 1,
            "what": _KIND,
            "format": format,
            "model": {
                "name": model.info.name,
                "variant": model.info.variant,
                "seed": model.info.seed,
                "epoch": model.info.best_epoch,
                "data": model.info.data,
                "data_digest": model.info.data_digest,
            },
            "users": len(users),
            "items": len(items),
            "dim": users.shape[1],
            "score": score,
            "whole_score": not item_graph,
            "untrained_users": int((~trained["users"]).sum()),
            "untrained_items": int((~trained["items"]).sum()),
            "index": indexed,
            "libraries": installed_versions(_LIBRARIES),
            "files": {path.relative_to(new).as_posix(): sha256_file(path) for path in files},
        }
        write_json(new / _MANIFEST, manifest)
    return ExportReport(out, manifest)


def _measured(index: VectorIndex, queries: NDArray[np.float32]) -> dict[str, Any]:
    k = min(RECALL_AT, index.items)
    recall = index.recall(queries, k)
    return {
        "kind": index.kind,
        "recall": recall,
        "k": k,
        "users": len(queries),
        "seed": RECALL_SEED,
    }


def _require_free(out: Path) -> None:
    if not out.exists():
        return
    if not out.is_dir():
        raise InputError(f"--out {out}: a file stands where the folder should be; name another")
    if not any(out.iterdir()):
        return
    manifest = read_json(out / _MANIFEST) if (out / _MANIFEST).is_file() else None
    if not isinstance(manifest, dict) or manifest.get("what") != _KIND:
        raise InputError(
            f"--out {out}: the folder holds something other than exported vectors and is left as it"
            " is; name another"
        )


def _write_rows(
    path: Path,
    ids: Sequence[str],
    trained: NDArray[np.bool_],
    vectors: NDArray[np.float32] | None,
) -> None:
    """Write ids and, where they are to stand beside them, vectors, a row group at a time."""
    fields = [
        pa.field("id", pa.string(), nullable=False),
        pa.field("trained", pa.bool_(), nullable=False),
    ]
    if vectors is not None:
        kind = pa.list_(pa.float32(), vectors.shape[1])
        fields.insert(1, pa.field("vector", kind, nullable=False))
    schema = pa.schema(fields)
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, max(len(ids), 1), _ROWS_PER_GROUP):
            rows = slice(start, start + _ROWS_PER_GROUP)
            columns = {
                "id": pl.Series(ids[rows], dtype=pl.String).to_arrow().cast(pa.string()),
                "trained": pa.array(trained[rows]),
            }
            if vectors is not None:
                flat = pa.array(vectors[rows].reshape(-1))
                columns["vector"] = pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])
            writer.write_table(
                pa.Table.from_arrays([columns[name] for name in schema.names], schema=schema)
            )
