"""Sounds through a transformers model: wav2vec 2.0, HuBERT, WavLM, Whisper, AST, CLAP."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from extract.encoders.base import Encoder, Modality, Raw, Waveform
from extract.encoders.batching import Inputs, placed, probe_dim, run_by_shape
from extract.encoders.transformers_model import (
    HFModel,
    hub_options,
    processor_settings,
    shared_features,
)
from extract.encoders.uri import loading
from extract.encoders.windows import pool_windows, windows_from

_POOLINGS = ("mean", "max", "cls", "pooler")
_USUAL_WINDOW = 10.0


@dataclass(frozen=True)
class SoundInputs:
    """A sound's windows as the model takes them, and how many samples of each are sound."""

    windows: list[Inputs]
    valid: list[int]


class HFAudioEncoder(Encoder):
    """Windows of ``window=`` seconds (default 10, Whisper 30) every ``hop=`` seconds (default: the
    window); each gives the mean over its frames, two towers their shared features, AST its pooled
    output. Windows are averaged by the sound that they hold.

    Models of raw waveforms get windows without padding, since some normalise over time and would
    hear the zeros; Whisper pads to its fixed input and the frames beyond the sound are left out.
    """

    modalities: ClassVar[tuple[Modality, ...]] = ("audio",)

    def __init__(self, loaded: HFModel) -> None:
        from transformers import AutoFeatureExtractor

        uri = loaded.uri
        asked = uri.choice("pooling", _POOLINGS)
        with loading(uri):
            auto: Any = AutoFeatureExtractor
            extractor: Any = auto.from_pretrained(uri.source, **hub_options(uri))
        if not hasattr(extractor, "sampling_rate"):
            uri.refuse("its preprocessing is not one of sounds")
        self.extractor = extractor
        self.loaded = loaded
        self.model = loaded.body
        ast = self.model.config.model_type == "audio-spectrogram-transformer"
        self.pooling = asked or ("pooler" if ast and not loaded.numbers else "mean")
        rate = int(extractor.sampling_rate)
        # Whisper's input is of one length whatever the sound's; its frames are in order of time.
        self.fixed_input: int | None = getattr(extractor, "n_samples", None)
        longest = _longest_input(extractor)
        self.windows = windows_from(
            uri,
            rate,
            longest if self.fixed_input else min(_USUAL_WINDOW, longest),
            longest=longest,
            shortest=max(math.ceil(0.025 * rate), _receptive_field(self.model.config)),
        )
        self.space = loaded.space
        self.dim = probe_dim(self, Waveform(np.zeros(rate, dtype=np.float32), rate))

    def preprocess(self, raw: Raw) -> SoundInputs:
        """Resample, cut into windows, and apply the model's own feature extractor to each.

        Raises:
            ValueError: there are no samples, or an implausible sampling rate.
        """
        pieces = self.windows.cut(raw)
        return SoundInputs([self._extract(piece) for piece in pieces], [len(p) for p in pieces])

    def _extract(self, piece: torch.Tensor) -> Inputs:
        features = self.extractor(
            piece.numpy(), sampling_rate=self.windows.sample_rate, return_tensors="pt"
        )
        return {name: torch.as_tensor(value)[0] for name, value in features.items()}

    def length(self, prepared: SoundInputs) -> int:
        """Samples in all windows."""
        return sum(prepared.valid)

    def encode(self, batch: Sequence[SoundInputs]) -> torch.Tensor:
        """Encode sounds: (n, dim) float32; a forward pass holds at most n windows."""
        valid = [count for sound in batch for count in sound.valid]
        items = [
            {**window, "_valid": torch.tensor(count)}
            for sound in batch
            for window, count in zip(sound.windows, sound.valid, strict=True)
        ]
        vectors = run_by_shape(items, self._forward, len(batch))
        return pool_windows(vectors, [len(s.valid) for s in batch], valid, self.pooling)

    def _forward(self, stacked: dict[str, torch.Tensor]) -> torch.Tensor:
        valid = stacked.pop("_valid")
        inputs = placed(stacked, self.model)
        if self.loaded.shared:
            return shared_features(self.model.get_audio_features(**inputs)).float()

        def mask(tokens: torch.Tensor) -> torch.Tensor:
            frames = torch.full_like(valid, tokens.shape[1])
            if self.fixed_input is not None:
                frames = (valid * tokens.shape[1] + self.fixed_input - 1) // self.fixed_input
            return (torch.arange(tokens.shape[1]) < frames.unsqueeze(1)).to(tokens.device)

        return self.loaded.vectors(inputs, self.pooling, mask)

    def compiled_parts(self) -> list[torch.nn.Module]:
        """The network, or behind shared features its tower."""
        return [] if self.loaded.called is None else [self.loaded.called]

    def fingerprint(self) -> dict[str, Any]:
        """Digest of the weights, layer, pooling, windows and the extractor's settings."""
        return {
            **self.loaded.described(self.pooling),
            "windows": self.windows.describe(),
            "preprocessing": processor_settings(self.extractor),
        }


def _longest_input(extractor: Any) -> float:
    """Seconds that one input holds: Whisper's chunk, CLAP's and AST's maximum; else unlimited."""
    rate = int(extractor.sampling_rate)
    for samples in ("n_samples", "nb_max_samples"):
        if hasattr(extractor, samples):
            return float(getattr(extractor, samples)) / rate
    if hasattr(extractor, "num_mel_bins") and hasattr(extractor, "max_length"):
        # AST: frames of 25 ms every 10 ms.
        return float(0.025 + 0.010 * (extractor.max_length - 1))
    return 3600.0


def _receptive_field(config: Any) -> int:
    """The fewest samples that a stack of convolutions over the waveform takes; 1 without one."""
    kernels, strides = getattr(config, "conv_kernel", None), getattr(config, "conv_stride", None)
    field = 1
    if isinstance(kernels, list | tuple) and isinstance(strides, list | tuple):
        for kernel, stride in zip(reversed(kernels), reversed(strides), strict=True):
            field = (field - 1) * stride + kernel
    return field
