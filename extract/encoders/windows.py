"""Sound in windows: resampled, cut with a hop, and pooled again by what each window holds."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import torch

from extract.encoders.base import Raw, Waveform
from extract.encoders.uri import EncoderURI


@dataclass(frozen=True)
class Windows:
    """How a sound is cut: lengths in samples at ``sample_rate`` Hz.

    Window k covers [k hop, k hop + length); the last one is the first that reaches the sound's end,
    and it keeps its own, shorter length. A sound shorter than ``shortest``, which is the least that
    the model takes, is padded to it with zeros.
    """

    sample_rate: int
    length: int
    hop: int
    shortest: int = 1

    def describe(self) -> dict[str, float]:
        """Seconds and Hz, for a fingerprint."""
        return {
            "sample_rate": self.sample_rate,
            "window": self.length / self.sample_rate,
            "hop": self.hop / self.sample_rate,
        }

    def cut(self, raw: Raw) -> list[torch.Tensor]:
        """Resample a waveform and cut it: float32 tensors of at most ``length`` samples.

        Raises:
            ValueError: there are no samples, or the sampling rate is beyond reason.
        """
        assert isinstance(raw, Waveform)
        samples = resample(raw, self.sample_rate)
        pieces = []
        for start in range(0, max(1, len(samples)), self.hop):
            piece = samples[start : start + self.length]
            if len(piece) < self.shortest:
                piece = torch.nn.functional.pad(piece, (0, self.shortest - len(piece)))
            pieces.append(piece)
            if start + self.length >= len(samples):
                break
        return pieces


def windows_from(
    uri: EncoderURI, sample_rate: int, default: float, *, longest: float = 3600, shortest: int = 1
) -> Windows:
    """The windows that ``window=`` and ``hop=`` (seconds) ask for; a hop defaults to the window.

    Args:
        uri: the encoder's URI.
        sample_rate: what the model takes, Hz.
        default: the window in seconds where the URI names none.
        longest: the longest window that the model takes, seconds.
        shortest: the fewest samples that the model takes.

    Raises:
        InputError: a window longer than the model's input, shorter than its shortest input, or a
            hop that leaves gaps.
    """
    window = uri.seconds("window") or default
    hop = uri.seconds("hop") or window
    if window > longest:
        uri.refuse(f"option window={window:g} is longer than the model's input of {longest:g} s")
    if hop > window:
        uri.refuse(f"option hop={hop:g} is longer than the window of {window:g} s: it leaves gaps")
    length, step = round(window * sample_rate), round(hop * sample_rate)
    if length < shortest or step < 1:
        uri.refuse(f"window and hop must reach {max(1, shortest) / sample_rate:g} s")
    return Windows(sample_rate, length, step, shortest)


def resample(waveform: Waveform, sample_rate: int) -> torch.Tensor:
    """The samples at another rate: (n,) float32.

    Raises:
        ValueError: no samples, or a sampling rate outside 1 kHz to 1 MHz.
    """
    if len(waveform.samples) == 0:
        raise ValueError("the sound has no samples")
    if not 1_000 <= waveform.sample_rate <= 1_000_000:
        raise ValueError(f"a sampling rate of {waveform.sample_rate} Hz is not plausible")
    samples = torch.as_tensor(waveform.samples, dtype=torch.float32)
    if waveform.sample_rate == sample_rate:
        return samples
    from torchaudio.functional import resample as torchaudio_resample

    # The resampler's kernel grows with both terms of the reduced ratio: 44,101 Hz to 16,000 Hz
    # would take gigabytes. Every usual rate is below the limit, so exact; the pitch of others errs
    # by 0.05 % at most (measured to 16 kHz, over all rates that are let through).
    ratio = Fraction(sample_rate, waveform.sample_rate).limit_denominator(1_000)
    resampled: torch.Tensor = torchaudio_resample(samples, ratio.denominator, ratio.numerator)
    return resampled


def pool_windows(
    vectors: Sequence[torch.Tensor], counts: Sequence[int], weights: Sequence[int], how: str
) -> torch.Tensor:
    """Windows' vectors to one vector a sound.

    Args:
        vectors: one (d,) a window, sound after sound.
        counts: windows of each sound.
        weights: valid samples of each window.
        how: ``max`` takes the maximum; anything else the mean weighted by valid samples.

    Returns:
        (sounds, d) float32.
    """
    stacked = torch.stack(list(vectors)).float()
    weight = torch.tensor(list(weights), device=stacked.device, dtype=stacked.dtype).unsqueeze(1)
    pooled = []
    for part, w in zip(
        torch.split(stacked, list(counts)), torch.split(weight, list(counts)), strict=True
    ):
        pooled.append(part.amax(0) if how == "max" else (part * w).sum(0) / w.sum())
    return torch.stack(pooled)
