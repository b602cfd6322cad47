"""One encoder for every image network that is a transform and a module."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import PIL.Image
import torch
from PIL.Image import Image

from extract.encoders.base import Encoder, Modality, Raw
from extract.encoders.batching import placed, probe_dim
from extract.encoders.layers import Layers


def grey_sample() -> Image:
    """A small grey picture, for finding out what a network gives."""
    return PIL.Image.new("RGB", (64, 64), (128, 128, 128))


class VisionEncoder(Encoder):
    """A transform that comes with the weights, and a module whose output is the embedding."""

    modalities: ClassVar[tuple[Modality, ...]] = ("image",)

    def __init__(
        self,
        model: torch.nn.Module,
        transform: Callable[[Image], torch.Tensor],
        *,
        space: str,
        fingerprint: dict[str, Any],
        layers: Layers,
    ) -> None:
        """Take a module from (n, 3, h, w) to (n, dim), put in eval mode, and what names it.

        One that gives several layers gives a list of (n, d), in the order of ``layers``.
        """
        self.model = model.eval()
        self.transform = transform
        self.space = space
        self.layers = layers
        self._fingerprint = fingerprint
        self.dim = probe_dim(self, grey_sample())

    def preprocess(self, raw: Raw) -> torch.Tensor:
        """Apply the weights' own transform: (3, h, w) float32."""
        assert isinstance(raw, Image)
        return self.transform(raw)

    def encode(self, batch: Sequence[torch.Tensor]) -> torch.Tensor:
        """Encode pictures of one size: (n, dim)."""
        pixels = placed({"pixels": torch.stack(list(batch))}, self.model)["pixels"]
        vectors: torch.Tensor | list[torch.Tensor] = self.model(pixels)
        return self.layers.join([vectors] if isinstance(vectors, torch.Tensor) else vectors)

    def compiled_parts(self) -> list[torch.nn.Module]:
        """The network: a transform may be a module too, but is no work for a compiler."""
        return [self.model]

    def fingerprint(self) -> dict[str, Any]:
        """Architecture, digest of the weights, layer or layers, and the transform in words."""
        return {**self._fingerprint, **self.layers.describe()}
