"""What a run's ``log.jsonl`` tells of its epochs."""

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Curve = list[tuple[int, float]]
"""(epoch, value), epochs ascending."""


@dataclass(frozen=True)
class TrainingLog:
    """The curves of a run; whatever a broken or missing line held is absent from them."""

    losses: dict[str, Curve] = field(default_factory=dict)
    """Part of the objective, weights included -> its mean over the steps of each epoch."""
    validation: dict[str, Curve] = field(default_factory=dict)
    """Metric, as ``recall@20`` -> its values."""
    epochs: int = 0
    """Epochs that a line tells of."""
    missing: int = 0
    """Epochs before the last of which no line tells."""
    unreadable: int = 0
    """Lines that are no JSON objects, or not what an epoch's line should be."""


def read_log(path: Path) -> TrainingLog | None:
    """Read a log line by line, the last line of an epoch counting; None where there is no file."""
    if not path.is_file():
        return None
    told: dict[int, tuple[dict[str, float], dict[str, float]]] = {}
    unreadable = 0
    with path.open("rb") as lines:
        for line in lines:
            try:
                event = json.loads(line)
                if event["event"] == "epoch":
                    parts = _numbers(event["losses"]), _numbers(event["validation"])
                    told[int(event["epoch"])] = parts
            except (
                ArithmeticError,
                ValueError,
                KeyError,
                TypeError,
                AttributeError,
                RecursionError,
            ):
                unreadable += 1
    losses: dict[str, Curve] = {}
    validation: dict[str, Curve] = {}
    for epoch in sorted(told):
        for curves, values in zip((losses, validation), told[epoch], strict=True):
            for name, value in values.items():
                curves.setdefault(name, []).append((epoch, value))
    missing = max(told, default=0) - len(told)
    return TrainingLog(losses, validation, len(told), missing, unreadable)


def _numbers(values: dict[str, Any]) -> dict[str, float]:
    floats = {str(name): float(value) for name, value in values.items()}
    return {name: value for name, value in floats.items() if math.isfinite(value)}
