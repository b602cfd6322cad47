"""What a page says of a run and its data beside the figures."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from extract.errors import InputError
from extract.files import read_json
from extract.locations import Location
from mmssl.data.dataset import Dataset
from mmssl.data.manifest import Counts
from mmssl.recommend.model_files import folder_of
from mmssl.recommend.model_folder import SavedModel
from mmssl.report.figures import Chart, histogram

STATEMENT = "sample.json"
"""Beside an item table or a dataset folder: where a sample is from, under the key ``source``."""
TEST_FIGURES = "test.json"
"""In a run folder: what ``evaluate --split test --json`` wrote."""
_MOST_CHARACTERS = 2_000


@dataclass(frozen=True)
class Coverage:
    """How many items have a modality."""

    name: str
    present: int
    share: float
    dim: int
    encoder: str | None
    used: bool
    """Whether the model was given it."""


@dataclass(frozen=True)
class DataFacts:
    """The dataset in figures."""

    counts: Counts
    density: float
    """Training interactions over users x items."""
    charts: tuple[Chart, Chart]
    spread: tuple[str, str]
    """Median and largest number of interactions of a user, and of an item, in words."""
    settings: tuple[tuple[str, str], ...]
    modalities: tuple[Coverage, ...]
    sources: tuple[str, ...]


def _spread(counts: NDArray[np.int64]) -> str:
    return f"median {np.median(counts):g}, most {counts.max(initial=0):,}"


def data_facts(saved: SavedModel, dataset: Dataset) -> DataFacts:
    """The dataset's counts, split rule and coverage, of training interactions and the manifest."""
    manifest = dataset.manifest
    counts, train = manifest.counts, dataset.matrix("train")
    of_users = np.diff(train.indptr)
    of_items = np.bincount(train.indices, minlength=counts.items)
    return DataFacts(
        counts=counts,
        density=counts.train / max(counts.users * counts.items, 1),
        charts=(
            histogram("Interactions per user", of_users, "users"),
            histogram("Interactions per item", of_items, "items"),
        ),
        spread=(_spread(of_users), _spread(of_items)),
        settings=tuple((key.replace("_", " "), _plain(v)) for key, v in manifest.settings.items()),
        modalities=tuple(
            Coverage(
                name,
                entry.present,
                entry.present / max(counts.items, 1),
                entry.dim,
                entry.encoder,
                name in saved.info.encoders,
            )
            for name, entry in manifest.modalities.items()
        ),
        sources=tuple(
            f"{name}: {Path(source.path).name}" for name, source in manifest.sources.items()
        ),
    )


def saved_on(model: Path) -> str:
    """The day (UTC) on which a model's files were written, as 2026-03-01."""
    written = (folder_of(model) / "config.json").stat().st_mtime
    return datetime.fromtimestamp(written, UTC).date().isoformat()


def statements(dataset: Path, items: Location | None) -> tuple[str, ...]:
    """What a sample says of its origin, as that its users are simulated; each text once."""
    found: dict[str, None] = {}
    for place in [dataset.resolve().parent, *([items.parent] if isinstance(items, Path) else [])]:
        try:
            record = json.loads((place / STATEMENT).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            continue
        source = record.get("source") if isinstance(record, dict) else None
        if isinstance(source, str) and source.strip():
            found[source.strip()[:_MOST_CHARACTERS]] = None
    return tuple(found)


def test_figures(run: Path, digest: str) -> dict[str, tuple[float, float]] | None:
    """Metric -> the model's and popularity's value on test, if the run folder holds them already.

    Args:
        run: the run folder; its ``test.json`` is what ``evaluate --split test --json`` wrote.
        digest: of the dataset, which has to be the one that they are of.

    Raises:
        InputError: the file is there, and is something else.
    """
    path = run / TEST_FIGURES
    if not path.is_file():
        return None
    record = read_json(path)
    try:
        split, of = record["protocol"]["split"], record["protocol"]["dataset"]
        ours, theirs = record["metrics"], record["popularity"]
        figures = {str(name): (float(ours[name]), float(theirs[name])) for name in ours}
    except (ArithmeticError, KeyError, TypeError, ValueError, AttributeError):
        raise InputError(
            f"{path}: not what `evaluate --split test --json` writes; move it away"
        ) from None
    if split != "test" or of != digest:
        raise InputError(f"{path}: not of the test split of this dataset; move it away")
    return figures


def _plain(value: Any) -> str:
    if value is None:
        return "not set"
    if isinstance(value, list | tuple):
        return ", ".join(_plain(part) for part in value)
    if isinstance(value, dict):
        return ", ".join(f"{key}={_plain(part)}" for key, part in value.items())
    return str(value)
