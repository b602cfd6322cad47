"""Hypothesis without deadlines, and a small synthetic dataset: for tests, never for claims."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from mmssl.data.dataset import Dataset
from mmssl.data.prepare import prepare
from mmssl.data.prepare_config import PrepareConfig

# A busy machine is not a failure: no example is too slow.
settings.register_profile("offline", deadline=None)
settings.load_profile("offline")

N_USERS, N_ITEMS, GROUPS = 40, 24, 4


def write_sources(folder: Path) -> dict[str, object]:
    """Users of four tastes, items of four kinds; an item's features tell its kind."""
    draw = np.random.default_rng(0)
    kind = np.arange(N_ITEMS) % GROUPS
    rows = []
    for user in range(N_USERS):
        weights = np.where(kind == user % GROUPS, 1.0, 0.05)
        liked = draw.choice(N_ITEMS, size=5, replace=False, p=weights / weights.sum())
        rows += [f"u{user},{item}" for item in liked]
    (folder / "interactions.csv").write_text("user,item\n" + "\n".join(rows) + "\n")
    features = {}
    for modality, dim in (("image", 6), ("audio", 5)):
        centres = draw.normal(size=(GROUPS, dim))
        vectors = centres[kind] + 0.3 * draw.normal(size=(N_ITEMS, dim))
        if modality == "audio":
            vectors[3] = np.nan  # an item without this modality
        np.save(folder / f"{modality}.npy", vectors.astype(np.float32))
        features[modality] = folder / f"{modality}.npy"
    return {"interactions": folder / "interactions.csv", "features": features}


@pytest.fixture(scope="session")
def dataset_folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("dataset")
    out = folder / "data"
    prepare(PrepareConfig(out=out, ratios=(0.6, 0.2, 0.2), **write_sources(folder)))
    return out


@pytest.fixture(scope="session")
def dataset(dataset_folder: Path) -> Dataset:
    return Dataset.open(dataset_folder)
