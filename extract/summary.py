"""What a run left behind, in numbers and in words."""

import re
from collections import Counter
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import polars as pl

from extract.store import FeatureStore

_EXAMPLES = 3
_REASONS = 10

_FIGURE = re.compile(r"\d+")


@dataclass(frozen=True)
class ExtractionSummary:
    """What a run left behind: counts over the whole store, and what this run did of it."""

    path: Path
    modality: str
    encoder: str
    source: str
    items: int
    ok: int
    failed: int
    missing: int
    reasons: dict[str, int]
    """Failed items by reason, the most frequent first; reasons that differ in a figure only, as in
    how many bytes are missing, are one, with N for the figures."""
    examples: dict[str, list[str]]
    """For each reason, the first few item ids."""
    processed: int
    """Rows that this run worked on; the others stood in the store already."""
    seconds: float
    """Time this run spent on them, loading the encoder left out."""

    @property
    def items_per_second(self) -> float:
        """Rate of this run; 0 when nothing was left to do."""
        return self.processed / self.seconds if self.processed else 0.0

    def __str__(self) -> str:
        """The summary as the command line prints it."""
        lines = [f"{self.modality}: {self.items} items through {self.encoder} ({self.source})"]
        if not self.processed:
            lines.append(
                "already complete: nothing was encoded, and the items' contents were not compared"
                " again (--overwrite encodes anew)"
            )
        else:
            kept = self.items - self.processed
            reused = f"; {kept} stood in the store already" if kept else ""
            lines.append(
                f"{self.processed} items in {self.seconds:.1f} s,"
                f" {self.items_per_second:.1f} items/s{reused}"
            )
        lines.append(f"ok {self.ok}, failed {self.failed}, missing {self.missing}")
        if not self.ok:
            lines.append("NOT ONE ITEM WAS ENCODED: there are no features in this store")
        for reason, count in islice(self.reasons.items(), _REASONS):
            names = ", ".join(_printable(name) for name in self.examples[reason])
            lines.append(f"  failed {count}: {_printable(reason)} ({names})")
        if len(self.reasons) > _REASONS:
            rest = sum(islice(self.reasons.values(), _REASONS, None))
            lines.append(f"  failed {rest}: {len(self.reasons) - _REASONS} more reasons")
        lines.append(f"features: {self.path}")
        return "\n".join(lines)


def _printable(text: str) -> str:
    """Control characters escaped: an id or a reason must not move a terminal's cursor."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def summarise(store: FeatureStore, *, processed: int, seconds: float) -> ExtractionSummary:
    """The counts of a complete store.

    Args:
        store: all its parts are whole.
        processed: rows that this run worked on.
        seconds: what it took for them.

    Raises:
        InputError: a part is absent or damaged.
    """
    counts: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    examples: dict[str, list[str]] = {}
    exact: dict[str, str | None] = {}
    # Part by part, so that the summary of millions of items needs no table of them.
    for part in range(store.part_count):
        statuses = store.part_statuses(part)
        counts.update(dict(statuses["status"].value_counts().iter_rows()))
        for name, _, reason, _ in statuses.filter(pl.col("status") == "failed").iter_rows():
            alike = _FIGURE.sub("N", reason)
            reasons[alike] += 1
            if reasons[alike] <= _EXAMPLES:
                examples.setdefault(alike, []).append(name)
            if exact.setdefault(alike, reason) != reason:
                exact[alike] = None
    words = {alike: reason or alike for alike, reason in exact.items()}
    return ExtractionSummary(
        path=store.path,
        modality=store.manifest.modality,
        encoder=store.manifest.encoder,
        source=store.manifest.source,
        items=store.manifest.items,
        ok=counts["ok"],
        failed=counts["failed"],
        missing=counts["missing"],
        reasons={words[alike]: count for alike, count in reasons.most_common()},
        examples={words[alike]: names for alike, names in examples.items()},
        processed=processed,
        seconds=seconds,
    )
