"""What a run left behind, in numbers and in words."""

import re
from collections import Counter
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import polars as pl

from extract.locations import Location
from extract.store import FeatureStore

_EXAMPLES = 3
_REASONS = 10
_ENDINGS = 6

_FIGURE = re.compile(r"\d+")


@dataclass(frozen=True)
class ExtractionSummary:
    """What a run left behind: counts over the whole store, and what this run did of it."""

    path: Location
    modality: str
    encoder: str
    source: str
    items: int
    ok: int
    failed: int
    missing: int
    reasons: dict[str, int]
    """Failed items by reason, the most frequent first; reasons that differ in a figure only, as in
    how many bytes are missing, are one, in the words of the first."""
    examples: dict[str, list[str]]
    """For each reason, the first few item ids."""
    processed: int
    """Rows that this run worked on; the others stood in the store already."""
    seconds: float
    """Time this run spent on them, loading the encoder left out."""
    added: int = 0
    """Items of the table that the store did not have."""
    compared: bool = False
    """Whether the items' contents were compared with what the store was made from (``update``)."""
    changed: int = 0
    """Items whose content was found to be another, or that were found gone."""
    removed: int = 0
    """Items of the store that the table does not have any more."""
    removed_examples: list[str] = field(default_factory=list)
    other_files: dict[str, int] = field(default_factory=dict)
    """How many files of each ending the folder of the items holds that are not of the modality."""
    subfolders: int = 0
    """Folders in the folder of the items, whose files are no items."""

    @property
    def items_per_second(self) -> float:
        """Rate of this run; 0 when nothing was left to do."""
        return self.processed / self.seconds if self.processed else 0.0

    def __str__(self) -> str:
        """The summary as the command line prints it."""
        lines = [f"{self.modality}: {self.items} items through {self.encoder} ({self.source})"]
        if not self.processed:
            lines.append(
                "already complete: nothing was encoded"
                + ("" if self.compared else " (--update also compares the items' contents)")
            )
        else:
            kept = self.items - self.processed
            reused = f"; {kept} stood in the store already" if kept else ""
            lines.append(
                f"{self.processed} items in {self.seconds:.1f} s,"
                f" {self.items_per_second:.1f} items/s{reused}"
            )
        if self.added and self.added != self.items:
            lines.append(f"new in the table: {self.added}")
        if self.changed:
            lines.append(f"changed or gone: {self.changed}; their parts were encoded anew")
        if self.removed:
            names = ", ".join(printable(name) for name in self.removed_examples)
            fate = "their rows are empty" if self.compared else "--update empties their rows"
            lines.append(f"not in the table any more: {self.removed} ({names}); {fate}")
        lines.append(f"ok {self.ok}, failed {self.failed}, missing {self.missing}")
        if not self.ok:
            lines.append("NOT ONE ITEM WAS ENCODED: there are no features in this store")
        lines += self.failure_lines()
        if self.failed and not self.compared:
            lines.append("once that is mended, the command with --update tries the failed again")
        if self.other_files:
            lines.append(f"not read: files of other kinds ({self._other_files()})")
        if self.subfolders:
            lines.append(f"not read: what lies in subfolders ({self.subfolders}) of the folder")
        lines.append(f"features: {self.path}")
        return "\n".join(lines)

    def _other_files(self) -> str:
        """How many there are, and the most frequent endings."""
        named = [
            f"{printable(ending) or 'no ending'} {count}"
            for ending, count in islice(self.other_files.items(), _ENDINGS)
        ]
        more = ", ..." if len(self.other_files) > _ENDINGS else ""
        return f"{sum(self.other_files.values())}: {', '.join(named)}{more}"

    def failure_lines(self) -> list[str]:
        """The most frequent reasons, a line each, with how many items and the first few ids."""
        lines = []
        for reason, count in islice(self.reasons.items(), _REASONS):
            names = ", ".join(printable(name) for name in self.examples[reason])
            more = ", ..." if count > len(self.examples[reason]) else ""
            lines.append(f"  failed {count}: {printable(reason)} ({names}{more})")
        if len(self.reasons) > _REASONS:
            rest = sum(islice(self.reasons.values(), _REASONS, None))
            lines.append(f"  failed {rest}: {len(self.reasons) - _REASONS} more reasons")
        return lines


def printable(text: str) -> str:
    """Control characters escaped: an id or a reason must not move a terminal's cursor."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def summarise(store: FeatureStore, **of_this_run: Any) -> ExtractionSummary:
    """The counts of a complete store.

    Args:
        store: all its parts are whole.
        of_this_run: ``processed``, ``seconds`` and the like, as ``ExtractionSummary`` has them.

    Raises:
        InputError: a part is absent or damaged.
    """
    counts: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    examples: dict[str, list[str]] = {}
    first: dict[str, str] = {}
    differing: set[str] = set()
    # Part by part, so that the summary of millions of items needs no table of them.
    for part in range(store.part_count):
        record = store.part_record(part) or {}
        counts.update({status: record.get(status, 0) for status in ("ok", "failed", "missing")})
        if not record.get("failed"):
            continue
        statuses = store.part_statuses(part)
        for name, _, reason, _ in statuses.filter(pl.col("status") == "failed").iter_rows():
            alike = _FIGURE.sub("N", reason)
            reasons[alike] += 1
            if reasons[alike] <= _EXAMPLES:
                examples.setdefault(alike, []).append(name)
            if first.setdefault(alike, reason) != reason:
                differing.add(alike)
    words = {
        alike: f"{reason}; of others with other figures" if alike in differing else reason
        for alike, reason in first.items()
    }
    return ExtractionSummary(
        path=store.path,
        modality=store.manifest.modality,
        encoder=store.manifest.encoder,
        source=store.manifest.source,
        items=store.item_count,
        ok=counts["ok"],
        failed=counts["failed"],
        missing=counts["missing"],
        reasons={words[alike]: count for alike, count in reasons.most_common()},
        examples={words[alike]: names for alike, names in examples.items()},
        **of_this_run,
    )
