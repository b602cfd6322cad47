import numpy as np
import polars as pl
import pytest

from extract.manifest import StoreManifest
from extract.store import STATUS_SCHEMA, FeatureStore, Part


@pytest.fixture
def make_store():
    """Write a real feature store, two rows a part."""

    def make(path, ids, vectors, failed=()):
        manifest = StoreManifest(
            modality="image",
            encoder="melstats:64",
            fingerprint={},
            dim=vectors.shape[1],
            space="melstats",
            dtype="float32",
            source="column 'image'",
            decoding={},
            rows_per_part=2,
            libraries={},
        )
        store = FeatureStore.create(path, manifest, ids)
        for part in range(store.part_count):
            rows = store.part_rows(part)
            mine = [ids[row] for row in rows]
            broken = np.array([id_ in failed for id_ in mine])
            held = vectors[rows.start : rows.stop].copy()
            held[broken] = np.nan
            statuses = pl.DataFrame(
                {
                    "id": mine,
                    "status": ["failed" if bad else "ok" for bad in broken],
                    "reason": ["broken" if bad else None for bad in broken],
                    "digest": [None] * len(mine),
                },
                schema=STATUS_SCHEMA,
            )
            store.write_part(part, Part(held, statuses))
        return store

    return make


@pytest.fixture
def ready_split(tmp_path):
    """Three small files and two .npy over users and items 0..; item 11 never occurs."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "source"
    folder.mkdir()
    pairs = [(u, i) for u in range(8) for i in rng.choice(11, size=5, replace=False)]
    parts = {"train": pairs[0::2], "val": pairs[1::4], "test": pairs[3::4]}
    for name, rows in parts.items():
        lines = "".join(f"{user},{item}\n" for user, item in rows)
        (folder / f"{name}.csv").write_text(f"user,item\n{lines}")
    arrays = {"image": rng.normal(size=(12, 3)), "audio": rng.normal(size=(12, 2))}
    for name, values in arrays.items():
        np.save(folder / f"{name}.npy", values.astype(np.float16))
    return {
        **{name: folder / f"{name}.csv" for name in parts},
        "features": {name: folder / f"{name}.npy" for name in arrays},
        "out": tmp_path / "dataset",
    }
