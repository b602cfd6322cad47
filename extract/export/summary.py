"""What an export wrote, in numbers and in words."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from extract.errors import InputError
from extract.locations import Location
from extract.store import FeatureStore


@dataclass
class ExportSummary:
    """Counts that an exporter fills in while it writes."""

    format: str
    source: Location
    dim: int
    written: int = 0
    """Items whose vector was written."""
    statuses: Counter[str] = field(default_factory=Counter)
    """Of all items of the store."""
    files: list[Path] = field(default_factory=list)
    """What was written; of a folder of files the folder."""
    notes: list[str] = field(default_factory=list)
    """What a person has to know to use it."""

    def lines(self) -> list[str]:
        """The summary as lines of text for people."""
        lines = [
            f"{self.format}: {self.written:,} items, {self.dim} dimensions, float32,"
            f" from {self.source}"
        ]
        absent = {name: self.statuses[name] for name in ("failed", "missing")}
        if any(absent.values()):
            lines.append(
                "without a vector: " + ", ".join(f"{name} {n:,}" for name, n in absent.items() if n)
            )
        return [*lines, *self.notes, *(f"written: {path}" for path in self.files)]


def begin_summary(format_: str, store: FeatureStore) -> ExportSummary:
    """A summary with the statuses of a complete store already counted.

    Raises:
        InputError: a part is absent or damaged, or not one item has a vector.
    """
    summary = ExportSummary(format_, store.path, store.manifest.dim)
    for part in range(store.part_count):
        counts = store.part_statuses(part)["status"].value_counts()
        summary.statuses.update(dict(counts.iter_rows()))
    if not summary.statuses["ok"]:
        raise InputError(f"{store.path}: not one item has a vector; there is nothing to export")
    return summary


def shown(ids: pl.Series, limit: int = 3) -> str:
    """The first few ids for a message, in quotes."""
    names = ", ".join(repr(name) for name in ids.head(limit).to_list())
    return f"{names}, ..." if len(ids) > limit else names
