"""Features of one modality as people bring them: a feature store, or a ready .npy."""

import tokenize
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from extract.errors import InputError
from extract.files import sha256_file
from extract.locations import Location
from extract.tables import read_id_lines
from mmssl.data.ids import IdMap

# What numpy lets through of Python's own parser, which reads the header.
_BAD_HEADER = (SyntaxError, TypeError, RecursionError, tokenize.TokenError)


@dataclass(frozen=True)
class SourceFeatures:
    """The vectors of one source with the ids of their rows.

    ``vectors``: float32 (n, dim), zeros where absent. ``present``: bool (n,). ``encoder``: the URI
    of the encoder that made them, None when unknown. ``digest``: SHA-256 of the source.
    """

    ids: list[str]
    vectors: npt.NDArray[np.float32]
    present: npt.NDArray[np.bool_]
    encoder: str | None
    digest: str

    def aligned(self, item_ids: IdMap) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
        """Vectors (I, dim) and present (I,) in the rows of ``item_ids``, joined by item id.

        Items that the source does not know are absent; ids that ``item_ids`` does not know are left
        out.
        """
        vectors = np.zeros((len(item_ids), self.vectors.shape[1]), dtype=np.float32)
        present = np.zeros(len(item_ids), dtype=np.bool_)
        known = np.fromiter((id_ in item_ids for id_ in self.ids), np.bool_, len(self.ids))
        rows = item_ids.rows(id_ for id_, there in zip(self.ids, known, strict=True) if there)
        vectors[rows] = self.vectors[known]
        present[rows] = self.present[known]
        return vectors, present


def read_features(path: Location, feature_ids: Path | None = None) -> SourceFeatures:
    """Read a feature store (a folder) or a ready ``.npy`` of shape (n, dim).

    Args:
        path: the folder or file; of a store also its URL. Beside a ``.npy``, ``<stem>.mask.npy``,
            bool (n,), says which rows are real vectors, as ``features export`` writes it.
        feature_ids: for a ``.npy``, a UTF-8 text file whose line r is the item id of row r; without
            it that is ``<stem>.ids.txt``, where it is there, else row r is item id ``str(r)``. A
            store carries its own ids.

    Raises:
        InputError: the path is neither; the array is broken, not a matrix of real numbers, or has
            another number of rows than there are ids, or the mask values; the store is incomplete
            or damaged.
    """
    if not isinstance(path, Path) or path.is_dir():
        if feature_ids is not None:
            raise InputError(f"{path}: a feature store has its own ids; leave out --feature-ids")
        return _read_store(path)
    if not path.exists():
        raise InputError(f"{path}: no such file or folder; features are a feature store or a .npy")
    if path.suffix.lower() != ".npy":
        raise InputError(f"{path}: features are a feature store (a folder) or a .npy file")
    array = _load_matrix(path)
    ids = [str(row) for row in range(len(array))]
    digest = sha256_file(path)
    beside = path.with_suffix(".ids.txt")
    if feature_ids is None and beside.is_file():
        feature_ids = beside
    if feature_ids is not None:
        ids = read_row_ids(feature_ids)
        if len(ids) != len(array):
            raise InputError(
                f"{path} has {len(array)} rows, but {feature_ids} has {len(ids)} ids: one id a row"
                " is needed"
            )
    # Cast first: float16 sums overflow, and a float64 beyond float32's range becomes infinite here.
    with np.errstate(over="ignore"):
        vectors = array.astype(np.float32, copy=False)
    source = _source(ids, vectors, None, digest)
    mask = path.with_suffix(".mask.npy")
    return _masked(source, path, mask) if mask.is_file() else source


def _masked(source: SourceFeatures, path: Path, mask: Path) -> SourceFeatures:
    """Without the rows that a mask says are none."""
    real = load_npy(mask)
    if real.dtype != np.bool_ or real.shape != source.present.shape:
        raise InputError(
            f"{mask}: wants one bool for each of the {len(source.ids)} rows of {path.name}"
        )
    present = source.present & real
    source.vectors[~present] = 0
    return replace(source, present=present)


def _source(
    ids: list[str], vectors: npt.NDArray[np.float32], encoder: str | None, digest: str
) -> SourceFeatures:
    """A row with a NaN or an infinite value, as a store has where a medium failed, is absent."""
    present = np.asarray(np.isfinite(vectors).all(axis=1), dtype=np.bool_)
    vectors[~present] = 0
    return SourceFeatures(ids, vectors, present, encoder, digest)


def _read_store(path: Location) -> SourceFeatures:
    # Imported here: a ready .npy does without it.
    from extract.store import FeatureStore

    store = FeatureStore.open(path)
    loaded = store.load()
    return _source(loaded.ids, loaded.vectors, store.manifest.encoder, store.digest())


def load_npy(path: Path) -> npt.NDArray[Any]:
    """An array from a ``.npy``, of whatever shape; never unpickles.

    Raises:
        InputError: no such file, or not readable as such.
    """
    try:
        with path.open("rb") as file:
            array: npt.NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (ValueError, OSError, EOFError, MemoryError, OverflowError, *_BAD_HEADER) as error:
        raise InputError(f"{path}: not readable as .npy ({' '.join(str(error).split())})") from None
    return array


def _load_matrix(path: Path) -> npt.NDArray[Any]:
    array = load_npy(path)
    if array.ndim != 2 or 0 in array.shape:
        raise InputError(f"{path}: must be a matrix, one row an item; its shape is {array.shape}")
    if array.dtype.kind not in "fiu":
        raise InputError(f"{path}: must hold real numbers; it holds {array.dtype}")
    return array


def read_row_ids(path: Path, kind: str = "item") -> list[str]:
    """The ids of a matrix's rows, one a line.

    Args:
        path: UTF-8 text.
        kind: what they name, for messages.

    Raises:
        InputError: not such a file, an empty line, or an id twice; the message names the line.
    """
    ids = read_id_lines(path)
    line_of: dict[str, int] = {}
    for line, id_ in enumerate(ids, start=1):
        if not id_.strip():
            raise InputError(f"{path}, line {line}: the {kind} id is empty")
        if line_of.setdefault(id_, line) != line:
            raise InputError(f"{path}: {kind} id '{id_}' stands in lines {line_of[id_]} and {line}")
    return ids
