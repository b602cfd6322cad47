"""An encoder that notes what it encodes, so that a test sees what was encoded twice."""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from extract.encoders.base import Encoder


class Noting(Encoder):
    """Texts: how often each byte occurs, through a fixed random matrix."""

    modalities = ("text",)
    dim = 32
    space = "noting"

    def __init__(self, notes: str, seconds: str = "0") -> None:
        self.notes, self.seconds = Path(notes), float(seconds)
        self.matrix = torch.randn(256, self.dim, generator=torch.Generator().manual_seed(0))

    def preprocess(self, raw: Any) -> str:
        return raw

    def encode(self, batch: Sequence[str]) -> torch.Tensor:
        with self.notes.open("a") as notes:
            # One write of few bytes: whole, whoever else appends.
            notes.write(f"{os.getpid()} {' '.join(batch)}\n")
        time.sleep(self.seconds)
        counts = [np.bincount(np.frombuffer(t.encode(), np.uint8), minlength=256) for t in batch]
        return torch.tensor(np.stack(counts), dtype=torch.float32) @ self.matrix

    def length(self, prepared: str) -> int:
        return len(prepared)

    def fingerprint(self) -> dict[str, Any]:
        return {}
