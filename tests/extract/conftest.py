"""Small encoders whose vectors a test can compute by hand, and makers of item tables."""

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image

from extract.encoders.base import Encoder
from extract.manifest import StoreManifest
from extract.store import STATUS_SCHEMA, FeatureStore, Part


class ByteHistogram(Encoder):
    """Texts: how often each byte value occurs."""

    modalities = ("text",)
    dim = 256
    space = "byte-histogram"

    def __init__(self) -> None:
        self.batches: list[list[bytes]] = []

    def preprocess(self, raw: Any) -> bytes:
        return raw.encode("utf-8")

    def encode(self, batch: Sequence[bytes]) -> torch.Tensor:
        self.batches.append(list(batch))
        counts = [np.bincount(np.frombuffer(data, np.uint8), minlength=256) for data in batch]
        return torch.tensor(np.stack(counts), dtype=torch.float32)

    def fingerprint(self) -> dict[str, Any]:
        return {"preprocessing": "utf-8 bytes", "bins": (0, 256)}

    def length(self, prepared: bytes) -> int:
        return len(prepared)


class MeanColour(Encoder):
    """Pictures: the mean of each channel, 0 to 255."""

    modalities = ("image",)
    dim = 3
    space = "mean-colour"

    def preprocess(self, raw: Image.Image) -> torch.Tensor:
        return torch.from_numpy(np.asarray(raw, dtype=np.float32).mean(axis=(0, 1)))

    def encode(self, batch: Sequence[torch.Tensor]) -> torch.Tensor:
        return torch.stack(list(batch))

    def fingerprint(self) -> dict[str, Any]:
        return {"preprocessing": "none"}


class Loudness(Encoder):
    """Sounds: root mean square, and duration in seconds."""

    modalities = ("audio",)
    dim = 2
    space = "loudness"

    def preprocess(self, raw: Any) -> tuple[float, float]:
        rms = float(np.sqrt(np.mean(raw.samples.astype(np.float64) ** 2)))
        return rms, len(raw.samples) / raw.sample_rate

    def encode(self, batch: Sequence[tuple[float, float]]) -> torch.Tensor:
        return torch.tensor(batch, dtype=torch.float32)

    def fingerprint(self) -> dict[str, Any]:
        return {}


def histogram(text: str) -> np.ndarray:
    counts = np.zeros(256, dtype=np.float32)
    for byte in text.encode("utf-8"):
        counts[byte] += 1
    return counts


@pytest.fixture
def byte_histogram() -> type[ByteHistogram]:
    return ByteHistogram


@pytest.fixture
def mean_colour() -> type[MeanColour]:
    return MeanColour


@pytest.fixture
def loudness() -> type[Loudness]:
    return Loudness


@pytest.fixture
def histogram_of() -> Callable[[str], np.ndarray]:
    return histogram


@pytest.fixture
def write_items(tmp_path: Path) -> Callable[..., Path]:
    """``write_items(columns, rows)`` writes items.csv; None is an empty cell."""

    def write(columns: Sequence[str], rows: Sequence[Sequence[Any]], name="items.csv") -> Path:
        path = tmp_path / name
        with path.open("w", encoding="utf-8", newline="") as handle:
            writer = csv.writer(handle)
            writer.writerow(columns)
            writer.writerows(rows)
        return path

    return write


@pytest.fixture
def fill_store() -> Callable[..., FeatureStore]:
    """``fill_store(path, vectors, absent={row: status}, ids=...)`` writes a complete store."""

    def fill(path, vectors, absent=None, ids=None, rows_per_part=3, parts=None, **manifest):
        absent, vectors = absent or {}, np.array(vectors, dtype=np.float32)
        ids = ids or [f"item-{row}" for row in range(len(vectors))]
        values = {
            "modality": "text",
            "encoder": "tests:Encoder",
            "fingerprint": {"pooling": "mean"},
            "dim": vectors.shape[1],
            "space": "tests",
            "dtype": "float32",
            "source": "column 'text'",
            "decoding": {},
            "rows_per_part": rows_per_part,
            "libraries": {},
        }
        store = FeatureStore.create(path, StoreManifest.model_validate(values | manifest), ids)
        for row in absent:
            vectors[row] = np.nan
        for part in range(store.part_count) if parts is None else parts:
            rows = store.part_rows(part)
            records = [
                (ids[row], absent.get(row, "ok"), "why" if row in absent else None, f"{row:064}")
                for row in rows
            ]
            statuses = pl.DataFrame(records, schema=STATUS_SCHEMA, orient="row")
            store.write_part(part, Part(vectors[rows.start : rows.stop], statuses))
        return store

    return fill
