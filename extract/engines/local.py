"""The local engine: one process works through the parts of a store that are not whole yet."""

import warnings
from collections.abc import Callable, Iterator, Sequence

from extract.catalog import Catalog, Item
from extract.config import ExtractionConfig
from extract.encoders.base import Encoder
from extract.errors import TooManyErrors
from extract.media.reading import Reader
from extract.pipeline import Faults, encode_part
from extract.preparation import TASK_ROWS, Preparation, Prepared, prepare
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
    whole = sorted(set(range(store.part_count)) - set(parts))
    failed, encoded = 0, False
    for part in whole:
        record = store.part_record(part) or {}
        failed += record.get("failed", 0)
        encoded = encoded or "ok" in record

    def finished(prepared: Prepared) -> None:
        nonlocal failed
        advance(1)
        if prepared.status == "failed":
            failed += 1
            if config.max_errors is not None and failed > config.max_errors:
                raise TooManyErrors(
                    f"more than {config.max_errors} items failed, the last was"
                    f" {prepared.id!r}: {prepared.reason}; finished parts are kept in {store.path}"
                )

    def items() -> Iterator[Item]:
        for part in parts:
            yield from catalog.find(store.part_ids(part), near=store.part_rows(part).start)

    reader = Reader.of(config, catalog.base)
    faults = Faults(encoded=encoded)
    preparation = Preparation(
        items(),
        lambda item: prepare(item, reader, encoder),
        workers=workers,
        task_rows=TASK_ROWS[config.modality],
        ahead=2 * config.batch_size,
    )
    with warnings.catch_warnings(), preparation as stream:
        # Here and not around each picture: filters belong to the whole process, not to a thread.
        # What Pillow has to say of a file is in that item's reason, or did no harm.
        warnings.filterwarnings("ignore", module=r"PIL\.")
        for part in parts:
            content = encode_part(
                stream,
                len(store.part_rows(part)),
                encoder,
                batch_size=config.batch_size,
                faults=faults,
                finished=finished,
            )
            if part == parts[-1]:
                # A table of few items: all there are have been tried.
                faults.check(at_least=1)
            store.write_part(part, content)
