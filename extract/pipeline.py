"""One part: prepared items -> batches of like length -> vectors.

Memory is bounded by bytes, not by the part: prepared items are gathered into a *window*, a whole
number of batches that ends at ``WINDOW_ITEMS`` items or ``WINDOW_BYTES`` bytes; a window is sorted
by ``encoder.length``, cut into batches and encoded, while the threads prepare about as many items
as the window before held. Where a window ends depends on the items alone, so the number of threads
changes nothing in the result.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from extract.encoders.base import Encoder
from extract.errors import InputError
from extract.preparation import Preparation, Prepared, encoder_failed, out_of_memory, size_of
from extract.store import STATUS_SCHEMA, Part

WINDOW_ITEMS = 1024
WINDOW_BYTES = 64 * 2**20

# So many items on which the encoder raised alike, and none that it encoded: the fault is its own.
SAME_FAULTS = 8


@dataclass
class Faults:
    """Tells an encoder that is broken from items that it cannot take.

    One item on which the encoder raises is that item's failure. But if nothing was ever encoded and
    every attempt raised from the same line, recording each item as failed would hide a broken
    encoder.
    """

    encoded: bool
    """Whether any item of the store has a vector."""
    places: list[tuple[object, ...]] = field(default_factory=list)
    last: Exception | None = None
    reason: str = ""
    """What the last exception said."""

    def record(self, error: Exception) -> str:
        """Count one item's exception; returns the reason for its row."""
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        where = (trace.tb_frame.f_code.co_filename, trace.tb_lineno) if trace else ("?", 0)
        self.places.append((type(error), *where))
        self.last, self.reason = error, encoder_failed(error)
        return self.reason

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


def encode_part(
    stream: Preparation,
    rows: int,
    encoder: Encoder,
    *,
    batch_size: int,
    faults: Faults,
    finished: Callable[[Prepared], None],
) -> Part:
    """Take the next ``rows`` items from the stream and encode them.

    Args:
        stream: prepared items, in the table's order.
        rows: how many belong to this part.
        encoder: already on its device.
        batch_size: items that ``encoder.encode`` sees at once.
        faults: shared by all parts of a run.
        finished: called once for each row when its status is final; may raise to end the run.

    Returns:
        The part, not yet written.

    Raises:
        InputError: the encoder breaks its contract, runs out of memory, or fails on everything.
    """
    try:
        vectors = np.full((rows, encoder.dim), np.nan, dtype=np.float32)
    except (MemoryError, ValueError):
        raise InputError(
            f"no memory for {rows} vectors of {encoder.dim} numbers; choose fewer --rows-per-part"
        ) from None
    records: list[Prepared] = []
    while len(records) < rows:
        window: list[int] = []
        size = 0
        while len(records) < rows:
            prepared = next(stream)
            records.append(prepared)
            if prepared.status == "ok":
                window.append(len(records) - 1)
                size += size_of(prepared.value)
                full = len(window) >= WINDOW_ITEMS or size >= WINDOW_BYTES
                if full and len(window) % batch_size == 0:
                    break
            else:
                if prepared.error is not None:
                    faults.record(prepared.error)
                    prepared.error = None
                finished(prepared)
        # Keeps the threads busy during the next window and memory at about two windows.
        stream.ahead = max(len(window), 2 * batch_size)
        window.sort(key=lambda row: records[row].length)
        for start in range(0, len(window), batch_size):
            batch = window[start : start + batch_size]
            _encode_batch(encoder, [records[row] for row in batch], batch, vectors, faults)
            faults.check(at_least=SAME_FAULTS)
            for row in batch:
                records[row].value = None
                finished(records[row])
        faults.check(at_least=SAME_FAULTS)
    statuses = pl.DataFrame(
        [(record.id, record.status, record.reason, record.digest) for record in records],
        schema=STATUS_SCHEMA,
        orient="row",
    )
    return Part(vectors=vectors, statuses=statuses)


def _encode_batch(
    encoder: Encoder,
    batch: Sequence[Prepared],
    rows: Sequence[int],
    vectors: NDArray[np.float32],
    faults: Faults,
) -> None:
    """Encode a batch into its rows of ``vectors``; what fails is tried item by item."""
    try:
        encoded = _encode(encoder, [prepared.value for prepared in batch])
    except InputError:
        raise
    except Exception as error:
        if len(batch) == 1:
            batch[0].fail(faults.record(error))
            return
        # One item that the encoder cannot take must not cost the others their vectors.
        for prepared, row in zip(batch, rows, strict=True):
            _encode_batch(encoder, [prepared], [row], vectors, faults)
        return
    faults.encoded = True
    for prepared, row, vector in zip(batch, rows, encoded, strict=True):
        if np.isfinite(vector).all():
            vectors[row] = vector
        else:
            prepared.fail("encoder returned NaN or infinity")


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
    except (RuntimeError, MemoryError) as error:
        if out_of_memory(error):
            raise InputError(
                f"out of memory while encoding a batch of {len(values)}; choose a smaller"
                " --batch-size"
            ) from error
        raise
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
