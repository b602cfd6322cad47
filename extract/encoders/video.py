"""Videos through an encoder of pictures: the mean of their frames' vectors.

The simplest way to a video's vector, and a strong one: "meanP" of CLIP4Clip (Luo et al. 2021,
https://arxiv.org/abs/2104.08860), here without bringing the frames' vectors to length 1 first.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Self

import torch

from extract.encoders.base import Encoder, Modality, Raw, Video, are_modalities


class MeanOfFrames(Encoder):
    """Encodes each frame as a picture and averages.

    The space is that of the pictures: a mean lies among the vectors that it is of, and its cosine
    with a picture's vector says how like the frames are to the picture, on the whole. Its length
    tells how like they are to each other, so compare by cosine.
    """

    modalities: ClassVar[tuple[Modality, ...]] = ("video",)

    def __init__(self, image: Encoder, frames_at_once: int) -> None:
        """Wrap an encoder whose ``modalities`` hold "image".

        Args:
            image: encodes the frames.
            frames_at_once: the most frames that it sees in one batch.
        """
        self.image = image
        self.frames_at_once = frames_at_once
        self.dim = image.dim
        self.space = image.space

    def preprocess(self, raw: Raw) -> list[tuple[Any, int]]:
        """Each distinct frame as the encoder takes it, and how often it was sampled."""
        assert isinstance(raw, Video)
        counts: dict[int, int] = {}
        for frame in raw.frames:
            counts[id(frame)] = counts.get(id(frame), 0) + 1
        distinct = {id(frame): frame for frame in raw.frames}
        return [(self.image.preprocess(distinct[key]), count) for key, count in counts.items()]

    def encode(self, batch: Sequence[list[tuple[Any, int]]]) -> torch.Tensor:
        """The mean over each video's frames: (n, dim) float32."""
        prepared = [frame for video in batch for frame, _ in video]
        vectors = torch.cat(
            [
                self.image.encode(prepared[start : start + self.frames_at_once]).float()
                for start in range(0, len(prepared), self.frames_at_once)
            ]
        )
        means = []
        sizes = [len(video) for video in batch]
        for video, part in zip(batch, torch.split(vectors, sizes), strict=True):
            weight = torch.tensor([count for _, count in video], device=part.device).unsqueeze(1)
            means.append((part * weight).sum(0) / weight.sum())
        return torch.stack(means)

    def fingerprint(self) -> dict[str, Any]:
        """The picture encoder's, and that it is a mean; which frames is a matter of decoding."""
        return {**self.image.fingerprint(), "video": "mean over frames"}

    def length(self, prepared: list[tuple[Any, int]]) -> int:
        """The most that one of the frames has."""
        return max(self.image.length(frame) for frame, _ in prepared)

    def to(self, device: torch.device, dtype: torch.dtype) -> Self:
        """Move the picture encoder."""
        self.image = self.image.to(device, dtype)
        return self

    def compile(self) -> Self:
        """Compile the picture encoder."""
        self.image = self.image.compile()
        return self

    def compiled_parts(self) -> list[torch.nn.Module]:
        """The picture encoder's."""
        return self.image.compiled_parts()


def serves(modalities: Sequence[Modality], modality: Modality) -> bool:
    """Whether an encoder of some modalities can be used for one: of pictures also for videos."""
    return modality in modalities or (modality == "video" and "image" in modalities)


def as_encoder_of(encoder: Encoder, modality: Modality, frames_at_once: int) -> Encoder:
    """The encoder itself, or one of videos around it where it takes pictures but no videos."""
    if modality != "video" or not are_modalities(encoder.modalities):
        return encoder
    if "image" in encoder.modalities and "video" not in encoder.modalities:
        return MeanOfFrames(encoder, frames_at_once)
    return encoder
