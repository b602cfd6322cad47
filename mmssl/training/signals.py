"""SIGINT and SIGTERM during training: answered where nothing is lost, never in the middle."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class TrainingInterrupted(KeyboardInterrupt):
    """A signal stopped training; the message says what is saved and how to go on.

    A ``KeyboardInterrupt``, so that an interrupted notebook cell or script ends as usual.
    """

    def __init__(self, signal_number: int, saved: str) -> None:
        super().__init__(f"stopped by {signal.Signals(signal_number).name}: {saved}")
        self.signal_number = signal_number


class StopSignals:
    """Takes SIGINT and SIGTERM while in use as a context; the handlers before come back after.

    A signal raises ``TrainingInterrupted`` at once, except inside ``deferred``: there the first one
    is noted and raised by ``check``, and a second one raises at once. Inside ``held`` none raises.

    Outside the main thread, where Python allows no handlers, it does nothing; a signal that the
    process ignores (as under nohup) stays ignored.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        """The number of the first signal."""
        self.saved = "nothing is saved yet"
        """What training would go on from, for people."""
        self._deferring = self._holding = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                before = signal.getsignal(number)
                # None: a handler that is not Python's, which could not be put back.
                if before is not None and before != signal.SIG_IGN:
                    self._before[number] = before
                    signal.signal(number, self._take)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)
        self._before.clear()

    def _take(self, number: int, _frame: FrameType | None) -> None:
        again = self.received is not None
        self.received = self.received or number
        if not self._holding and (again or not self._deferring):
            raise TrainingInterrupted(self.received, self.saved)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Where a first signal waits for ``check``."""
        self._deferring = True
        try:
            yield
        finally:
            self._deferring = False

    @contextmanager
    def held(self) -> Iterator[None]:
        """Where no signal raises, be it the second: a checkpoint is being written."""
        self._holding = True
        try:
            yield
        finally:
            self._holding = False

    def check(self) -> None:
        """The safe point.

        Raises:
            TrainingInterrupted: a signal has come.
        """
        if self.received is not None:
            raise TrainingInterrupted(self.received, self.saved)
