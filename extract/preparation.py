"""Before the encoder: rows decoded and preprocessed in threads, handed on in their order."""

import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any, Self

import numpy as np
import torch
from PIL.Image import Image

from extract.catalog import Item
from extract.encoders.base import Encoder, Raw
from extract.errors import InputError
from extract.media.files import MediaError
from extract.media.reading import Reader
from extract.store import Status

# Rows a thread takes at once: a text is prepared in less time than a task takes to hand over.
TASK_ROWS = {"text": 32, "image": 1, "audio": 1, "video": 1}


NO_VALUE = "no value in the table"
NOT_IN_TABLE = "not in the item table any more"


@dataclass(slots=True)
class Prepared:
    """One row on its way; ``value`` is what ``encoder.encode`` takes, None unless status is ok."""

    id: str
    status: Status
    reason: str | None = None
    digest: str | None = None
    value: Any = None
    length: int = 0
    error: Exception | None = None
    """What ``encoder.preprocess`` raised, other than the ValueError of an item it cannot take."""

    def fail(self, reason: str) -> None:
        """Turn the row into a failure."""
        self.status, self.reason, self.value = "failed", reason, None


def prepare(item: Item, reader: Reader, encoder: Encoder) -> Prepared:
    """Decode and preprocess one row; whatever is wrong with it becomes its status and reason."""
    digest: str | None
    raw: Raw | MediaError
    if item.text is not None:
        digest, raw = reader.read_text(item.text)
    elif item.path is not None:
        digest, raw = reader.read_file(item.path)
    else:
        return Prepared(item.id, "missing", NO_VALUE if item.in_table else NOT_IN_TABLE)
    if isinstance(raw, MediaError):
        return Prepared(item.id, "failed", str(raw), digest)
    try:
        with torch.inference_mode():
            value = encoder.preprocess(raw)
            length: object = encoder.length(value)
    except ValueError as error:
        reason = " ".join(str(error).split()) or "refused by the encoder"
        return Prepared(item.id, "failed", reason, digest)
    except InputError:
        raise
    except Exception as error:
        return Prepared(item.id, "failed", encoder_failed(error), digest, error=error)
    if not isinstance(length, int):
        raise InputError(
            f"{type(encoder).__name__}.length() must give a whole number; it gave"
            f" {type(length).__name__} for item {item.id!r}"
        )
    return Prepared(item.id, "ok", None, digest, value, length)


class Preparation:
    """Prepares items in threads and hands them out in their order, a bounded number ahead.

    Used with ``with``; leaving it cancels what is still waiting. ``ahead`` may be changed at any
    time and decides how many items are submitted and not yet handed out.
    """

    def __init__(
        self,
        items: Iterable[Item],
        work: Callable[[Item], Prepared],
        *,
        workers: int,
        task_rows: int,
        ahead: int,
    ) -> None:
        self.ahead = ahead
        self._items = iter(items)
        self._work = work
        self._task_rows = task_rows
        self._tasks: deque[Future[list[Prepared]]] = deque()
        self._ready: deque[Prepared] = deque()
        self._outstanding = 0
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="prepare")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Prepared:
        while self._outstanding < self.ahead and (task := list(self._next_task())):
            self._outstanding += len(task)
            self._tasks.append(self._pool.submit(lambda rows: [*map(self._work, rows)], task))
        if not self._ready:
            if not self._tasks:
                raise StopIteration
            self._ready.extend(self._tasks.popleft().result())
        self._outstanding -= 1
        return self._ready.popleft()

    def _next_task(self) -> Iterator[Item]:
        return islice(self._items, self._task_rows)


def size_of(value: object) -> int:
    """Bytes that a prepared item holds, roughly: arrays exactly, numbers by the piece."""
    if isinstance(value, torch.Tensor | np.ndarray):
        return int(value.nbytes)
    if isinstance(value, Image):
        return value.width * value.height * len(value.getbands())
    if isinstance(value, Mapping):
        return sum(size_of(entry) for entry in value.values())
    if isinstance(value, list | tuple):
        if value and isinstance(value[0], int | float):
            return 32 * len(value)
        return sum(size_of(entry) for entry in value)
    if isinstance(value, str | bytes):
        return sys.getsizeof(value)
    fields = getattr(value, "__dict__", None)
    return size_of(fields) if fields else sys.getsizeof(value)


def out_of_memory(error: Exception) -> bool:
    """Whether an exception of PyTorch, NumPy or Python says that memory ran out."""
    # PyTorch reports the CPU's allocator as a plain RuntimeError.
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)
    )


def encoder_failed(error: Exception) -> str:
    """The reason of a row on which the encoder raised."""
    if out_of_memory(error):
        return "out of memory while preparing or encoding this item"
    return f"encoder failed: {type(error).__name__}: {' '.join(str(error).split())[:200]}"
