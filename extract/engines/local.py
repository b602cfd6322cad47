"""The local engine: one process works through the parts of a store that are not whole yet."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from extract.catalog import Catalog, Item
from extract.config import ExtractionConfig
from extract.device import resolve_device
from extract.encoders.base import Encoder
from extract.engines.parts import Outcome, Tally, preparing
from extract.media.reading import Reader
from extract.pipeline import BatchSize, Faults, encode_part
from extract.preparation import Prepared, threads_beside
from extract.store import FeatureStore


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
            written = writer.submit(store.write_part, part, content)
        if written is not None:
            written.result()
