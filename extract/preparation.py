"""Before the encoder: rows decoded and preprocessed in threads, handed on in their order."""

import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from threading import Barrier, Condition, Lock
from typing import Any, Self, TypeAlias

import numpy as np
import torch
from PIL.Image import Image

from extract.catalog import Item
from extract.encoders.base import Encoder, Raw
from extract.errors import InputError
from extract.media.files import LACKS_MEMORY, MediaError
from extract.media.reading import Reader, RepeatedError
from extract.store import Status

NO_VALUE = "no value in the table"
NOT_IN_TABLE = "not in the item table any more"
NO_MEMORY = f"{LACKS_MEMORY}preparing or encoding this item"

# Rows a thread takes at once: a text of the table is prepared in less time than it takes to hand a
# task over; a file takes long enough.
_TEXTS, _FILES = 256, 1

# Prepared items that may wait for the encoder, in bytes.
_WAITING_BYTES = 64 * 2**20


@dataclass(slots=True)
class Prepared:
    """One row on its way; ``value`` is what ``encoder.encode`` takes, None unless status is ok."""

    id: str
    status: Status
    reason: str | None = None
    digest: str | None = None
    value: Any = None
    length: int = 0
    size: int = 0
    """Bytes of ``value``, roughly."""
    error: Exception | None = None
    """What ``encoder.preprocess`` raised, other than the ValueError of an item it cannot take."""
    item: Item | None = None
    """What it was made from, where it may have to be made again."""

    def fail(self, reason: str) -> None:
        """Turn the row into a failure."""
        self.status, self.reason, self.value = "failed", reason, None


class Contents:
    """Which raw contents of a part have been taken up; asked by several threads at once."""

    def __init__(self) -> None:
        self._first: dict[str, int] = {}

    def repeats(self, row: int, digest: str) -> bool:
        """Whether an earlier row of the part with the same content has been taken up before.

        Threads may come to a later row first: then both are prepared, and the pipeline takes the
        earlier one.
        """
        return self._first.setdefault(digest, row) < row


def prepare(
    item: Item, reader: Reader, encoder: Encoder, repeats: Callable[[str], bool] | None = None
) -> Prepared:
    """Decode and preprocess one row; whatever is wrong with it becomes its status and reason.

    Args:
        item: the row.
        reader: reads and decodes its medium.
        encoder: preprocesses it.
        repeats: asked with the raw content's digest whether an earlier row has the same; then this
            one is not decoded: its status is ok, and it has neither value nor length.

    Raises:
        InputError: what the encoder raised as such, or its ``length`` is no whole number.
    """
    digest: str | None
    raw: Raw | MediaError
    if item.text is not None:
        digest, raw = reader.read_text(item.text, repeats)
    elif item.path is not None:
        digest, raw = reader.read_file(item.path, repeats)
    else:
        return Prepared(item.id, "missing", NO_VALUE if item.in_table else NOT_IN_TABLE)
    if isinstance(raw, RepeatedError):
        return Prepared(item.id, "ok", None, digest)
    if isinstance(raw, MediaError):
        return Prepared(item.id, "failed", str(raw), digest)
    try:
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
    return Prepared(item.id, "ok", None, digest, value, length, size_of(value))


# The part's contents, and rows of it with the number of the first.
_Task: TypeAlias = tuple[Contents, int, Sequence[Item]]


class Preparation:
    """Prepares the items of parts in threads and hands them out in their order, some ahead.

    Used with ``with``; leaving it waits for the rows that are being prepared and begins no others.
    ``ahead`` may be changed at any time and decides how many rows are taken up and not yet handed
    out, besides what bounds their bytes.
    """

    def __init__(
        self,
        parts: Iterable[Sequence[Item]],
        reader: Reader,
        encoder: Encoder,
        *,
        workers: int,
        ahead: int,
        beside: int | None = None,
    ) -> None:
        """Take the items; the threads start with ``with``.

        Args:
            parts: items of one part after another; taken from in the threads, one at a time.
            reader: decodes their media.
            encoder: preprocesses them.
            workers: threads.
            ahead: as the attribute.
            beside: how many of them may begin a row while the encoder computes; None: all.
        """
        self.ahead = ahead
        self._reader, self._encoder = reader, encoder
        self._tasks = self._cut(parts)
        self._workers = self._running = workers
        self._beside = workers if beside is None else beside
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="prepare")
        self._ready: deque[Prepared] = deque()
        self._source = Lock()
        # All that follows is changed only under the condition.
        self._changed = Condition()
        self._done: dict[int, list[Prepared] | BaseException] = {}
        self._begun = self._taken = 0
        self._active = self._rows = self._bytes = 0
        self._ended = False

    def __enter__(self) -> Self:
        # Threads on their own are enough to use all processors. What torch computes in one of them
        # must not spread over the others' again; the setting is a thread's own, but those that are
        # started later take the last one that was made.
        threads = torch.get_num_threads()
        started = Barrier(self._workers + 1)
        try:
            for _ in range(self._workers):
                self._pool.submit(self._work, started)
            started.wait()
        except BaseException:
            # Ctrl-C: threads that wait for one another for ever would keep the program from ending.
            started.abort()
            raise
        finally:
            torch.set_num_threads(threads)
        return self

    def __exit__(self, *exception: object) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        self._pool.shutdown()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Prepared:
        if not self._ready:
            self._ready.extend(self._next_done())
        return self._ready.popleft()

    def again(self, item: Item) -> Prepared:
        """Prepare a row that has been handed out once more, in the calling thread.

        Raises:
            InputError: as ``prepare``.
        """
        with torch.inference_mode():
            return prepare(item, self._reader, self._encoder)

    @contextmanager
    def encoding(self) -> Iterator[None]:
        """While the encoder computes: fewer threads, where they would take its processors."""
        self._permit(self._beside)
        yield
        self._permit(self._workers)

    def _permit(self, workers: int) -> None:
        with self._changed:
            self._running = workers
            self._changed.notify_all()

    def _next_done(self) -> list[Prepared]:
        with self._changed:
            self._changed.wait_for(
                lambda: self._taken in self._done or (self._ended and self._taken == self._begun)
            )
            if self._taken not in self._done:
                raise StopIteration
            done = self._done.pop(self._taken)
            if isinstance(done, BaseException):
                raise done
            self._taken += 1
            self._rows -= len(done)
            self._bytes -= sum(row.size for row in done)
            self._changed.notify_all()
        return done

    def _cut(self, parts: Iterable[Sequence[Item]]) -> Iterator[_Task]:
        for items in parts:
            contents = Contents()
            start = 0
            while start < len(items):
                rows = _FILES if items[start].text is None else _TEXTS
                yield contents, start, items[start : start + rows]
                start += rows

    def _work(self, started: Barrier) -> None:
        torch.get_num_threads()
        torch.set_num_threads(1)
        started.wait()
        with torch.inference_mode():
            while (begun := self._begin()) is not None:
                number, task = begun
                try:
                    done: list[Prepared] | BaseException = self._prepare(*task)
                except BaseException as error:
                    done = error
                self._finish(number, done)

    def _prepare(self, contents: Contents, first: int, items: Sequence[Item]) -> list[Prepared]:
        done = []
        for row, item in enumerate(items, start=first):
            done.append(prepare(item, self._reader, self._encoder, partial(contents.repeats, row)))
            done[-1].item = item
        return done

    def _begin(self) -> tuple[int, _Task] | None:
        """The next task, when there is room for what it will give; None when there is no more."""
        # The table is read without the condition, or nothing could be handed out meanwhile.
        with self._source:
            with self._changed:
                self._changed.wait_for(lambda: self._ended or self._has_room())
                if self._ended:
                    return None
            failure = task = None
            try:
                task = next(self._tasks, None)
            except BaseException as error:
                failure = error
            with self._changed:
                if task is not None:
                    self._begun += 1
                    self._active += 1
                    self._rows += len(task[2])
                    return self._begun - 1, task
                if failure is not None:
                    self._done[self._begun] = failure
                self._ended = True
                self._changed.notify_all()
                return None

    def _has_room(self) -> bool:
        return (
            self._active < self._running
            and self._rows < self.ahead
            and self._bytes < _WAITING_BYTES
        )

    def _finish(self, number: int, done: list[Prepared] | BaseException) -> None:
        with self._changed:
            self._active -= 1
            self._done[number] = done
            if isinstance(done, BaseException):
                self._ended = True
            else:
                self._bytes += sum(row.size for row in done)
            self._changed.notify_all()


def threads_beside(device: torch.device, cores: int) -> int:
    """How many threads may prepare items while an encoder computes on a device.

    On the processor it has torch's threads, as a rule one a core. They wait for one another at the
    end of every operation, so if another thread takes one core away, all stand still: there only
    the cores that torch leaves over prepare meanwhile.
    """
    return max(0, cores - torch.get_num_threads()) if device.type == "cpu" else cores


def size_of(value: object) -> int:
    """Bytes that a prepared item holds, roughly: arrays exactly, numbers by the piece."""
    if isinstance(value, str | bytes):
        return sys.getsizeof(value)
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
    fields = getattr(value, "__dict__", None)
    return size_of(fields) if fields else sys.getsizeof(value)


# PyTorch's allocators of the CPU and of Apple's GPUs, CTranslate2, cuBLAS and ONNX Runtime have no
# class of their own for it.
_OUT_OF_MEMORY = (
    "DefaultCPUAllocator",
    "out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "Failed to allocate memory",
)


def out_of_memory(error: Exception) -> bool:
    """Whether an exception of Python, NumPy or an encoder's library says that memory ran out."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return any(mark in str(error) for mark in _OUT_OF_MEMORY)


def encoder_failed(error: Exception) -> str:
    """The reason of a row on which the encoder raised."""
    if out_of_memory(error):
        return NO_MEMORY
    return f"encoder failed: {type(error).__name__}: {' '.join(str(error).split())[:200]}"
