"""The local engine: one process works through the parts of a store that are not whole yet."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from extract.catalog import Catalog, Item
from extract.config import ExtractionConfig
from extract.device import resolve_device
from extract.encoders.base import Encoder
from extract.engines.parts import Outcome, Tally, preparing
from extract.errors import ExtractionInterrupted
from extract.media.reading import Reader
from extract.pipeline import BatchSize, Faults, encode_part
from extract.preparation import Prepared, threads_beside
from extract.store import FeatureStore, Part


def run_parts(
    parts: Sequence[int],
    *,
    store: FeatureStore,
    catalog: Catalog,
    encoder: Encoder,
    config: ExtractionConfig,
    workers: int,
    advance: Callable[[int], None],
) -> None:
    """Encode parts one after another and write each as soon as it is finished.

    Decoding runs ahead over the end of a part, batches do not.

    Args:
        parts: numbers of the parts to make; all others must be whole.
        store: where they are written.
        catalog: where the items of those parts are looked up.
        encoder: already on its device.
        config: batch size, media roots, longest sound and ``max_errors``.
        workers: threads that decode and preprocess.
        advance: called with the number of rows just finished.

    Raises:
        TooManyErrors: more items failed than ``config.max_errors``, those of whole parts included.
        InputError: the encoder is broken, or the store cannot be written.
        ExtractionInterrupted: Ctrl-C; finished parts are kept.
    """
    tally = Tally(store, parts, config.max_errors)
    faults = Faults(encoded=tally.encoded)

    def finished(rows: Sequence[Prepared]) -> None:
        advance(len(rows))
        for prepared in rows:
            if prepared.status == "failed":
                tally.add(Outcome(failed=1, last=(prepared.id, prepared.reason or "")))

    def items() -> Iterator[list[Item]]:
        for part in parts:
            yield catalog.find(store.part_ids(part), near=store.part_rows(part).start)

    reader, batches = Reader.of(config, catalog.base), BatchSize(config.items_at_once)
    made: list[int] = []

    def write(part: int, content: Part) -> None:
        store.write_part(part, content)
        made.append(part)

    writer = ThreadPoolExecutor(1, thread_name_prefix="write")
    written: Future[None] | None = None
    preparation = preparing(
        items(),
        reader,
        encoder,
        config,
        workers=workers,
        beside=threads_beside(resolve_device(config.device), os.cpu_count() or 1),
    )
    try:
        with writer, preparation as stream:
            for part in parts:
                content = encode_part(
                    stream,
                    len(store.part_rows(part)),
                    encoder,
                    batches=batches,
                    faults=faults,
                    finished=finished,
                )
                if part == parts[-1]:
                    # A table of few items: all there are have been tried.
                    faults.check(at_least=1)
                # Synced to the disk while the next part is encoded; never more than one waits.
                if written is not None:
                    written.result()
                written = writer.submit(write, part, content)
            if written is not None:
                written.result()
    except KeyboardInterrupt:
        # Only here: the part that was being written has been waited for. Whether it is whole,
        # `made` knows: polars, while it works in a thread, ends it at a Ctrl-C, too.
        raise ExtractionInterrupted(_what_is_kept(store, parts, len(made))) from None


def _what_is_kept(store: FeatureStore, parts: Sequence[int], made: int) -> str:
    """What an interrupted run leaves, for people; it had made so many of its ``parts``."""
    whole = store.part_count - len(parts) + made
    if whole:
        return (
            f"interrupted: {whole:,} of {store.part_count:,} parts are finished and kept in"
            f" {store.path}; the same command goes on after them"
        )
    if store.has_finished_parts:
        # Those of an update, in which something has changed.
        return (
            f"interrupted: none of {store.part_count:,} parts was made anew yet; {store.path} is as"
            " it was, and the same command begins again"
        )
    rows = len(store.part_rows(parts[0]))
    return (
        f"interrupted: no part of {rows:,} items was finished yet, so nothing is kept; with a"
        " smaller --rows-per-part there would be more to keep"
    )
