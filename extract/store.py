"""FeatureStore: the vectors of one modality on disk, in parts that are whole or absent.

``manifest.json`` is written once, before any part. Part k holds the table's rows [k n, (k + 1) n):
``part-k.npy`` (rows x dim float32, NaN where the status is not ok), ``part-k.parquet`` (id, status,
reason, digest) and, written last, ``part-k.json`` with the digests of the two. A part is whole
exactly when its JSON is there and the digests hold, so nothing needs to be renamed, and several
writers may work on different parts of one store.
"""

import hashlib
import io
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import ValidationError

from extract.errors import InputError
from extract.files import read_json, write_json
from extract.manifest import StoreManifest

Status: TypeAlias = Literal["ok", "failed", "missing"]

STATUS_SCHEMA = {"id": pl.String, "status": pl.String, "reason": pl.String, "digest": pl.String}

# A kill while the manifest was being written leaves its temporary file.
_LEFTOVER = re.compile(r"\.manifest\.json\..*\.tmp")
# Beside its own, what `features transform` keeps: the fitted transform.
_TRANSFORM = r"transform\.safetensors|\.transform\.safetensors\..*\.tmp"
_OWN_FILES = re.compile(
    rf"part-\d+\.(npy|parquet|json)|manifest\.json|{_LEFTOVER.pattern}|{_TRANSFORM}"
)


@dataclass(frozen=True)
class Part:
    """One part in memory."""

    vectors: NDArray[np.float32]
    """(rows, dim), NaN where the status is not ok."""
    statuses: pl.DataFrame
    """A row an item, columns as ``STATUS_SCHEMA``: status is ok, failed or missing; reason is null
    where ok; digest is the SHA-256 of the raw content, null where none was read."""


@dataclass(frozen=True)
class LoadedFeatures:
    """A whole store in memory, in the item table's order."""

    ids: list[str]
    vectors: NDArray[np.float32]
    """(n, dim), NaN where absent."""
    present: NDArray[np.bool_]
    """(n,)"""


class FeatureStore:
    """One store; ``open`` an existing one or ``create`` a new one."""

    def __init__(self, path: Path, manifest: StoreManifest) -> None:
        """For ``open`` and ``create``: nothing is read or written here."""
        self.path = path
        self.manifest = manifest

    @classmethod
    def open(cls, path: str | Path) -> "FeatureStore":
        """Open a store for reading or for going on.

        Raises:
            InputError: there is no store, or its manifest is not one this version reads.
        """
        path = Path(path)
        if not (path / "manifest.json").is_file():
            raise InputError(f"{path}: no feature store here (no manifest.json)")
        try:
            return cls(path, StoreManifest.model_validate(read_json(path / "manifest.json")))
        except ValidationError as error:
            problem = error.errors()[0]
            where = ".".join(str(part) for part in problem["loc"]) or "the whole"
            raise InputError(
                f"{path / 'manifest.json'}: not the manifest of a feature store of this version"
                f" ({where}: {problem['msg']})"
            ) from None

    @classmethod
    def create(cls, path: Path, manifest: StoreManifest) -> "FeatureStore":
        """Begin a store in a folder that is absent or empty.

        Raises:
            InputError: ``path`` is a file, or a folder that holds anything else, or not writable.
        """
        check_free(path)
        return cls._begin(path, manifest)

    def begin_anew(self, manifest: StoreManifest) -> "FeatureStore":
        """Delete the files that this store wrote, and no others, and begin one in their place.

        Raises:
            InputError: a file cannot be deleted or written.
        """
        # The manifest goes last: a kill in between leaves a store that can be replaced again.
        own = [file for file in self.path.iterdir() if _OWN_FILES.fullmatch(file.name)]
        try:
            for file in sorted(own, key=lambda file: file.name == "manifest.json"):
                file.unlink()
        except OSError as error:
            raise InputError(f"{self.path}: cannot be removed ({error.strerror})") from None
        return self._begin(self.path, manifest)

    @classmethod
    def _begin(cls, path: Path, manifest: StoreManifest) -> "FeatureStore":
        try:
            write_json(path / "manifest.json", manifest.model_dump(mode="json"))
        except OSError as error:
            raise InputError(f"{path}: cannot be written ({error.strerror})") from None
        return cls(path, manifest)

    @property
    def part_count(self) -> int:
        """How many parts a complete store has."""
        return -(-self.manifest.items // self.manifest.rows_per_part)

    def part_rows(self, part: int) -> range:
        """The table's rows that a part holds."""
        start = part * self.manifest.rows_per_part
        return range(start, min(start + self.manifest.rows_per_part, self.manifest.items))

    @property
    def is_complete(self) -> bool:
        """Whether every part has been finished; ``verify`` also compares the digests."""
        return all(self._record(part) is not None for part in range(self.part_count))

    @property
    def has_finished_parts(self) -> bool:
        """Whether any part has been finished, so that there is something to lose."""
        return any(self._record(part) is not None for part in range(self.part_count))

    def verify(self) -> list[int]:
        """The parts that are absent or torn: all bytes are read and compared with their digests."""
        return [part for part in range(self.part_count) if not self._is_whole(part)]

    def ids(self) -> list[str]:
        """Item ids in the table's order.

        Raises:
            InputError: the store is incomplete or damaged.
        """
        return [str(name) for name in self.statuses()["id"]]

    def statuses(self) -> pl.DataFrame:
        """Columns id, status (ok, failed, missing), reason, digest; in the table's order.

        Raises:
            InputError: the store is incomplete or damaged.
        """
        self._require_complete()
        return pl.concat([self.part_statuses(part) for part in range(self.part_count)])

    def part_statuses(self, part: int) -> pl.DataFrame:
        """The rows of ``statuses`` that belong to one finished part.

        Raises:
            InputError: the part is absent or damaged.
        """
        return pl.read_parquet(self._read(part, "parquet"))

    def load(self) -> LoadedFeatures:
        """All vectors, read part by part and checked against their digests.

        Raises:
            InputError: the store is incomplete or damaged.
        """
        self._require_complete()
        vectors = np.empty((self.manifest.items, self.manifest.dim), dtype=np.float32)
        for part in range(self.part_count):
            rows = self.part_rows(part)
            vectors[rows.start : rows.stop] = self.part_vectors(part)
        statuses = self.statuses()
        return LoadedFeatures(
            ids=[str(name) for name in statuses["id"]],
            vectors=vectors,
            present=(statuses["status"] == "ok").to_numpy(),
        )

    def digest(self) -> str:
        """SHA-256 over the manifest and the parts' JSON files, which hold digests of all the rest.

        Raises:
            InputError: the store is incomplete.
        """
        self._require_complete()
        digest = hashlib.sha256((self.path / "manifest.json").read_bytes())
        for part in range(self.part_count):
            digest.update(self._file(part, "json").read_bytes())
        return digest.hexdigest()

    def write_part(self, part: int, content: Part) -> None:
        """Write a part; on return it is on the disk and whole.

        Raises:
            InputError: the disk is full, or the folder cannot be written.
        """
        vectors, statuses = io.BytesIO(), io.BytesIO()
        np.save(vectors, content.vectors, allow_pickle=False)
        content.statuses.write_parquet(statuses)
        record = {
            "rows": content.statuses.height,
            "npy": hashlib.sha256(vectors.getbuffer()).hexdigest(),
            "parquet": hashlib.sha256(statuses.getbuffer()).hexdigest(),
        }
        try:
            _write_synced(self._file(part, "npy"), vectors.getbuffer())
            _write_synced(self._file(part, "parquet"), statuses.getbuffer())
            _write_synced(self._file(part, "json"), json.dumps(record).encode() + b"\n")
        except OSError as error:
            raise InputError(
                f"{self.path}: part {part} could not be written ({error.strerror}); the finished"
                " parts are kept: mend this and run the same command again"
            ) from None

    def _file(self, part: int, kind: str) -> Path:
        return self.path / f"part-{part}.{kind}"

    def _record(self, part: int) -> dict[str, Any] | None:
        """What ``part-k.json`` says; None if it is absent or torn."""
        try:
            record = json.loads(self._file(part, "json").read_bytes())
        except (OSError, ValueError):
            return None
        if not isinstance(record, dict) or not {"rows", "npy", "parquet"} <= record.keys():
            return None
        return record if record["rows"] == len(self.part_rows(part)) else None

    def _read(self, part: int, kind: Literal["npy", "parquet"]) -> io.BytesIO:
        """One file of a part, its digest checked."""
        record, file = self._record(part), self._file(part, kind)
        try:
            data = file.read_bytes()
        except OSError:
            data = None
        if record is None or data is None or hashlib.sha256(data).hexdigest() != record[kind]:
            raise InputError(
                f"{file}: missing or damaged (it does not match the digest in part-{part}.json);"
                " run the same extraction again to make this part anew"
            )
        return io.BytesIO(data)

    def part_vectors(self, part: int) -> NDArray[np.float32]:
        """The vectors of one finished part: (rows, dim) float32, NaN where the status is not ok.

        Raises:
            InputError: the part is absent or damaged.
        """
        data, wanted = self._read(part, "npy"), (len(self.part_rows(part)), self.manifest.dim)
        try:
            vectors = np.load(data, allow_pickle=False)
        except ValueError as error:
            raise InputError(f"{self._file(part, 'npy')}: not a .npy array ({error})") from None
        if vectors.shape != wanted or vectors.dtype != np.float32:
            raise InputError(
                f"{self._file(part, 'npy')}: holds {vectors.dtype} {vectors.shape}, but the"
                f" manifest says float32 {wanted}"
            )
        return np.asarray(vectors)

    def _is_whole(self, part: int) -> bool:
        try:
            self._read(part, "npy")
            self._read(part, "parquet")
        except InputError:
            return False
        return True

    def _require_complete(self) -> None:
        absent = [part for part in range(self.part_count) if self._record(part) is None]
        if absent:
            raise InputError(
                f"{self.path}: the feature store is incomplete ({len(absent)} of {self.part_count}"
                f" parts are absent, the first is part {absent[0]}); run the same extraction again"
                " to finish it"
            )


def check_free(path: Path) -> None:
    """Refuse a place where a new store cannot stand.

    Raises:
        InputError: ``path`` is a file, or a folder with anything else in it.
    """
    if path.exists() and not path.is_dir():
        raise InputError(f"{path}: is a file; name a folder for the feature store")
    if path.is_dir():
        # Not even parts without a manifest: nobody can say which encoder made them.
        others = [file.name for file in path.iterdir() if not _LEFTOVER.fullmatch(file.name)]
        if others:
            raise InputError(
                f"{path}: holds other files ({sorted(others)[0]!r}) and no feature store; name an"
                " empty or new folder"
            )


def _write_synced(path: Path, data: bytes | memoryview) -> None:
    with path.open("wb") as handle:
        handle.write(data)
        handle.flush()
        os.fsync(handle.fileno())
