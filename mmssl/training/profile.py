"""Where the time of a training goes: seconds a section, each moment counted in one section only."""

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import nn

from extract.files import write_json


class Profile:
    """A clock with named sections; a section within another one stops the outer one's clock.

    On an accelerator, whose work goes on after a call has returned, it waits for that work where
    sections begin and end: a profiled training is a little slower, and computes the same.
    """

    def __init__(self, device: torch.device, *, enabled: bool = True) -> None:
        """Start the clock; without ``enabled`` sections cost and count nothing."""
        self._device, self._enabled = device, enabled
        self._sections: dict[str, float] = {}
        self._open: list[str] = []
        self._began = self._since = time.perf_counter()

    def section(self, name: str) -> AbstractContextManager[None]:
        """Count what runs in this context under ``name``."""
        return self._counted(name) if self._enabled else nullcontext()

    @contextmanager
    def _counted(self, name: str) -> Iterator[None]:
        self._enter(name)
        try:
            yield
        finally:
            self._leave()

    def watch(self, module: nn.Module, name: str, within: str) -> None:
        """Count what ``module`` computes inside the section ``within`` under ``name`` instead."""
        if not self._enabled:
            return

        entered: list[bool] = []

        def before(*_: Any) -> None:
            entered.append(self._open[-1:] == [within])
            if entered[-1]:
                self._enter(name)

        def after(*_: Any) -> None:
            if entered.pop():
                self._leave()

        module.register_forward_pre_hook(before)
        module.register_forward_hook(after, always_call=True)

    def _enter(self, name: str) -> None:
        self._count()
        self._sections.setdefault(name, 0.0)
        self._open.append(name)

    def _leave(self) -> None:
        self._count()
        self._open.pop()

    def _count(self) -> None:
        if self._device.type != "cpu":
            torch.accelerator.synchronize(self._device)
        now = time.perf_counter()
        if self._open:
            self._sections[self._open[-1]] += now - self._since
        self._since = now

    def seconds(self) -> dict[str, float]:
        """By section, the longest first; ``other`` is what lay in none, ``all`` the sum."""
        total = time.perf_counter() - self._began
        longest_first = sorted(self._sections.items(), key=lambda item: -item[1])
        other = total - sum(self._sections.values())
        return {**dict(longest_first), "other": other, "all": total}

    def write(self, file: Path, **facts: Any) -> list[str]:
        """Write seconds and shares as JSON, after ``facts``; the same as lines for people."""
        if not self._enabled:
            return []
        seconds = self.seconds()
        rows = {
            name: {"seconds": round(value, 4), "share": round(value / seconds["all"], 4)}
            for name, value in seconds.items()
        }
        write_json(file, {**facts, "device": str(self._device), "sections": rows})
        return [
            "where the time went:",
            *(f"{n:16} {r['seconds']:10.2f} s {r['share']:7.1%}" for n, r in rows.items()),
        ]
