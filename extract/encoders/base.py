"""The contract of an encoder: what turns one decoded medium into one vector."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL.Image import Image

from extract.errors import InputError

Modality: TypeAlias = Literal["image", "text", "audio", "video"]
MODALITIES: tuple[Modality, ...] = ("image", "text", "audio", "video")


def are_modalities(given: Any) -> bool:
    """Whether somebody's ``modalities`` is a tuple (or list) of at least one of ours."""
    return isinstance(given, tuple | list) and bool(given) and all(m in MODALITIES for m in given)


@dataclass(frozen=True)
class Waveform:
    """Decoded sound: ``samples`` is (n,) float32 in [-1, 1], mono; ``sample_rate`` in Hz."""

    samples: NDArray[np.float32]
    sample_rate: int


@dataclass(frozen=True)
class Video:
    """Frames of a video: RGB pictures in the order of time, and when each appears.

    ``times`` are seconds from the video's first frame. A frame that is sampled twice is one picture
    that stands there twice.
    """

    frames: tuple[Image, ...]
    times: tuple[float, ...]


Raw: TypeAlias = Image | str | Waveform | Video
"""A decoded medium: an RGB picture, a text, a mono waveform, or frames of a video."""


class Encoder(ABC):
    """Subclass this to bring your own encoder; three methods and three attributes.

    ``preprocess`` runs in worker threads, one item at a time; ``encode`` runs in one thread, on a
    batch, under ``torch.inference_mode``. The vector of an item must not depend on the other items
    of its batch. Encoders with the same ``space`` give comparable vectors, as CLIP's two towers.

    A class named on the command line (``package.module:Class?key=value``) is constructed as
    ``Class(key="value")``: what stands behind ``?`` arrives as text keyword arguments.
    """

    modalities: ClassVar[tuple[Modality, ...]]
    """What ``preprocess`` accepts."""

    dim: int
    """Length of a vector."""

    space: str
    """Name of the vector space."""

    @abstractmethod
    def preprocess(self, raw: Raw) -> Any:
        """Turn one decoded medium into what ``encode`` takes; a ValueError says why it can't."""

    @abstractmethod
    def encode(self, batch: Sequence[Any]) -> torch.Tensor:
        """Encode preprocessed items of one modality: (n, dim), any floating dtype, any device."""

    @abstractmethod
    def fingerprint(self) -> dict[str, Any]:
        """What the vectors depend on, as JSON: weights' digest, layer, pooling, preprocessing."""

    def length(self, prepared: Any) -> int:  # noqa: ARG002
        """Sort key within a part, so that a batch holds items of like length; 0: all are alike."""
        return 0

    def to(self, device: torch.device, dtype: torch.dtype) -> Self:
        """Move every module held as an attribute to the device and dtype; returns itself."""
        for module in self._modules():
            module.to(device=device, dtype=dtype)
        return self

    def compile(self) -> Self:
        """Let ``torch.compile`` make faster code of the networks, once the encoder has its place.

        It acts on calls of every module held as an attribute (of what ``compiled_parts`` names),
        for inputs of any size; the code itself is made when the first batch comes.

        Raises:
            InputError: the encoder holds no network of PyTorch's.
        """
        parts = self.compiled_parts()
        if not parts:
            raise InputError(
                f"--compile: {type(self).__name__} holds no network of PyTorch's to compile"
            )
        for module in parts:
            module.compile(dynamic=True)
        return self

    def compiled_parts(self) -> list[torch.nn.Module]:
        """The modules whose calls ``compile`` replaces; override it where ``encode`` calls others,
        or where ``preprocess`` has modules of its own.

        A module is compiled only where it is called itself, as ``self.model(x)``: what a method of
        it runs (``self.model.features(x)``) stays as it was.
        """
        return self._modules()

    def _modules(self) -> list[torch.nn.Module]:
        return [value for value in vars(self).values() if isinstance(value, torch.nn.Module)]
