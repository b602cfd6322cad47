"""Which items' contents are not any more what a store was made from."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from operator import ne, or_

from extract.catalog import Catalog, Item
from extract.media.files import CHANGED
from extract.media.reading import Reader
from extract.preparation import NO_MEMORY, NO_VALUE, NOT_IN_TABLE
from extract.store import FeatureStore

# Reasons that say nothing of the content: with the same bytes the item may succeed.
_PASSING = {CHANGED, NO_MEMORY}


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

    def state(item: Item) -> tuple[str, str | None]:
        if item.text is not None:
            return "content", reader.text_digest(item.text)
        if item.path is not None:
            return "content", reader.file_digest(item.path)
        return (NO_VALUE if item.in_table else NOT_IN_TABLE), None

    changed = {}
    with ThreadPoolExecutor(workers, thread_name_prefix="compare") as pool:
        for part in parts:
            items = catalog.find(store.part_ids(part), near=store.part_rows(part).start)
            now = list(pool.map(state, items))
            statuses = store.part_statuses(part)
            then = [
                (reason if status == "missing" else "content", digest)
                for _, status, reason, digest in statuses.iter_rows()
            ]
            passing = [reason in _PASSING for reason in statuses["reason"]]
            if count := sum(map(or_, passing, map(ne, now, then))):
                changed[part] = count
            advance(len(items))
    return changed
