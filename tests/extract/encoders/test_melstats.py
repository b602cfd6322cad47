import numpy as np
import pytest
import torch

from extract.encoders.base import Waveform
from extract.errors import InputError


def mel_filters(n_mels, n_fft, rate):
    """Triangles on the HTK mel scale, peak 1, as in the textbook."""
    top = 2595 * np.log10(1 + rate / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, n_mels + 2) / 2595) - 1)
    bins = np.linspace(0, rate / 2, n_fft // 2 + 1)
    rising = (bins[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins[:, None]) / (edges[2:] - edges[1:-1])
    return np.maximum(0, np.minimum(rising, falling))


@pytest.mark.parametrize("samples", [160, 5_000, 16_000])
def test_equals_the_definition_in_numpy(samples, load, encode):
    wave = (0.3 * np.random.default_rng(1).standard_normal(samples)).astype(np.float32)
    padded = np.pad(wave.astype(np.float64), 512)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(1024) / 1024)
    frames = [padded[i : i + 1024] * window for i in range(0, len(padded) - 1023, 256)]
    power = np.abs(np.fft.rfft(np.stack(frames), axis=1)) ** 2
    log_mel = np.log(power @ mel_filters(64, 1024, 16_000) + 1e-6)
    expected = np.concatenate([log_mel.mean(0), log_mel.std(0)])

    vectors = encode(load("melstats", "audio"), [Waveform(wave, 16_000)])

    assert vectors.shape == (1, 128)
    # The narrowest bands hold no bin, so float32 rounding of the filters shows in few of them.
    np.testing.assert_allclose(vectors[0], expected, atol=2e-3)


def test_silence_is_the_floor(load, encode):
    silence = Waveform(np.zeros(16_000, dtype=np.float32), 16_000)
    vector = encode(load("melstats:64", "audio"), [silence])[0]
    assert torch.allclose(vector[:64], torch.tensor(np.log(1e-6)).float())
    assert torch.allclose(vector[64:], torch.zeros(64), atol=1e-5)


@pytest.mark.parametrize(
    ("uri", "modality", "words"),
    [
        ("melstats:32", "audio", "the only one is melstats:64"),
        ("melstats?bands=3", "audio", "take no options, so not 'bands'"),
        ("melstats", "image", "encodes audio, not image"),
    ],
)
def test_refuses_in_one_line(uri, modality, words, load):
    with pytest.raises(InputError) as raised:
        load(uri, modality)
    assert words in str(raised.value)
