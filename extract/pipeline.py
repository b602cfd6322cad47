"""One part: prepared items -> batches of like length -> vectors.

Memory is bounded by bytes, not by the part: prepared items are gathered into a *window*, a whole
number of batches that ends at ``WINDOW_ITEMS`` items or ``WINDOW_BYTES`` bytes; a window is sorted
by ``encoder.length``, cut into batches and encoded, while the threads prepare about as many items
as the window before held. Where a window ends depends on the items alone, so the number of threads
changes nothing in the result. Of items with the same raw content only the first of a part is in a
window; the others get its vector, or the reason why it has none, unless that says nothing of the
content.
"""

import logging
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from extract.encoders.base import Encoder
from extract.errors import InputError
from extract.media.files import LACKS_MEMORY, passes
from extract.preparation import Preparation, Prepared, encoder_failed, out_of_memory
from extract.store import STATUS_SCHEMA, Part

WINDOW_ITEMS = 1024
WINDOW_BYTES = 64 * 2**20

# So many items on which the encoder raised alike, and none that it encoded: the fault is its own.
SAME_FAULTS = 8

# So many items one after another for which there was no memory: it is not they that are too large.
_WITHOUT_MEMORY = 64

_log = logging.getLogger(__name__)


@dataclass
class Faults:
    """Tells an encoder that is broken from items that it cannot take.

    One item on which the encoder raises is that item's failure. But if nothing was ever encoded and
    every attempt raised from the same line, recording each item as failed would hide a broken
    encoder; and if memory is gone for good, recording the rest of a catalogue as failed would leave
    nothing to go on with.
    """

    encoded: bool
    """Whether any item of the store has a vector."""
    places: list[tuple[object, ...]] = field(default_factory=list)
    last: Exception | None = None
    reason: str = ""
    """What the last exception said."""
    without_memory: int = 0
    """Items since the last one that was encoded for which memory ran out."""

    def record(self, error: Exception) -> str:
        """Count one item's exception; returns the reason for its row.

        Raises:
            InputError: memory ran out for item after item.
        """
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        where = (trace.tb_frame.f_code.co_filename, trace.tb_lineno) if trace else ("?", 0)
        self.places.append((type(error), *where))
        # What the encoder was computing when it raised is not to be held on to.
        traceback.clear_frames(error.__traceback__)
        self.last, self.reason = error, encoder_failed(error)
        self.without_memory += out_of_memory(error)
        if self.without_memory >= _WITHOUT_MEMORY:
            raise InputError(
                f"out of memory for each of the last {self.without_memory} items, even alone; free"
                " memory, or choose another --device, and run the same command again: finished"
                " parts are kept"
            ) from error
        return self.reason

    def succeed(self) -> None:
        """Note that items have been encoded."""
        self.encoded, self.without_memory = True, 0

    def check(self, at_least: int) -> None:
        """End the run if the encoder itself is at fault.

        Raises:
            InputError: nothing was ever encoded, and at least so many attempts all failed alike.
        """
        if self.encoded or not self.places or len(self.places) < at_least:
            return
        if len(set(self.places)) == 1:
            _, file, line = self.places[0]
            raise InputError(
                f"{self.reason} (at {file}:{line}), the same for every one of the"
                f" {len(self.places)} items tried"
            ) from self.last


class BatchSize:
    """How many items the encoder sees at once: as many as given, fewer once memory has run out."""

    def __init__(self, given: int) -> None:
        self.given = given
        self.now = given

    def lower(self, size: int) -> None:
        """Go on with fewer items, and tell the person."""
        self.now = size
        _log.warning(
            "out of memory: the encoder gets %d items at once from now on (--batch-size %d)",
            size,
            size,
        )


def encode_part(
    stream: Preparation,
    rows: int,
    encoder: Encoder,
    *,
    batches: BatchSize,
    faults: Faults,
    finished: Callable[[Sequence[Prepared]], None],
) -> Part:
    """Take the next ``rows`` items from the stream and encode them.

    Args:
        stream: prepared items, in the table's order.
        rows: how many belong to this part.
        encoder: already on its device.
        batches: how many items ``encoder.encode`` sees at once; shared by all parts of a run.
        faults: shared by all parts of a run.
        finished: called with rows whose status is final, each row once; may raise to end the run.

    Returns:
        The part, not yet written.

    Raises:
        InputError: the encoder breaks its contract, fails on everything, or has no memory left.
    """
    try:
        vectors = np.full((rows, encoder.dim), np.nan, dtype=np.float32)
    except (MemoryError, ValueError):
        raise InputError(
            f"no memory for {rows} vectors of {encoder.dim} numbers; choose fewer --rows-per-part"
        ) from None
    part = _OpenPart(vectors, encoder, batches, faults)
    while len(part.records) < rows:
        window, copies, unfit = part.take_window(stream)
        finished(unfit)
        # Keeps the threads busy during the next window and memory at about two windows.
        stream.ahead = max(len(window), 2 * batches.given)
        window.sort(key=lambda row: part.records[row].length)
        with stream.encoding():
            while window:
                batch, window = window[: batches.now], window[batches.now :]
                part.encode(batch)
                faults.check(at_least=SAME_FAULTS)
                finished([part.records[row] for row in batch])
        faults.check(at_least=SAME_FAULTS)
        part.copy(copies, stream)
        faults.check(at_least=SAME_FAULTS)
        finished([part.records[row] for row in copies])
    columns = {name: [getattr(row, name) for row in part.records] for name in STATUS_SCHEMA}
    return Part(vectors=vectors, statuses=pl.DataFrame(columns, schema=STATUS_SCHEMA))


class _OpenPart:
    """A part that is being filled."""

    def __init__(
        self, vectors: NDArray[np.float32], encoder: Encoder, batches: BatchSize, faults: Faults
    ) -> None:
        self.records: list[Prepared] = []
        """The rows so far."""
        self._vectors = vectors
        self._encoder = encoder
        self._batches = batches
        self._faults = faults
        self._first: dict[str, int] = {}
        """Digest of a raw content -> the row that has it and stands for the others."""
        self._too_large: set[str] = set()
        """Digests of contents for which memory ran out in two rows."""

    def take_window(self, stream: Preparation) -> tuple[list[int], list[int], list[Prepared]]:
        """The rows to encode; rows that repeat the content of an earlier one; the unfit."""
        window: list[int] = []
        copies: list[int] = []
        unfit: list[Prepared] = []
        size = 0
        while len(self.records) < len(self._vectors):
            prepared, row = next(stream), len(self.records)
            self.records.append(prepared)
            if prepared.digest is not None:
                earlier = self._first.setdefault(prepared.digest, row)
                if earlier < row:
                    # It may have been prepared all the same: threads do not wait for one another.
                    prepared.value = prepared.error = None
                    copies.append(row)
                    continue
            prepared.item = None
            if prepared.status != "ok":
                if prepared.error is not None:
                    self._faults.record(prepared.error)
                    prepared.error = None
                unfit.append(prepared)
                continue
            window.append(row)
            size += prepared.size
            full = len(window) >= WINDOW_ITEMS or size >= WINDOW_BYTES
            if full and len(window) % self._batches.given == 0:
                break
        return window, copies, unfit

    def encode(self, rows: Sequence[int]) -> None:
        """Encode rows into their vectors, or record why not; let go of what was prepared."""
        fitting = self._encode(rows)
        if fitting < self._batches.now:
            self._batches.lower(fitting)
        for row in rows:
            self.records[row].value = None

    def _encode(self, rows: Sequence[int]) -> int:
        """Encode rows at once, or in halves where memory does not suffice; how many may come next.

        An item for which there is no memory even alone is itself too large: then no fewer.
        """
        batch = [self.records[row] for row in rows]
        try:
            encoded = _encode(self._encoder, [prepared.value for prepared in batch])
        except InputError:
            raise
        except Exception as error:
            if len(batch) == 1:
                batch[0].fail(self._faults.record(error))
                return self._batches.now
            exhausted = out_of_memory(error)
        else:
            self._faults.succeed()
            self._keep(rows, encoded)
            return self._batches.now
        # Out of the clause above the exception is gone, and with it what its frames held.
        if not exhausted:
            # One item that the encoder cannot take must not cost the others their vectors.
            return min(self._encode([row]) for row in rows)
        half = -(-len(rows) // 2)
        fewest = min(self._encode(rows[:half]), self._encode(rows[half:]))
        return fewest if any(row.status == "failed" for row in batch) else min(half, fewest)

    def _keep(self, rows: Sequence[int], encoded: NDArray[np.float32]) -> None:
        finite: NDArray[np.bool_] = np.asarray(np.isfinite(encoded).all(axis=1))
        if finite.all():
            self._vectors[rows] = encoded
            return
        for row, vector, usable in zip(rows, encoded, finite, strict=True):
            if usable:
                self._vectors[row] = vector
            else:
                self.records[row].fail("encoder returned NaN or infinity")

    def copy(self, copies: Sequence[int], stream: Preparation) -> None:
        """Give rows what became of an earlier row with the same content.

        Where that failed for a reason that passes, the next row is tried itself, and so on. But a
        content for which memory ran out twice is too large: its copies are not tried one by one.
        """
        for row in copies:
            record = self.records[row]
            item, record.item = record.item, None
            digest = record.digest or ""
            earlier = self._first[digest]
            reason = self.records[earlier].reason
            if item is not None and passes(reason) and digest not in self._too_large:
                self.records[row] = tried = stream.again(item)
                if tried.error is not None:
                    self._faults.record(tried.error)
                    tried.error = None
                if tried.status == "ok":
                    self.encode([row])
                if tried.digest == digest:
                    self._first[digest] = row
                    if all(_lacked_memory(why) for why in (reason, tried.reason)):
                        self._too_large.add(digest)
                continue
            record.status, record.reason = self.records[earlier].status, reason
            self._vectors[row] = self._vectors[earlier]


def _lacked_memory(reason: str | None) -> bool:
    return reason is not None and reason.startswith(LACKS_MEMORY)


def _encode(encoder: Encoder, values: list[Any]) -> NDArray[np.float32]:
    """(n, dim) float32 on the CPU."""
    try:
        with torch.inference_mode():
            encoded = encoder.encode(values)
            if isinstance(encoded, torch.Tensor) and encoded.is_floating_point():
                encoded = encoded.to("cpu", torch.float32)
    except torch.AcceleratorError as error:
        # After one of these every later call on the device fails too.
        raise InputError(f"the device failed: {' '.join(str(error).split())[:300]}") from error
    wanted = (len(values), encoder.dim)
    if not isinstance(encoded, torch.Tensor) or encoded.dtype != torch.float32:
        kind = getattr(encoded, "dtype", type(encoded).__name__)
        raise InputError(f"{_name(encoder)}.encode returned {kind}, not a floating-point tensor")
    if tuple(encoded.shape) != wanted:
        raise InputError(
            f"{_name(encoder)}.encode returned shape {tuple(encoded.shape)} for a batch of"
            f" {len(values)}; {wanted} was expected"
        )
    return np.asarray(encoded.numpy())


def _name(encoder: Encoder) -> str:
    return type(encoder).__name__
