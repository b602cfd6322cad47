"""``melstats:64``: mean and deviation of 64 log-mel bands over time; an encoder without weights."""

from collections.abc import Sequence
from functools import cache
from typing import Any, ClassVar

import torch

from extract.encoders.base import Encoder, Modality, Raw, Waveform
from extract.encoders.uri import EncoderURI
from extract.encoders.windows import resample

_SETTINGS = {"sample_rate": 16_000, "n_fft": 1024, "hop_length": 256, "n_mels": 64}
_FLOOR = 1e-6


@cache
def _mel_spectrogram() -> torch.nn.Module:
    from torchaudio.transforms import MelSpectrogram

    # Zeros around the sound, not its mirror image: a mirror needs half a frame of samples.
    spectrogram: torch.nn.Module = MelSpectrogram(**_SETTINGS, pad_mode="constant")
    return spectrogram


class MelStatistics(Encoder):
    """log(1e-6 + mel power) at 16 kHz, 64 ms every 16 ms: its mean, then its deviation."""

    modalities: ClassVar[tuple[Modality, ...]] = ("audio",)
    dim = 2 * _SETTINGS["n_mels"]
    space = "melstats:64"

    def preprocess(self, raw: Raw) -> torch.Tensor:
        """All of it, in the worker: (128,) float32.

        Raises:
            ValueError: there are no samples, or an implausible sampling rate.
        """
        assert isinstance(raw, Waveform)
        mel = _mel_spectrogram()(resample(raw, _SETTINGS["sample_rate"]))
        log_mel = torch.log(mel + _FLOOR)
        return torch.cat([log_mel.mean(-1), log_mel.std(-1, correction=0)])

    def encode(self, batch: Sequence[torch.Tensor]) -> torch.Tensor:
        """Stack: (n, 128)."""
        return torch.stack(list(batch))

    def fingerprint(self) -> dict[str, Any]:
        """The spectrogram's settings."""
        return {"library": "torchaudio", "name": self.space, "floor": _FLOOR, **_SETTINGS}


def load(uri: EncoderURI) -> MelStatistics:
    """The encoder that ``melstats:64`` names.

    Raises:
        InputError: another name, or an option.
    """
    uri.expect()
    if uri.name != "64":
        uri.refuse("the only one is melstats:64")
    return MelStatistics()
