"""The local engine: one process works through the parts of a store that are not whole yet."""

from collections.abc import Callable, Iterator, Sequence

from extract.catalog import Catalog, Item
from extract.config import ExtractionConfig
from extract.encoders.base import Encoder
from extract.engines.parts import Outcome, Tally, preparing
from extract.media.reading import Reader
from extract.pipeline import Faults, encode_part
from extract.preparation import Prepared
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

    def finished(prepared: Prepared) -> None:
        advance(1)
        if prepared.status == "failed":
            tally.add(Outcome(failed=1, last=(prepared.id, prepared.reason or "")))

    def items() -> Iterator[Item]:
        for part in parts:
            yield from catalog.find(store.part_ids(part), near=store.part_rows(part).start)

    reader = Reader.of(config, catalog.base)
    with preparing(items(), reader, encoder, config, workers) as stream:
        for part in parts:
            content = encode_part(
                stream,
                len(store.part_rows(part)),
                encoder,
                batch_size=config.items_at_once,
                faults=faults,
                finished=finished,
            )
            if part == parts[-1]:
                # A table of few items: all there are have been tried.
                faults.check(at_least=1)
            store.write_part(part, content)
