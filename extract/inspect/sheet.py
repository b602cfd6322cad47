"""A sheet of nearest neighbours: some items drawn at random, and what lies nearest to each."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from extract.errors import InputError
from extract.files import require_writable
from extract.inspect.items import LONGEST_SOUND, ItemSource, read_labels, read_media
from extract.inspect.neighbours import nearest
from extract.inspect.previews import Preview
from extract.inspect.vectors import Vectors, draw, ids_of
from extract.locations import Location
from extract.manifest import StoreManifest


@dataclass(frozen=True)
class SheetOptions:
    """What a sheet shows and where it is written."""

    file: Path
    queries: int = 20
    """How many items are drawn."""
    neighbours: int = 6
    """How many of the nearest are shown of each."""
    seed: int = 0
    source: ItemSource | None = None
    """Where the items' media are; without it the sheet shows ids."""
    label: str | None = None
    """Column of ``source.items`` that is shown with each item."""


def sheet_options(
    file: Path | None,
    *,
    items: Location | None,
    id_column: str | None,
    columns: Sequence[str] | None,
    text_template: str | None,
    media_roots: Sequence[Location] | None,
    label: str | None,
    queries: int | None,
    neighbours: int | None,
    seed: int,
) -> SheetOptions | None:
    """A sheet from the options of a command line; None where none is wanted.

    Raises:
        InputError: an option that would do nothing.
    """
    of_table: dict[str, object] = {
        "--id-column": id_column,
        "--column": columns,
        "--text-template": text_template,
        "--media-root": media_roots,
        "--label": label,
    }
    of_sheet: dict[str, object] = {
        "--items": items,
        "--queries": queries,
        "--neighbours": neighbours,
    }
    if file is None:
        _refuse_idle(of_sheet | of_table, "--sheet")
        return None
    if items is None:
        _refuse_idle(of_table, "--items")
    source = None
    if items is not None:
        source = ItemSource(
            items, id_column, tuple(columns or ()), text_template, tuple(media_roots or ())
        )
    drawn = SheetOptions(file, seed=seed, source=source, label=label)
    return replace(
        drawn,
        queries=drawn.queries if queries is None else queries,
        neighbours=drawn.neighbours if neighbours is None else neighbours,
    )


def _refuse_idle(options: dict[str, object], without: str) -> None:
    for name, value in options.items():
        if value is not None:
            raise InputError(f"{name} acts on the sheet of neighbours: add {without}")


@dataclass(frozen=True)
class Card:
    """One item as it is shown."""

    id: str
    preview: Preview
    label: str | None


@dataclass(frozen=True)
class Row:
    """An item that was drawn, and its nearest with their similarities, the nearest first."""

    query: Card
    neighbours: list[tuple[Card, float]]


@dataclass(frozen=True)
class Sheet:
    """All that the page shows beside the report."""

    manifest: StoreManifest
    options: SheetOptions
    items: int
    """How many items have a vector."""
    rows: list[Row]

    def cards(self) -> Iterator[Card]:
        """Every card, once for each place where it is shown."""
        for row in self.rows:
            yield row.query
            yield from (card for card, _ in row.neighbours)

    def same_label(self) -> tuple[int, int]:
        """How many of the neighbours shown bear their query's label, of how many; both have one."""
        pairs = [
            (row.query.label, card.label)
            for row in self.rows
            for card, _ in row.neighbours
            if row.query.label is not None and card.label is not None
        ]
        return sum(query == other for query, other in pairs), len(pairs)


def gather(vectors: Vectors, options: SheetOptions) -> Sheet:
    """Draw the items, find their neighbours, and decode what is to be shown of them.

    Args:
        vectors: all items that have a vector.
        options: what to show.

    Raises:
        InputError: too few items, an option out of its range or without effect, a table that cannot
            be read or holds none of the items, or no place to write.
    """
    if options.queries < 1 or options.neighbours < 1:
        raise InputError("--queries and --neighbours: a sheet shows at least 1 of each")
    if vectors.count <= options.neighbours:
        raise InputError(
            f"{vectors.store.path}: {vectors.count} items have a vector, too few to show"
            f" {options.neighbours} neighbours of each; choose fewer --neighbours"
        )
    require_writable(options.file)
    labels: dict[str, str] = {}
    if options.source is not None and options.label is not None:
        labels = read_labels(options.source.items, options.label, options.source.id_column)

    queries = draw(vectors.count, options.queries, options.seed)
    found = nearest(vectors, queries, options.neighbours)
    rows_of = np.flatnonzero(vectors.numbers >= 0)
    shown = np.unique(np.concatenate([queries, found.numbers.ravel()]))
    names = ids_of(vectors.store, rows_of[shown])
    previews = _previews(vectors.store.manifest, options.source, list(names.values()))

    def card(number: int) -> Card:
        name = names[int(rows_of[number])]
        return Card(name, previews[name], labels.get(name))

    return Sheet(
        manifest=vectors.store.manifest,
        options=options,
        items=vectors.count,
        rows=[
            Row(card(query), [(card(n), float(s)) for n, s in zip(near, how_near, strict=True)])
            for query, near, how_near in zip(
                queries, found.numbers, found.similarities, strict=True
            )
        ],
    )


def _previews(
    manifest: StoreManifest, source: ItemSource | None, ids: list[str]
) -> dict[str, Preview]:
    previews = {name: Preview() for name in ids}
    if source is None:
        return previews
    held = read_media(
        source,
        manifest.modality,
        ids,
        lambda name, kind, raw: previews[name].add(kind, raw),
        # What was not too long for the encoder is not too long to be shown.
        max_seconds=float(manifest.decoding.get("max_seconds", LONGEST_SOUND)),
    )
    if not held:
        raise InputError(
            f"{source.items}: holds none of the {len(ids)} items to be shown, such as"
            f" {ids[0]!r}; is it the table that the store was made from?"
        )
    for name in previews.keys() - held:
        previews[name].problems.append("not in the item table")
    return previews
