"""A fitted transform: what it makes of a vector, and how it is kept beside the features it made.

The numbers are in ``transform.safetensors`` in the store's folder, the parameters and the digest
of the numbers in the store's manifest, under ``fingerprint.transform``.
"""

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from extract.errors import InputError
from extract.files import write_bytes
from extract.store import FeatureStore

Method: TypeAlias = Literal["pca", "whitening", "normalise", "center"]
METHODS: tuple[Method, ...] = get_args(Method)

FILE = "transform.safetensors"
# Rows that are in memory as float64 at once.
_ROWS = 4096


@dataclass(frozen=True)
class FittedTransform:
    """y = ((x - mean) components^T) * scale, or x / ||x||, or some columns of x.

    Attributes:
        kind: a method, or "layer", which picks columns.
        parameters: JSON; what the person chose, and how much it was fitted on.
        input_dim: length of the vectors that go in.
        dim: length of the vectors that come out.
        input_space: the space of the vectors that it was made for.
        tensors: float64; ``mean`` (input_dim,), ``components`` (dim, input_dim) of orthonormal
            rows, ``explained_variance`` (dim,) and ``scale`` (dim,), as far as the method has them.
        columns: of a layer, the first column and the one behind the last.
    """

    kind: Method | Literal["layer"]
    parameters: dict[str, Any]
    input_dim: int
    dim: int
    input_space: str
    tensors: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    columns: tuple[int, int] | None = None

    @property
    def label(self) -> str:
        """In short, as ``pca:64``."""
        if self.kind == "layer":
            return f"layer:{self.parameters['layer']}"
        return f"{self.kind}:{self.dim}" if self.kind in ("pca", "whitening") else self.kind

    @property
    def description(self) -> dict[str, Any]:
        """Whatever decides the vectors, as JSON, for ``fingerprint.transform``."""
        return {
            "method": self.kind,
            **self.parameters,
            "input_dim": self.input_dim,
            "input_space": self.input_space,
            "dim": self.dim,
            "columns": list(self.columns) if self.columns else None,
            "sha256": hashlib.sha256(self.file_bytes()).hexdigest() if self.tensors else None,
        }

    @property
    def space(self) -> str:
        """The space of the vectors that come out: equal exactly where the transform is."""
        text = json.dumps(self.description, sort_keys=True)
        return f"{self.input_space} + {self.label}#{hashlib.sha256(text.encode()).hexdigest()[:12]}"

    def apply(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Transform vectors (n, input_dim) float32 into (n, dim) float32; computed in float64.

        A vector of zeros has no direction: normalised it stays zero.

        Raises:
            InputError: a result is beyond float32.
        """
        if self.columns is not None:
            return np.ascontiguousarray(vectors[:, slice(*self.columns)])
        out = np.empty((len(vectors), self.dim), dtype=np.float32)
        for start in range(0, len(vectors), _ROWS):
            rows = vectors[start : start + _ROWS].astype(np.float64)
            if self.kind == "normalise":
                lengths = np.linalg.norm(rows, axis=1, keepdims=True)
                rows /= np.where(lengths > 0, lengths, 1)
            else:
                rows -= self.tensors["mean"]
            if "components" in self.tensors:
                rows = rows @ self.tensors["components"].T
            if "scale" in self.tensors:
                rows *= self.tensors["scale"]
            with np.errstate(over="ignore"):
                out[start : start + _ROWS] = rows
        if not np.isfinite(out).all():
            raise InputError(
                f"{self.label}: a transformed vector is beyond what float32 holds; choose a smaller"
                " --dim, or for whitening a larger --shrinkage"
            )
        return out

    def file_bytes(self) -> bytes:
        """The content of ``transform.safetensors``."""
        from safetensors.numpy import save

        return bytes(save(self.tensors))

    def write(self, store: FeatureStore) -> None:
        """Keep the numbers in the folder of the store that they made; nothing for one without.

        Raises:
            InputError: the folder cannot be written.
        """
        if self.tensors:
            write_bytes(store.path / FILE, self.file_bytes())

    @classmethod
    def of_store(cls, store: FeatureStore) -> "FittedTransform":
        """The transform that made a store.

        Raises:
            InputError: the store came from an encoder, or the transform in it is damaged.
        """
        said = store.manifest.fingerprint.get("transform")
        if not isinstance(said, dict) or "source" not in store.manifest.fingerprint:
            raise InputError(
                f"{store.path}: was not made by `features transform`: it holds no fitted transform"
            )
        path = store.path / FILE
        try:
            columns, digest = said["columns"], said["sha256"]
            fixed = ("method", "input_dim", "input_space", "dim", "columns", "sha256")
            made = cls(
                kind=said["method"],
                parameters={key: said[key] for key in said if key not in fixed},
                input_dim=said["input_dim"],
                dim=said["dim"],
                input_space=said["input_space"],
                tensors=_read(path, digest) if digest is not None else {},
                columns=(columns[0], columns[1]) if columns else None,
            )
            whole = made.space == store.manifest.space
        except (KeyError, TypeError, IndexError, ValueError):
            whole = False
        if not whole:
            raise InputError(
                f"{store.path}: the transform in its manifest is not one of this version, or"
                " damaged; make the store anew"
            )
        return made


def _read(path: Any, digest: str) -> dict[str, NDArray[np.float64]]:
    from safetensors.numpy import load

    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: not readable ({error.strerror})") from None
    if hashlib.sha256(data).hexdigest() != digest:
        raise InputError(
            f"{path}: damaged (it does not match the digest in the manifest); make the store anew"
        )
    return dict(load(data))
