"""``features compare``: do two stores agree on what is near what, and which foretells labels?"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from extract.errors import InputError
from extract.inspect.accuracy import Difference, difference, majority, vote
from extract.inspect.cka import linear_cka
from extract.inspect.items import read_labels
from extract.inspect.neighbours import nearest
from extract.inspect.overlap import Overlap, overlap
from extract.inspect.vectors import Vectors, draw
from extract.locations import Location
from extract.store import FeatureStore
from extract.summary import printable


@dataclass(frozen=True)
class LabelOptions:
    """Where labels come from, and how many neighbours vote."""

    items: Location
    column: str
    id_column: str | None = None
    k: int = 5


def label_options(
    *, items: Location | None, column: str | None, id_column: str | None, k: int | None
) -> LabelOptions | None:
    """Labels from the options of a command line; None where none are wanted.

    Raises:
        InputError: a table without a column or the other way round, or an option without effect.
    """
    if items is None or column is None:
        for option, value, other in (
            ("--items", items, "--label COLUMN"),
            ("--label", column, "--items TABLE"),
            ("--id-column", id_column, "--items TABLE and --label COLUMN"),
            ("--label-k", k, "--items TABLE and --label COLUMN"),
        ):
            if value is not None:
                raise InputError(f"{option} acts on a label: add {other}")
        return None
    return LabelOptions(items, column, id_column, LabelOptions.k if k is None else k)


@dataclass(frozen=True)
class Labelled:
    """Leave-one-out kNN of the labelled items in common."""

    column: str
    k: int
    items: int
    queries: int
    """Items that were foretold; the neighbours are sought among all ``items``."""
    unlabelled: int
    labels: int
    majority: float
    """Share of the most frequent label among ``items``: what a guess without vectors reaches."""
    accuracy_a: float
    accuracy_b: float
    difference: Difference


@dataclass(frozen=True)
class Comparison:
    """What ``features compare`` found."""

    a: FeatureStore
    b: FeatureStore
    items: int
    """Items that have a vector in both."""
    only_a: int
    only_b: int
    """Items that have a vector in one of them alone."""
    queries: int
    overlap: Overlap
    cka: float | None
    labelled: Labelled | None

    def lines(self) -> list[str]:
        """The comparison as the command line prints it."""
        drawn = "" if self.queries == self.items else f" of {self.queries} items drawn at random"
        shared = self.overlap
        lines = [
            f"A {self.a.path}: {self.a.manifest.modality} through"
            f" {printable(self.a.manifest.encoder)}",
            f"B {self.b.path}: {self.b.manifest.modality} through"
            f" {printable(self.b.manifest.encoder)}",
            f"items with a vector in both: {self.items} (in A alone {self.only_a},"
            f" in B alone {self.only_b})",
            f"overlap of the {shared.k} nearest{drawn}: {shared.overlap:.3f}"
            f" (by chance {shared.overlap_by_chance:.3f}); Jaccard {shared.jaccard:.3f}"
            f" (by chance {shared.jaccard_by_chance:.3f})",
        ]
        if self.cka is not None:
            lines.append(f"linear CKA{drawn}: {self.cka:.3f} (debiased; 0 by chance, 1 the same)")
        if (found := self.labelled) is not None:
            lines += [
                f"leave-one-out {found.k}-NN of {printable(found.column)!r}: A"
                f" {found.accuracy_a:.3f}, B {found.accuracy_b:.3f}, majority"
                f" {found.majority:.3f} ({found.queries} of {found.items} items foretold,"
                f" {found.labels} labels, {found.unlabelled} without one)",
                f"A - B: {found.difference.value:+.3f}, 95% interval"
                f" {found.difference.low:+.3f} to {found.difference.high:+.3f}"
                f" (paired bootstrap); McNemar p = {found.difference.p_value:.2g}",
            ]
        return lines

    def as_json(self) -> dict[str, Any]:
        """The comparison for ``--json``."""
        return {
            **{
                name: {
                    "store": str(store.path),
                    "modality": store.manifest.modality,
                    "encoder": store.manifest.encoder,
                }
                for name, store in (("a", self.a), ("b", self.b))
            },
            "items": self.items,
            "only_a": self.only_a,
            "only_b": self.only_b,
            "queries": self.queries,
            "overlap": asdict(self.overlap),
            "cka": self.cka,
            "labelled": None if self.labelled is None else asdict(self.labelled),
        }


def compare(
    a: Location,
    b: Location,
    *,
    k: int = 10,
    sample: int = 10_000,
    seed: int = 0,
    cka: bool = False,
    labels: LabelOptions | None = None,
) -> Comparison:
    """Compare two complete stores on the items that have a vector in both, joined by id.

    Mean removed and cosine, each store by itself, so the two may differ in encoder, dim, order and
    modality. Memory: ids, ``sample`` vectors of each, and blocks of a fixed size.

    Args:
        a: a store.
        b: another.
        k: neighbours whose overlap is measured.
        sample: so many items have their neighbours found (among all items); they are drawn at
            random where there are more.
        seed: of that drawing and of the bootstrap.
        cka: also linear CKA, over the drawn items.
        labels: also leave-one-out kNN of a column of the item table.

    Raises:
        InputError: no store, an incomplete or damaged one, too few items in common, no such column,
            no or one label, or an option out of its range.
    """
    if k < 1:
        raise InputError(f"--k {k}: at least 1 neighbour")
    if sample < 1:
        raise InputError(f"--sample {sample}: at least 1 item has to be compared")
    if labels is not None and labels.k < 1:
        raise InputError(f"--label-k {labels.k}: at least 1 neighbour has to vote")
    stores = FeatureStore.open(a), FeatureStore.open(b)
    for store in stores:
        store.require_complete()
    known = None
    if labels is not None:
        known = read_labels(labels.items, labels.column, labels.id_column)
    rows_a, rows_b = _rows_by_id(stores[0]), _rows_by_id(stores[1])
    common = [name for name in rows_a if name in rows_b]
    if len(common) < k + 2:
        raise InputError(
            f"{a} and {b}: {len(common)} items have a vector in both, too few for the overlap of"
            f" {k} neighbours; choose a smaller --k, or stores of the same catalogue"
        )
    pair = _numbered(stores, (rows_a, rows_b), common)
    queries = draw(len(common), sample, seed)
    found = [nearest(vectors, queries, k) for vectors in pair]
    return Comparison(
        a=stores[0],
        b=stores[1],
        items=len(common),
        only_a=len(rows_a) - len(common),
        only_b=len(rows_b) - len(common),
        queries=len(queries),
        overlap=overlap(found[0].numbers, found[1].numbers, len(common)),
        cka=linear_cka(pair[0].take(queries), pair[1].take(queries)) if cka else None,
        labelled=None
        if labels is None or known is None
        else _foretell(stores, (rows_a, rows_b), common, known, labels, sample, seed),
    )


def _foretell(
    stores: tuple[FeatureStore, FeatureStore],
    rows: tuple[Mapping[str, int], Mapping[str, int]],
    common: list[str],
    known: Mapping[str, str],
    options: LabelOptions,
    sample: int,
    seed: int,
) -> Labelled:
    names = [name for name in common if name in known]
    if len(names) <= options.k:
        raise InputError(
            f"{options.items}: {len(names)} of the {len(common)} items in common have a label in"
            f" column {options.column!r}, too few for {options.k} neighbours"
        )
    labels = [known[name] for name in names]
    if len(set(labels)) == 1:
        raise InputError(
            f"{options.items}: all items in common have the same label {labels[0]!r} in column"
            f" {options.column!r}: there is nothing to foretell"
        )
    queries = draw(len(names), sample, seed)
    truth = np.array([labels[number] for number in queries])
    right = []
    for vectors in _numbered(stores, rows, names):
        right.append(np.array(vote(nearest(vectors, queries, options.k), labels)) == truth)
    return Labelled(
        column=options.column,
        k=options.k,
        items=len(names),
        queries=len(queries),
        unlabelled=len(common) - len(names),
        labels=len(set(labels)),
        majority=majority(labels)[1],
        accuracy_a=float(right[0].mean()),
        accuracy_b=float(right[1].mean()),
        difference=difference(right[0], right[1], seed),
    )


def _rows_by_id(store: FeatureStore) -> dict[str, int]:
    """The row of every item that has a vector, in store order."""
    rows: dict[str, int] = {}
    for part in range(store.part_count):
        start = store.part_rows(part).start
        statuses = store.part_statuses(part)
        found = zip(statuses["id"], statuses["status"], strict=True)
        rows |= {name: start + at for at, (name, status) in enumerate(found) if status == "ok"}
    return rows


def _numbered(
    stores: tuple[FeatureStore, FeatureStore],
    rows: tuple[Mapping[str, int], Mapping[str, int]],
    names: list[str],
) -> tuple[Vectors, Vectors]:
    """The same items of both stores under the same numbers."""

    def one(store: FeatureStore, row: Mapping[str, int]) -> Vectors:
        numbers: NDArray[np.int64] = np.full(store.item_count, -1, dtype=np.int64)
        numbers[[row[name] for name in names]] = np.arange(len(names))
        return Vectors(store, numbers)

    return one(stores[0], rows[0]), one(stores[1], rows[1])
