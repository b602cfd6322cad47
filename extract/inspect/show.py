"""``features show``: what a store holds, in figures and as a sheet of nearest neighbours."""

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from extract.errors import InputError
from extract.inspect.duplicates import content_codes, near_duplicates, same_content
from extract.inspect.page import write_page
from extract.inspect.sheet import SheetOptions, gather
from extract.inspect.statistics import Statistics, statistics
from extract.inspect.vectors import draw, ids_of, ok_items
from extract.locations import Location
from extract.store import FeatureStore
from extract.summary import ExtractionSummary, printable, summarise

EXAMPLES = 3
SHOWN = 5


@dataclass(frozen=True)
class Groups:
    """Items that belong together; ids of the first few of the largest groups."""

    groups: int
    items: int
    sizes: list[int]
    """Of the groups that ``examples`` are from."""
    examples: list[list[str]]

    def __str__(self) -> str:
        """How many."""
        return f"groups {self.groups}, of {self.items} items together"

    def lines(self) -> list[str]:
        """A line for each of the largest groups: its first ids."""
        return [
            f"  {size}: {', '.join(map(printable, names))}{', ...' if size > len(names) else ''}"
            for size, names in zip(self.sizes, self.examples, strict=True)
        ]


@dataclass(frozen=True)
class Report:
    """What ``features show`` found."""

    summary: ExtractionSummary
    dim: int
    statistics: Statistics | None
    """None where no item has a vector."""
    same_content: Groups
    near: Groups
    near_pairs: int
    near_pairs_same_content: int
    threshold: float
    compared: int
    """Items that were compared with all the others."""

    def lines(self) -> list[str]:
        """The report as the command line prints it."""
        summary = self.summary
        return [
            f"{summary.path}: {summary.modality} through {printable(summary.encoder)}"
            f" ({printable(summary.source)}), vectors of {self.dim} numbers",
            f"items {summary.items}: ok {summary.ok}, failed {summary.failed},"
            f" missing {summary.missing}",
            *summary.failure_lines(),
            *self._vector_lines(),
        ]

    def _vector_lines(self) -> list[str]:
        found, ok = self.statistics, self.summary.ok
        if found is None:
            return ["NOT ONE ITEM HAS A VECTOR: there is nothing more to show"]
        dead = f" (the first: {', '.join(map(str, found.dead[:SHOWN]))})" if len(found.dead) else ""
        cosine = "-" if found.mean_cosine is None else f"{found.mean_cosine:.3f}"
        all_of = "all pairs compared"
        if self.compared < ok:
            all_of = (
                f"{self.compared} items drawn at random compared with all {ok};"
                f" --sample {ok} compares all pairs"
            )
        return [
            f"norms: min {found.norm_min:.4g}, median {found.norm_median:.4g},"
            f" max {found.norm_max:.4g}; zero vectors {found.zero},"
            f" others all of one number {found.constant}",
            f"dimensions that never vary: {len(found.dead)} of {self.dim}{dead}",
            f"mean cosine of two items: {cosine} (near 1: all vectors point one way, and only"
            " their differences tell items apart)",
            f"same content: {self.same_content}",
            *self.same_content.lines(),
            f"near-duplicates (cosine at least {self.threshold:g}, mean removed; {all_of}):"
            f" pairs {self.near_pairs}, {self.near_pairs_same_content} of them of the same content;"
            f" {self.near}",
            *self.near.lines(),
        ]

    def as_json(self) -> dict[str, Any]:
        """The report for ``--json``."""
        summary, found = self.summary, self.statistics
        return {
            "store": str(summary.path),
            "modality": summary.modality,
            "encoder": summary.encoder,
            "source": summary.source,
            "dim": self.dim,
            "items": summary.items,
            "ok": summary.ok,
            "failed": summary.failed,
            "missing": summary.missing,
            "reasons": [
                {"reason": reason, "items": count, "examples": summary.examples[reason]}
                for reason, count in summary.reasons.items()
            ],
            "vectors": None if found is None else asdict(found) | {"dead": found.dead.tolist()},
            "same_content": asdict(self.same_content),
            "near_duplicates": asdict(self.near)
            | {
                "threshold": self.threshold,
                "items_compared": self.compared,
                "pairs": self.near_pairs,
                "pairs_same_content": self.near_pairs_same_content,
            },
        }


def show(
    path: Location,
    *,
    threshold: float = 0.98,
    sample: int = 10_000,
    seed: int = 0,
    sheet: SheetOptions | None = None,
) -> Report:
    """Look at a complete store, part by part.

    Memory: a few numbers an item, ``sample`` vectors, and blocks of a fixed size.

    Args:
        path: the store.
        threshold: cosine, mean removed, from which on two items are near-duplicates.
        sample: of so many items the near-duplicates are looked for among all items; they are drawn
            at random where there are more.
        seed: of that drawing.
        sheet: written too, if given.

    Raises:
        InputError: no store, an incomplete or damaged one, an option out of its range, or a sheet
            that cannot be made (too few items, an unreadable table, no place to write).
    """
    if not (math.isfinite(threshold) and -1 < threshold <= 1):
        raise InputError(f"--threshold {threshold}: a cosine above -1 and at most 1")
    if sample < 1:
        raise InputError(f"--sample {sample}: at least 1 item has to be compared")
    store = FeatureStore.open(path)
    store.require_complete()
    vectors = ok_items(store)
    # What is wrong with the sheet must not be found out after the minutes of the rest.
    drawn = None if sheet is None else gather(vectors, sheet)
    summary = summarise(store, processed=0, seconds=0.0)
    rows = np.flatnonzero(vectors.numbers >= 0)
    codes = content_codes(store)[rows]
    compared = draw(len(rows), sample, seed)
    same = same_content(codes)
    if len(rows):
        near = near_duplicates(vectors, compared, threshold, codes)
        near_groups, pairs, pairs_same = near.groups, near.pairs, near.same_content
    else:
        near_groups, pairs, pairs_same = [], 0, 0
    report = Report(
        summary=summary,
        dim=store.manifest.dim,
        statistics=statistics(vectors) if len(rows) else None,
        same_content=_groups(store, rows, same),
        near=_groups(store, rows, near_groups),
        near_pairs=pairs,
        near_pairs_same_content=pairs_same,
        threshold=threshold,
        compared=len(compared),
    )
    if sheet is not None and drawn is not None:
        write_page(sheet.file, drawn, report.lines())
    return report


def _groups(
    store: FeatureStore, rows: NDArray[np.int64], groups: list[NDArray[np.int64]]
) -> Groups:
    shown = [group[:EXAMPLES] for group in groups[:SHOWN]]
    names = ids_of(store, rows[np.concatenate(shown)]) if shown else {}
    return Groups(
        groups=len(groups),
        items=sum(len(group) for group in groups),
        sizes=[len(group) for group in groups[:SHOWN]],
        examples=[[names[int(rows[number])] for number in group] for group in shown],
    )
