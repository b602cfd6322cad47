"""FeatureStore: the vectors of one modality on disk, in parts that are whole or absent.

``manifest.json`` is written once, before all else. ``items-0.parquet`` holds the ids that the store
was begun with, ``items-1.parquet`` those that were added first, and so on, n ids a row group. Each
row group is a part, counted through: ``part-k.npy`` (rows x dim float32, NaN where the status is
not ok), ``part-k.parquet`` (id, status, reason, digest) and, written last, ``part-k.json`` with the
digests of the two, and of the manifest with the part's ids. A part is whole exactly when its JSON
is there and the digests hold, so nothing needs to be renamed, several writers may work on different
parts of one store, and no part of another store, or of other items, is taken for one of this.
"""

import hashlib
import io
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from threading import Lock
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import ValidationError

from extract.errors import InputError
from extract.files import read_json, remove_leftovers, write_bytes, write_json
from extract.locations import Location, location, remote_errors
from extract.manifest import StoreManifest

Status: TypeAlias = Literal["ok", "failed", "missing"]

STATUS_SCHEMA = {"id": pl.String, "status": pl.String, "reason": pl.String, "digest": pl.String}

# A kill while one of these was being written leaves its temporary file.
_LEFTOVER = re.compile(r"\.(manifest\.json|items-\d+\.parquet|transform\.safetensors)\..*\.tmp")
_OWN_FILES = re.compile(
    r"part-\d+\.(npy|parquet|json)|items-\d+\.parquet|manifest\.json|transform\.safetensors|"
    + _LEFTOVER.pattern
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
class _Addition:
    """The ids of one ``items-j.parquet``, the store's rows ``first_row`` and on."""

    file: pq.ParquetFile
    first_part: int
    first_row: int


@dataclass(frozen=True)
class LoadedFeatures:
    """A whole store in memory, in the order in which its items were added."""

    ids: list[str]
    vectors: NDArray[np.float32]
    """(n, dim), NaN where absent."""
    present: NDArray[np.bool_]
    """(n,)"""


class FeatureStore:
    """One store; ``open`` an existing one or ``create`` a new one."""

    def __init__(self, path: Location, manifest: StoreManifest) -> None:
        """For ``open`` and ``create``.

        Raises:
            InputError: the ids that a store at ``path`` holds cannot be read.
        """
        self.path = path
        self.manifest = manifest
        own = json.dumps(manifest.model_dump(mode="json"), sort_keys=True).encode()
        self._identity = hashlib.sha256(own).digest()
        self._additions: list[_Addition] = []
        self._belongings: dict[int, str] = {}
        self._reading = Lock()
        while self._open_addition():
            pass

    @classmethod
    def open(cls, path: str | Location) -> "FeatureStore":
        """Open a store for reading or for going on.

        Args:
            path: its folder, or the URL of one.

        Raises:
            InputError: there is no store, or its manifest is not one this version reads.
        """
        path = location(path) if isinstance(path, str) else path
        # Not is_file(): of a remote store that cannot be reached it says no, too.
        with remote_errors(), suppress(FileNotFoundError, NotADirectoryError):
            (path / "manifest.json").stat()
            return cls._open(path)
        raise InputError(f"{path}: no feature store here (no manifest.json)")

    @classmethod
    def _open(cls, path: Location) -> "FeatureStore":
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
    def create(cls, path: Location, manifest: StoreManifest, ids: Iterable[str]) -> "FeatureStore":
        """Begin a store in a folder that is absent or empty.

        Args:
            path: the folder, or the URL of one.
            manifest: what all vectors have in common.
            ids: the items, each once.

        Raises:
            InputError: ``path`` is a file, or a folder that holds anything else, or not writable.
        """
        check_free(path)
        return cls._begin(path, manifest, ids)

    @classmethod
    def replace(cls, path: Location, manifest: StoreManifest, ids: Iterable[str]) -> "FeatureStore":
        """Delete the files that a store wrote, and no others, and begin one in their place.

        The store there may be damaged, or of another version.

        Args:
            path: the folder of a store, or the URL of one.
            manifest: of the new store.
            ids: its items, each once.

        Raises:
            InputError: there is no store, or a file cannot be deleted or written.
        """
        require_store(path)
        own = [file for file in path.iterdir() if _OWN_FILES.fullmatch(file.name)]
        try:
            # A kill in between leaves a store of the same items with fewer parts, then none.
            for file in sorted(own, key=lambda file: _order_of_deletion(file.name)):
                file.unlink()
        except OSError as error:
            raise InputError(f"{path}: cannot be removed ({error.strerror})") from None
        return cls._begin(path, manifest, ids)

    @classmethod
    def _begin(cls, path: Location, manifest: StoreManifest, ids: Iterable[str]) -> "FeatureStore":
        _remove_leftovers(path / "manifest.json")
        write_json(path / "manifest.json", manifest.model_dump(mode="json"))
        store = cls(path, manifest)
        store.add_items(ids)
        return store

    def add_items(self, ids: Iterable[str]) -> int:
        """Add items, in parts of their own, which are yet to be written; how many there were.

        Args:
            ids: of items that the store does not hold, each once; gone through once, in blocks.

        Raises:
            InputError: the folder cannot be written.
        """
        stream, size, count = iter(ids), self.manifest.rows_per_part, 0
        data = io.BytesIO()
        with pq.ParquetWriter(data, pa.schema([("id", pa.large_string())])) as writer:
            while block := list(islice(stream, size)):
                # One row group each, or a part's ids could not be read alone.
                writer.write_table(
                    pa.table({"id": pa.array(block, pa.large_string())}), row_group_size=size
                )
                count += len(block)
        if count:
            place = self.path / self._next_addition()
            _remove_leftovers(place)
            write_bytes(place, data.getbuffer())
            self._open_addition()
        return count

    def copy_items(self, source: "FeatureStore") -> None:
        """Take over the items of another store, in the same parts, as far as they are not here.

        Args:
            source: its first items are those of this store.

        Raises:
            InputError: the folder cannot be written.
        """
        for held in source._additions[len(self._additions) :]:
            groups = range(held.file.num_row_groups)
            parts = (source.part_ids(held.first_part + group) for group in groups)
            self.add_items(chain.from_iterable(parts))

    def _next_addition(self) -> str:
        return f"items-{len(self._additions)}.parquet"

    def _open_addition(self) -> bool:
        """Take up the next file of ids, if there is one."""
        place = self.path / self._next_addition()
        try:
            # Held in memory: some bytes an item, and the file may be far away.
            data = place.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            raise InputError(f"{place}: not readable ({error.strerror or error})") from None
        try:
            file = pq.ParquetFile(pa.BufferReader(data))
            if file.schema_arrow.names != ["id"]:
                raise InputError(f"{place}: damaged: it does not hold the column id alone")
        except pa.ArrowException as error:
            raise InputError(f"{place}: damaged ({error}); --overwrite begins anew") from None
        addition = _Addition(file, self.part_count, self.item_count)
        self._additions.append(addition)
        return True

    @property
    def item_count(self) -> int:
        """Rows of all parts, finished or not."""
        if not self._additions:
            return 0
        last = self._additions[-1]
        return int(last.first_row + last.file.metadata.num_rows)

    @property
    def part_count(self) -> int:
        """How many parts a complete store has."""
        if not self._additions:
            return 0
        last = self._additions[-1]
        return int(last.first_part + last.file.num_row_groups)

    def part_rows(self, part: int) -> range:
        """The store's rows that a part holds."""
        held = self._addition_of(part)
        start = held.first_row + (part - held.first_part) * self.manifest.rows_per_part
        rows = held.file.metadata.row_group(part - held.first_part).num_rows
        return range(start, start + rows)

    def part_ids(self, part: int) -> list[str]:
        """The items of a part, finished or not."""
        return [str(name) for name in self._ids(part).to_pylist()]

    def _ids(self, part: int) -> pa.Array:
        held = self._addition_of(part)
        # One Parquet file must not be read by two threads at once.
        with self._reading:
            group = held.file.read_row_group(part - held.first_part, use_threads=False)
        return group.column("id").combine_chunks().cast(pa.large_string())

    def id_blocks(self) -> Iterator[pl.Series]:
        """All ids in the order of the parts, finished or not, in blocks of any size."""
        for held in self._additions:
            batches = held.file.iter_batches(2**16, use_threads=False)
            while True:
                with self._reading:
                    batch = next(batches, None)
                if batch is None:
                    break
                yield pl.Series(pl.from_arrow(batch.column("id")))

    def _addition_of(self, part: int) -> _Addition:
        return next(held for held in reversed(self._additions) if held.first_part <= part)

    @property
    def is_complete(self) -> bool:
        """Whether every part has been finished; ``verify`` also compares the digests."""
        return self.part_count > 0 and self._unfinished() == []

    @property
    def has_finished_parts(self) -> bool:
        """Whether any part has been finished, so that there is something to lose."""
        return any(self.part_record(part) is not None for part in self._begun())

    @property
    def has_lost_its_items(self) -> bool:
        """Whether parts are there and no list of the items that they hold."""
        return not self._additions and bool(self._numbers())

    def _numbers(self) -> list[int]:
        found = (re.fullmatch(r"part-(\d+)\.json", file.name) for file in self.path.iterdir())
        return sorted(int(match[1]) for match in found if match)

    def _begun(self) -> list[int]:
        """The parts whose JSON is there, whole or torn."""
        return [part for part in self._numbers() if part < self.part_count]

    def _unfinished(self) -> list[int]:
        begun = set(self._begun())
        return [
            part
            for part in range(self.part_count)
            if part not in begun or self.part_record(part) is None
        ]

    def verify(self) -> list[int]:
        """The parts that are absent or torn.

        On this machine all bytes are read and compared with their digests; in a remote store only
        the presence and size of the files are.
        """
        parts = range(self.part_count)
        with ThreadPoolExecutor() as pool:
            whole = list(pool.map(self._is_whole, parts))
        return [part for part in parts if not whole[part]]

    def ids(self) -> list[str]:
        """Item ids in the order in which they were added.

        Raises:
            InputError: the store is incomplete or damaged.
        """
        self.require_complete()
        return [name for part in range(self.part_count) for name in self.part_ids(part)]

    def statuses(self) -> pl.DataFrame:
        """Columns id, status (ok, failed, missing), reason, digest; in the order of ``ids``.

        Raises:
            InputError: the store is incomplete or damaged.
        """
        self.require_complete()
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
        self.require_complete()
        vectors = np.empty((self.item_count, self.manifest.dim), dtype=np.float32)
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
        self.require_complete()
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
        record: dict[str, Any] = {
            "rows": content.statuses.height,
            "belongs_to": self._belonging(part),
        }
        for name, file in (("npy", vectors), ("parquet", statuses)):
            record[name] = hashlib.sha256(file.getbuffer()).hexdigest()
            record[f"{name}_bytes"] = len(file.getbuffer())
        counts = Counter(content.statuses["status"].to_list())
        record |= {status: counts[status] for status in get_args(Status) if counts[status]}
        files: dict[str, bytes | memoryview] = {
            "npy": vectors.getbuffer(),
            "parquet": statuses.getbuffer(),
            "json": json.dumps(record).encode() + b"\n",
        }
        try:
            # A part that is written anew is not whole meanwhile.
            self._file(part, "json").unlink(missing_ok=True)
            for kind, data in files.items():
                _write_new(self._file(part, kind), data)
        except Exception as error:
            # What a remote store's library raises when it is refused is not known.
            if isinstance(self.path, Path) and not isinstance(error, OSError):
                raise
            raise InputError(
                f"{self.path}: part {part} could not be written"
                f" ({getattr(error, 'strerror', None) or error}); the other finished"
                " parts are kept: mend this and run the same command again"
            ) from None

    def _file(self, part: int, kind: str) -> Location:
        return self.path / f"part-{part}.{kind}"

    def part_record(self, part: int) -> dict[str, Any] | None:
        """What ``part-k.json`` says of a finished part; None if it is absent or torn.

        Returns:
            ``rows``; ``belongs_to``, the SHA-256 of manifest and ids; the SHA-256 of the files,
            ``npy`` and ``parquet``, and their sizes in bytes, ``npy_bytes`` and ``parquet_bytes``;
            ``ok``, ``failed`` and ``missing``: how many rows are that, left out where none is.
        """
        try:
            record = json.loads(self._file(part, "json").read_bytes())
        except (OSError, ValueError):
            return None
        if not isinstance(record, dict) or not {"belongs_to", "npy", "parquet"} <= record.keys():
            return None
        return record if record["belongs_to"] == self._belonging(part) else None

    def _belonging(self, part: int) -> str:
        """What ties a part to this store and to its items."""
        if part not in self._belongings:
            ids = self._ids(part)
            _, lengths, letters = ids.buffers()
            # Where each id begins, and all their letters, as Arrow lays them out: together the ids.
            starts = np.frombuffer(lengths, dtype=np.int64)[ids.offset :][: len(ids) + 1]
            digest = hashlib.sha256(self._identity)
            digest.update((starts - starts[0]).tobytes())
            digest.update(memoryview(letters or b"")[starts[0] : starts[-1]])
            self._belongings[part] = digest.hexdigest()
        return self._belongings[part]

    def _read(self, part: int, kind: Literal["npy", "parquet"]) -> io.BytesIO:
        """One file of a part, its digest checked."""
        record, file = self.part_record(part), self._file(part, kind)
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
        if not isinstance(self.path, Path):
            record = self.part_record(part)
            return record is not None and all(
                _size(self._file(part, kind)) == record.get(f"{kind}_bytes")
                for kind in ("npy", "parquet")
            )
        try:
            self._read(part, "npy")
            self._read(part, "parquet")
        except InputError:
            return False
        return True

    def require_complete(self) -> None:
        """Refuse a store whose extraction has not come to its end.

        Raises:
            InputError: parts are absent, or all of it is.
        """
        if not self.part_count:
            raise InputError(
                f"{self.path}: the feature store is empty: its first run was stopped; run it again"
            )
        if absent := self._unfinished():
            raise InputError(
                f"{self.path}: the feature store is incomplete ({len(absent)} of {self.part_count}"
                f" parts are absent, the first is part {absent[0]}); run the same extraction again"
                " to finish it"
            )


def _order_of_deletion(name: str) -> int:
    """What says that something is whole goes before it, and the manifest last."""
    if name == "manifest.json":
        return 3
    if name.startswith("items-"):
        return 2
    return 0 if name.endswith(".json") else 1


def _remove_leftovers(place: Location) -> None:
    """Delete what kills left beside a file; in a remote store there is none."""
    if isinstance(place, Path):
        remove_leftovers(place)


def require_store(path: Location) -> None:
    """Refuse a folder whose manifest.json is another program's; a damaged store is one, too.

    Raises:
        InputError: it is no feature store's.
    """
    there = read_json(path / "manifest.json")
    if (
        not isinstance(there, dict)
        or there.get("format") != StoreManifest.model_fields["format"].default
    ):
        raise InputError(f"{path / 'manifest.json'}: not that of a feature store; left alone")


def check_free(path: Location) -> None:
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


def _write_new(path: Location, data: bytes | memoryview) -> None:
    """Write a file and sync it; one of that name is replaced, and stays whole for who reads it."""
    if not isinstance(path, Path):
        path.fs.pipe_file(path.path, bytes(data))
        return
    path.unlink(missing_ok=True)
    try:
        with path.open("wb") as handle:
            handle.write(data)
            handle.flush()
            os.fsync(handle.fileno())
    except OSError:
        # On a full disk every byte counts.
        path.unlink(missing_ok=True)
        raise


def _size(file: Location) -> int | None:
    try:
        return int(file.stat().st_size)
    except OSError:
        return None
