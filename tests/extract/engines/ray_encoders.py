"""Encoders for the tests of engines that load them by name, in other processes than the test's."""

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL.Image import Image

from extract.encoders.base import Encoder


class Letters(Encoder):
    """Texts: how often each byte occurs, through a fixed random matrix.

    A text may say what becomes of it: "die" kills the process, "die once" unless ``folder`` holds
    a mark already; "wait" waits until another process has noted something; "raise" and "raise
    here" do so in two places. Every batch is noted in ``folder``, a file a process. ``only_in`` is
    the one process that can load it.
    """

    modalities = ("text",)
    dim = 16
    space = "letters"

    def __init__(self, folder: str = "", version: str = "1", only_in: str = "") -> None:
        if only_in and int(only_in) != os.getpid():
            os.kill(os.getpid(), signal.SIGKILL)
        self.folder, self.version = Path(folder), version
        draw = torch.Generator().manual_seed(0)
        self.matrix = torch.randn(256, self.dim, generator=draw)

    def preprocess(self, raw: Any) -> str:
        return raw

    def encode(self, batch: Sequence[str]) -> torch.Tensor:
        for text in batch:
            if text == "die" or (text == "die once" and not (self.folder / "mark").exists()):
                (self.folder / "mark").touch()
                os.kill(os.getpid(), signal.SIGKILL)
            while text == "wait" and self.others() == []:
                time.sleep(0.01)
            if text.startswith("raise here"):
                raise KeyError("nothing here")
            if text.startswith("raise"):
                raise RuntimeError("I do not like it")
        if self.folder.name:
            with (self.folder / f"process-{os.getpid()}").open("a") as log:
                log.write("".join(f"{text}\n" for text in batch))
        counts = [np.bincount(np.frombuffer(t.encode(), np.uint8), minlength=256) for t in batch]
        return torch.tensor(np.stack(counts), dtype=torch.float32) @ self.matrix

    def others(self) -> list[Path]:
        own = f"process-{os.getpid()}"
        return [file for file in self.folder.glob("process-*") if file.name != own]

    def length(self, prepared: str) -> int:
        return len(prepared)

    def fingerprint(self) -> dict[str, Any]:
        return {"version": self.version, "of process": os.getpid()} if self.version == "?" else {}


class Colours(Encoder):
    """Pictures: a convolution, and the mean over the picture."""

    modalities = ("image",)
    dim = 8
    space = "colours"

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.convolution = torch.nn.Conv2d(3, self.dim, 5)

    def preprocess(self, raw: Image) -> torch.Tensor:
        pixels = np.asarray(raw.resize((48, 48)), dtype=np.float32) / 255
        return torch.from_numpy(pixels).permute(2, 0, 1)

    def encode(self, batch: Sequence[torch.Tensor]) -> torch.Tensor:
        return self.convolution(torch.stack(list(batch))).mean(dim=(2, 3))

    def fingerprint(self) -> dict[str, Any]:
        return {}
