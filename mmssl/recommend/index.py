"""Search for the items of largest inner product with a vector, exact or approximate, by FAISS."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from extract.errors import InputError, missing_extra
from extract.files import atomic_folder, sha256_file, write_json
from mmssl.recommend.manifests import read_versioned, require_whole

IndexKind = Literal["flat", "hnsw", "ivf"]

# Up to here a scan of all items takes under half a millisecond a query, and is exact.
_FLAT_ITEMS = 50_000
# HNSW finds more per millisecond than IVF, but its graph takes 256 bytes an item beside the vectors
# and is built ten times as slowly; beyond this, minutes become hours.
_HNSW_ITEMS = 2_000_000
_LINKS, _BUILD_BREADTH, _SEARCH_BREADTH = 32, 200, 256
# IVF looks at an eighth of its cells: items of long vectors are spread over all of them.
_PROBED = 8
# Fewer vectors a cell than this, and k-means has too little to go by.
_ITEMS_PER_CELL = 39

_INDEX, _IDS, _MANIFEST = "index.faiss", "item_ids.parquet", "index.json"


class _Manifest(BaseModel):
    """``index.json``: what the index is, and the digests of the files beside it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1]
    kind: IndexKind
    items: int
    dim: int
    vectors_digest: str
    files: dict[str, str]


@dataclass(frozen=True, eq=False)
class VectorIndex:
    """The vectors of I items, laid out so that those with the largest inner products are found.

    With one thread, building and searching give the same every time; HNSW built by several threads
    does not.
    """

    kind: IndexKind
    """``flat`` (exact), ``hnsw`` (a graph of neighbours) or ``ivf`` (cells of a k-means)."""
    item_ids: list[str] | None
    """Original ids in row order, I of them; None where the index was built without."""
    vectors_digest: str
    """``digest_of`` the vectors that it holds: tells whether it belongs to a model."""
    threads: int
    _index: Any

    @classmethod
    def build(
        cls,
        item_vectors: NDArray[np.float32],
        kind: IndexKind | Literal["auto"] = "auto",
        threads: int = 1,
        item_ids: Sequence[str] | None = None,
    ) -> Self:
        """Index the vectors.

        HNSW is built for inner products as they are. Adding a coordinate that makes all vectors
        equally long, so that the nearest by distance is the largest by inner product, is exact too,
        but finds far less: see docs/guides/vectors.md.

        Args:
            item_vectors: (I, d) float32, finite.
            kind: ``auto`` takes flat up to 50,000 items, HNSW up to 2 million, IVF above.
            threads: for building and, later, for searching.
            item_ids: original ids in row order.

        Raises:
            InputError: the extra ``index`` is not installed.
            ValueError: no items, vectors of another shape or type, NaN, or not as many ids.
        """
        faiss = _faiss()
        vectors = _checked(item_vectors)
        if item_ids is not None and len(item_ids) != len(vectors):
            raise ValueError(f"{len(item_ids)} ids for {len(vectors)} vectors")
        chosen = kind_for(len(vectors)) if kind == "auto" else kind
        dim, product = vectors.shape[1], faiss.METRIC_INNER_PRODUCT
        with _using_threads(threads):
            if chosen == "flat":
                index = faiss.IndexFlatIP(dim)
            elif chosen == "hnsw":
                index = faiss.IndexHNSWFlat(dim, _LINKS, product)
                index.hnsw.efConstruction = _BUILD_BREADTH
            else:
                cells = min(int(4 * len(vectors) ** 0.5), len(vectors) // _ITEMS_PER_CELL)
                quantiser = faiss.IndexFlatIP(dim)
                index = faiss.IndexIVFFlat(quantiser, dim, max(1, cells), product)
                index.cp.min_points_per_centroid = 1  # no warnings of few items
                index.train(vectors)
            index.add(vectors)
        ids = None if item_ids is None else list(item_ids)
        return cls(chosen, ids, digest_of(vectors), threads, index)

    @property
    def items(self) -> int:
        """How many items it holds, I."""
        return int(self._index.ntotal)

    @property
    def dim(self) -> int:
        """Length of their vectors, d."""
        return int(self._index.d)

    def search(
        self, queries: NDArray[np.float32], k: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The k items of largest inner product with each query, largest first.

        Args:
            queries: (n, d) float32, finite.
            k: at least 1.

        Returns:
            (n, k) float32 inner products, -inf where fewer items were found, and (n, k) int64 item
            rows, -1 there. Which of several equal scores comes first is left open.

        Raises:
            ValueError: queries of another shape or type, NaN, or k below 1.
        """
        if k < 1:
            raise ValueError(f"k is {k}; a list has at least 1 item")
        wanted = _checked(queries, self.dim)
        found = min(k, self.items)
        with _using_threads(self.threads):
            scores, items = self._index.search(wanted, found, params=self._parameters(found))
        behind = ((0, 0), (0, k - found))
        items = np.pad(items.astype(np.int64), behind, constant_values=-1)
        scores = np.pad(scores, behind, constant_values=-np.inf)
        scores[items < 0] = -np.inf
        return scores, items

    def recall(self, queries: NDArray[np.float32], k: int) -> float:
        """The share of each query's k best items, by exact search, that the index finds: the mean.

        An item that scores as high as the k-th best counts, whichever of several equal ones it is.

        Args:
            queries: (n, d) float32, at least one.
            k: list length; of fewer items, all are wanted.
        """
        k = min(k, self.items)
        vectors = self._index.reconstruct_n(0, self.items)
        with _using_threads(self.threads):
            best, _ = _faiss().knn(
                _checked(queries, self.dim), vectors, k, metric=_faiss().METRIC_INNER_PRODUCT
            )
        scores, _ = self.search(queries, k)
        # The two searches round differently.
        least = best[:, -1:] - 1e-5 * np.abs(best).max(axis=1, keepdims=True)
        return float((scores >= least).mean())

    def save(self, folder: Path) -> None:
        """Write ``index.faiss``, ``index.json`` and, where there are any, ``item_ids.parquet``.

        Raises:
            InputError: the folder cannot be written.
        """
        with atomic_folder(folder) as new:
            _faiss().write_index(self._index, str(new / _INDEX))
            if self.item_ids is not None:
                ids = pl.DataFrame({"item_id": self.item_ids}, schema={"item_id": pl.String})
                ids.write_parquet(new / _IDS)
            manifest = _Manifest(
                schema_version=1,
                kind=self.kind,
                items=self.items,
                dim=self.dim,
                vectors_digest=self.vectors_digest,
                files={path.name: sha256_file(path) for path in sorted(new.iterdir())},
            )
            write_json(new / _MANIFEST, manifest.model_dump(mode="json"))

    @classmethod
    def load(cls, folder: Path, threads: int = 1) -> Self:
        """Read what ``save`` wrote; no file is opened by FAISS before its digest was compared.

        A digest tells damage, not intent: load indexes that you or yours have built.

        Raises:
            InputError: the extra ``index`` is not installed; no index there; or its files are
                missing, changed, or do not fit together.
        """
        faiss = _faiss()
        manifest = _read_manifest(folder / _MANIFEST)
        anew = "build the index anew"
        require_whole(folder, manifest.files, anew, f"; {anew}")
        try:
            index = faiss.read_index(str(folder / _INDEX))
        except RuntimeError:
            raise InputError(f"{folder / _INDEX}: no FAISS index; build it anew") from None
        kinds = {"flat": faiss.IndexFlat, "hnsw": faiss.IndexHNSWFlat, "ivf": faiss.IndexIVFFlat}
        ids = None
        if _IDS in manifest.files:
            ids = pl.read_parquet(folder / _IDS)["item_id"].to_list()
        fits = (
            isinstance(index, kinds[manifest.kind])
            and (index.ntotal, index.d) == (manifest.items, manifest.dim)
            and index.metric_type == faiss.METRIC_INNER_PRODUCT
            and (ids is None or len(ids) == manifest.items)
        )
        if not fits:
            raise InputError(f"{folder}: not what {_MANIFEST} says; build the index anew")
        return cls(manifest.kind, ids, manifest.vectors_digest, threads, index)

    def _parameters(self, k: int) -> Any:
        faiss = _faiss()
        if self.kind == "hnsw":
            return faiss.SearchParametersHNSW(efSearch=max(_SEARCH_BREADTH, 2 * k))
        if self.kind == "ivf":
            return faiss.SearchParametersIVF(nprobe=-(-self._index.nlist // _PROBED))
        return None


def kind_for(items: int) -> IndexKind:
    """What ``auto`` takes for so many items."""
    if items <= _FLAT_ITEMS:
        return "flat"
    return "hnsw" if items <= _HNSW_ITEMS else "ivf"


def digest_of(vectors: NDArray[np.float32]) -> str:
    """The SHA-256 of an (n, d) float32 matrix's numbers, as hexadecimal digits."""
    return hashlib.sha256(np.ascontiguousarray(vectors).data).hexdigest()


def _faiss() -> Any:
    try:
        import faiss
    except ImportError:
        raise missing_extra("index", "an index of vectors") from None
    return faiss


@contextmanager
def _using_threads(count: int) -> Iterator[None]:
    # FAISS has one number for the whole process.
    faiss = _faiss()
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(count)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def _checked(vectors: NDArray[np.float32], dim: int | None = None) -> NDArray[np.float32]:
    if vectors.ndim != 2 or 0 in vectors.shape or dim not in (None, vectors.shape[1]):
        raise ValueError(f"vectors are {vectors.shape}, not (n, {dim or 'd'})")
    if vectors.dtype != np.float32:
        raise ValueError(f"vectors are {vectors.dtype}, not float32")
    if not bool(np.isfinite(vectors).all()):
        raise ValueError("vectors hold NaN or infinite values")
    checked: NDArray[np.float32] = np.ascontiguousarray(vectors)
    return checked


def _read_manifest(path: Path) -> _Manifest:
    if not path.is_file():
        raise InputError(f"{path.parent}: no index here (no {path.name})")
    manifest = read_versioned(path, _Manifest)
    # Nothing outside the folder is opened, and nothing in it without its digest.
    if not {_INDEX} <= set(manifest.files) <= {_INDEX, _IDS}:
        raise InputError(f"{path}: files: expected the digests of {_INDEX} and {_IDS}")
    return manifest
