"""Which items' contents are not any more what a store was made from."""

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from extract.catalog import Catalog, Item
from extract.media.files import UnavailableError, passes
from extract.media.reading import Reader
from extract.preparation import NO_VALUE, NOT_IN_TABLE
from extract.store import FeatureStore
from extract.summary import printable

_log = logging.getLogger(__name__)


def changed_items(
    parts: Sequence[int],
    *,
    store: FeatureStore,
    catalog: Catalog,
    reader: Reader,
    workers: int,
    advance: Callable[[int], None],
) -> dict[int, int]:
    """Read the raw content of every item, decode nothing, and compare its digest.

    An item that could not be read and can be now has changed, and so has one that has left the
    table or has got a medium. One that failed for a reason that passes is tried again.

    An item that has a vector and whose medium cannot be read now (a disk that is not mounted, a
    folder that was moved) has not changed: nothing is known of its content. A part is only encoded
    as a whole, which would cost such an item its vector: so no part that holds one has changed. How
    many such items there are, and how many others wait for them, is logged as a warning.

    Args:
        parts: whole parts of the store.
        store: what was made from the contents.
        catalog: where the contents are now.
        reader: reads them.
        workers: threads that read.
        advance: called with the number of rows just compared.

    Returns:
        Part -> how many of its items have changed, for those that have any.

    Raises:
        InputError: a part is damaged, or the item table cannot be read any more.
    """

    def state(item: Item) -> tuple[str, str | None] | UnavailableError:
        if item.text is not None:
            return "content", reader.text_digest(item.text)
        if item.path is not None:
            try:
                return "content", reader.file_digest(item.path)
            except UnavailableError as error:
                return error
        return (NO_VALUE if item.in_table else NOT_IN_TABLE), None

    changed = {}
    kept = waiting = 0
    example = ""
    with ThreadPoolExecutor(workers, thread_name_prefix="compare") as pool:
        for part in parts:
            items = catalog.find(store.part_ids(part), near=store.part_rows(part).start)
            now = list(pool.map(state, items))
            count = unavailable = 0
            for (name, status, reason, digest), found in zip(
                store.part_statuses(part).iter_rows(), now, strict=True
            ):
                if isinstance(found, UnavailableError):
                    if status == "ok":
                        unavailable += 1
                        example = example or f"{name}: {found}"
                        continue
                    found = "content", None
                then = (reason if status == "missing" else "content"), digest
                count += passes(reason) or found != then
            if unavailable:
                kept, waiting = kept + unavailable, waiting + count
            elif count:
                changed[part] = count
            advance(len(items))
    if kept:
        others = f"; {waiting} changed items of the same parts wait for them" if waiting else ""
        _log.warning(
            "%d items cannot be read now (%s) and keep their vectors%s; mend what they point at, or"
            " take them out of the table",
            kept,
            printable(example),
            others,
        )
    return changed
