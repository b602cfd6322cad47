"""What the engines have in common: reading and preparing rows, and counting failures."""

import warnings
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import polars as pl

from extract.catalog import Item
from extract.config import ExtractionConfig
from extract.encoders.base import Encoder
from extract.errors import TooManyErrors
from extract.media.reading import Reader
from extract.pipeline import Faults
from extract.preparation import Preparation
from extract.store import FeatureStore


@dataclass(frozen=True)
class Outcome:
    """What became of some rows."""

    failed: int = 0
    last: tuple[str, str] | None = None
    """Id and reason of the last row that failed."""
    encoded: bool = False
    """Whether any row has a vector."""


def outcome_of(statuses: pl.DataFrame) -> Outcome:
    """Count a part's rows; columns as ``extract.store.STATUS_SCHEMA``."""
    failed = statuses.filter(pl.col("status") == "failed")
    last = failed.row(-1, named=True) if failed.height else None
    return Outcome(
        failed=failed.height,
        last=(last["id"], last["reason"]) if last else None,
        encoded="ok" in statuses["status"],
    )


class Tally:
    """Failures over a whole store, those of parts that were whole before included."""

    def __init__(self, store: FeatureStore, pending: Collection[int], most: int | None) -> None:
        """Count what stands in the store.

        Args:
            store: read part by part.
            pending: numbers of the parts that are not whole.
            most: failures that are allowed; None: any number.
        """
        self.failed = 0
        self.encoded = False
        """Whether any item of the store has a vector."""
        self._store, self._most = store, most
        for part in sorted(set(range(store.part_count)) - set(pending)):
            record = store.part_record(part) or {}
            self.failed += record.get("failed", 0)
            self.encoded = self.encoded or "ok" in record

    def add(self, outcome: Outcome) -> None:
        """Count rows that were just finished.

        Raises:
            TooManyErrors: with them more items failed than are allowed.
        """
        self.failed += outcome.failed
        self.encoded = self.encoded or outcome.encoded
        if outcome.last is not None and self._most is not None and self.failed > self._most:
            name, reason = outcome.last
            raise TooManyErrors(
                f"more than {self._most} items failed, the last was {name!r}: {reason}; finished"
                f" parts are kept in {self._store.path}"
            )


class DoubtfulError(Exception):
    """Nothing was encoded yet, and there are attempts that failed."""


class UndecidedFaults(Faults):
    """Faults of one part alone: whether the encoder is broken, somebody else has to decide."""

    def check(self, at_least: int) -> None:
        """End the part as soon as there is a doubt.

        Raises:
            DoubtfulError: nothing was encoded, and at least so many attempts failed.
        """
        if not self.encoded and len(self.places) >= at_least:
            raise DoubtfulError


@contextmanager
def preparing(
    parts: Iterable[Sequence[Item]],
    reader: Reader,
    encoder: Encoder,
    config: ExtractionConfig,
    *,
    workers: int,
    beside: int,
) -> Iterator[Preparation]:
    """Rows of parts decoded and preprocessed in threads, in their order.

    Args:
        parts: the items of one part after another.
        reader: decodes their media.
        encoder: preprocesses them.
        config: the batch size.
        workers: threads.
        beside: how many of them go on while the encoder computes, as ``threads_beside`` says.
    """
    preparation = Preparation(
        parts,
        reader,
        encoder,
        workers=workers,
        ahead=2 * config.items_at_once,
        beside=beside,
    )
    with warnings.catch_warnings(), preparation as stream:
        # Here and not around each picture: filters belong to the whole process, not to a thread.
        # What Pillow has to say of a file is in that item's reason, or did no harm.
        warnings.filterwarnings("ignore", module=r"PIL\.")
        yield stream
