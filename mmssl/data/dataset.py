"""The dataset: ids, interactions and features, aligned once and for all."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.sparse import csr_array

from extract.errors import InputError
from extract.files import sha256_file
from mmssl.data.ids import IdMap
from mmssl.data.manifest import Manifest, read_manifest

TEST_READS = "test_reads.jsonl"


@dataclass(frozen=True)
class Interactions:
    """Pairs of row numbers, distinct, sorted by user and item: ``users``, ``items`` int64 (n,)."""

    users: npt.NDArray[np.int64]
    items: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.users)


@dataclass(frozen=True)
class ModalityFeatures:
    """The features of one modality in the dataset's item rows.

    ``vectors``: float32 (I, dim), zeros where absent. ``present``: bool (I,). ``encoder``: URI of
    the encoder that made them, None when unknown. ``digest``: SHA-256 of the store or file that
    they are from.
    """

    vectors: npt.NDArray[np.float32]
    present: npt.NDArray[np.bool_]
    encoder: str | None
    digest: str


@dataclass(frozen=True)
class Dataset:
    """A prepared dataset, read from its folder by ``Dataset.open``.

    The test split is not among the fields: ``read_test`` is the only way to it, and leaves a trace.
    """

    path: Path
    user_ids: IdMap
    item_ids: IdMap
    train: Interactions
    val: Interactions
    features: dict[str, ModalityFeatures]
    manifest: Manifest

    @classmethod
    def open(cls, path: Path | str) -> "Dataset":
        """Read a dataset folder and check every file against its digest, the test split excepted.

        Raises:
            InputError: not a dataset, of another schema version, or a file is missing or changed.
        """
        path = Path(path)
        manifest = read_manifest(path)
        users, items = (_read_ids(path, manifest, kind) for kind in ("user", "item"))
        features = {
            modality: ModalityFeatures(
                _read_array(path, manifest, f"features/{modality}/vectors.npy"),
                _read_array(path, manifest, f"features/{modality}/present.npy"),
                entry.encoder,
                entry.source.sha256,
            )
            for modality, entry in manifest.modalities.items()
        }
        train, val = (_read_split(path, manifest, part) for part in ("train", "val"))
        return cls(path, users, items, train, val, features, manifest)

    @property
    def digest(self) -> str:
        """SHA-256 over the dataset's content; equal for equal ids, splits and features."""
        return self.manifest.digest

    def matrix(self, *splits: Literal["train", "val"]) -> csr_array:
        """The interactions of the named splits (none named: train) as 0/1, float32 (U, I)."""
        parts = [getattr(self, split) for split in splits or ("train",)]
        users = np.concatenate([part.users for part in parts])
        items = np.concatenate([part.items for part in parts])
        shape = (len(self.user_ids), len(self.item_ids))
        matrix = csr_array((np.ones(len(users), np.float32), (users, items)), shape=shape)
        # Naming a split twice must not count its pairs twice.
        matrix.sum_duplicates()
        matrix.data[:] = 1
        return matrix

    def read_test(self, reader: str) -> Interactions:
        """The test split; first adds a line to ``test_reads.jsonl``: time (UTC), reader, digests.

        Args:
            reader: who reads, for instance the command and the model.

        Raises:
            InputError: the file is missing or changed, or the reading cannot be recorded or, for
                what was recorded before is broken, counted.
        """
        self.test_reads()
        test = _read_split(self.path, self.manifest, "test")
        line = {
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "reader": reader,
            "dataset": self.digest,
            "test": self._test_digest,
        }
        try:
            with (self.path / TEST_READS).open("a", encoding="utf-8") as log:
                log.write(json.dumps(line, ensure_ascii=False) + "\n")
        except OSError as error:
            raise InputError(
                f"{self.path / TEST_READS}: reading the test split must be recorded, but the file"
                f" cannot be written ({error.strerror})"
            ) from None
        return test

    def test_reads(self) -> int:
        """How often this test split was read in this folder; those of other splits don't count.

        The record lies in the folder: a copy of the dataset made elsewhere counts anew.

        Raises:
            InputError: ``test_reads.jsonl`` is broken; the message names the line.
        """
        path = self.path / TEST_READS
        try:
            lines = path.read_bytes().splitlines()
        except FileNotFoundError:
            return 0
        except OSError as error:
            raise InputError(
                f"{path}: readings of the test split are recorded here, but the file cannot be read"
                f" ({error.strerror}); move it away or mend it"
            ) from None
        count = 0
        for number, line in enumerate(lines, start=1):
            try:
                count += json.loads(line)["test"] == self._test_digest
            except (ValueError, KeyError, TypeError, RecursionError):
                raise InputError(
                    f"{path}, line {number}: not a record of a reading; mend or remove the line"
                ) from None
        return count

    @property
    def _test_digest(self) -> str:
        return self.manifest.contents["test"]


def _checked(folder: Path, manifest: Manifest, name: str) -> Path:
    """The path of one of the dataset's files, once its content fits the manifest."""
    path = folder / name
    if not path.is_file():
        raise InputError(f"{path}: missing from the dataset; run `prepare` again")
    if sha256_file(path) != manifest.files.get(name):
        raise InputError(f"{path}: changed since the dataset was prepared; run `prepare` again")
    return path


def _read_frame(folder: Path, manifest: Manifest, name: str) -> pl.DataFrame:
    path = _checked(folder, manifest, name)
    try:
        return pl.read_parquet(path, glob=False)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise InputError(f"{path}: not readable ({' '.join(str(error).split())})") from None


def _read_ids(folder: Path, manifest: Manifest, kind: str) -> IdMap:
    frame = _read_frame(folder, manifest, f"{kind}s.parquet")
    return IdMap(frame.sort("row")["id"].to_list(), kind)


def _read_array(folder: Path, manifest: Manifest, name: str) -> npt.NDArray[Any]:
    array: npt.NDArray[Any] = np.load(_checked(folder, manifest, name), allow_pickle=False)
    return array


def _read_split(folder: Path, manifest: Manifest, part: str) -> Interactions:
    frame = _read_frame(folder, manifest, f"{part}.parquet")
    return Interactions(
        frame["user"].to_numpy(writable=True), frame["item"].to_numpy(writable=True)
    )
