"""Stores with vectors that a test chose, written as an extraction writes them."""

import hashlib
from collections.abc import Callable

import numpy as np
import polars as pl
import pytest

from extract.manifest import StoreManifest
from extract.store import STATUS_SCHEMA, FeatureStore, Part


@pytest.fixture
def make_store(tmp_path) -> Callable[..., FeatureStore]:
    """``make_store(vectors, ids=, reasons=, contents=, ...)``.

    ``reasons`` maps a row to why it failed, None meaning that it is missing; ``contents`` are the
    items' raw contents, by default all different; ``parts`` limits which parts are written.
    """

    def make(
        vectors,
        ids=None,
        *,
        name="store",
        reasons=None,
        contents=None,
        rows_per_part=3,
        parts=None,
        **manifest,
    ):
        vectors = np.array(vectors, dtype=np.float32)
        n = len(vectors)
        ids = [f"i{row}" for row in range(n)] if ids is None else ids
        contents = ids if contents is None else contents
        reasons = {} if reasons is None else reasons
        values = {
            "modality": "text",
            "encoder": "tests:Encoder",
            "fingerprint": {},
            "dim": vectors.shape[1],
            "space": "tests",
            "dtype": "float32",
            "source": "column 'text'",
            "decoding": {},
            "rows_per_part": rows_per_part,
            "libraries": {},
        }
        store = FeatureStore.create(
            tmp_path / name, StoreManifest.model_validate(values | manifest), ids
        )
        for part in range(store.part_count) if parts is None else parts:
            rows = store.part_rows(part)
            block = vectors[rows.start : rows.stop].copy()
            records = []
            for row in rows:
                digest = hashlib.sha256(str(contents[row]).encode()).hexdigest()
                if row not in reasons:
                    records.append((ids[row], "ok", None, digest))
                    continue
                block[row - rows.start] = np.nan
                failed = reasons[row] is not None
                records.append((ids[row], "failed" if failed else "missing", reasons[row], None))
            frame = pl.DataFrame(records, schema=STATUS_SCHEMA, orient="row")
            store.write_part(part, Part(block, frame))
        return store

    return make


@pytest.fixture
def cosines() -> Callable[[np.ndarray], np.ndarray]:
    """All cosines after the mean is removed, in double precision; -inf on the diagonal."""

    def compute(vectors):
        centred = np.asarray(vectors, dtype=np.float64)
        centred = centred - centred.mean(axis=0)
        lengths = np.linalg.norm(centred, axis=1, keepdims=True)
        units = np.divide(centred, lengths, out=np.zeros_like(centred), where=lengths > 1e-9)
        similar = units @ units.T
        np.fill_diagonal(similar, -np.inf)
        return similar

    return compute
