import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import resample_poly

from extract.encoders.base import Waveform
from extract.encoders.uri import parse_uri
from extract.encoders.windows import Windows, pool_windows, resample, windows_from
from extract.errors import InputError


def sound(samples, rate=16_000):
    return Waveform(np.arange(samples, dtype=np.float32) / max(1, samples), rate)


@settings(deadline=None)
@given(st.integers(1, 500), st.integers(1, 100), st.integers(1, 100), st.integers(1, 30))
def test_windows_cover_every_sample_and_stop_at_the_end(n, length, hop, shortest):
    length, hop = max(length, hop), min(length, hop)
    pieces = Windows(16_000, length, hop, min(shortest, length)).cut(sound(n))

    starts = [i * hop for i in range(len(pieces))]
    covered = np.zeros(n, dtype=bool)
    for start, piece in zip(starts, pieces, strict=True):
        own = min(length, n - start)
        np.testing.assert_array_equal(piece[:own], sound(n).samples[start : start + own])
        assert (piece[own:] == 0).all()
        assert len(piece) == max(own, min(shortest, length))
        covered[start : start + own] = True
    assert covered.all()
    # No window before the last one reached the end.
    assert all(start + length < n for start in starts[:-1])


def test_ten_milliseconds_are_padded_to_what_the_model_takes():
    [piece] = Windows(16_000, 16_000, 16_000, 400).cut(sound(160))
    assert len(piece) == 400


def test_a_sound_without_samples_is_named():
    with pytest.raises(ValueError, match="no samples"):
        Windows(16_000, 10, 10).cut(sound(0))


@pytest.mark.parametrize("rate", [1, 999, 2_000_000])
def test_an_implausible_sampling_rate_is_named(rate):
    with pytest.raises(ValueError, match=f"sampling rate of {rate} Hz is not plausible"):
        resample(sound(10, rate), 16_000)


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000])
def test_resampling_keeps_a_tone_where_it_is(rate):
    time = np.arange(rate) / rate
    tone = np.sin(2 * np.pi * 440 * time).astype(np.float32)
    resampled = resample(Waveform(tone, rate), 16_000).numpy()
    divisor = np.gcd(16_000, rate)
    reference = resample_poly(tone, 16_000 // divisor, rate // divisor)
    assert len(resampled) == 16_000
    # The two libraries use other filters, so their edges differ.
    assert np.abs(resampled - reference)[1_000:-1_000].max() < 0.01


def test_an_odd_sampling_rate_takes_no_giant_filter():
    time = np.arange(44_101) / 44_101
    tone = np.sin(2 * np.pi * 440 * time).astype(np.float32)
    resampled = resample(Waveform(tone, 44_101), 16_000).numpy()
    assert abs(len(resampled) - 16_000) <= 1
    expected = np.sin(2 * np.pi * 440 * np.arange(len(resampled)) / 16_000)
    assert np.abs(resampled - expected)[1_000:-1_000].max() < 0.02


def test_the_same_rate_changes_nothing():
    assert resample(sound(50), 16_000).tolist() == sound(50).samples.tolist()


def test_windows_weigh_what_they_hold():
    vectors = [torch.tensor([1.0, 8.0]), torch.tensor([5.0, 0.0]), torch.tensor([7.0, 7.0])]
    mean = pool_windows(vectors, [2, 1], [30, 10, 5], "mean")
    assert mean.tolist() == [[2.0, 6.0], [7.0, 7.0]]
    assert pool_windows(vectors, [2, 1], [30, 10, 5], "max").tolist() == [[5.0, 8.0], [7.0, 7.0]]


def test_windows_from_options():
    def made(query, **options):
        return windows_from(parse_uri(f"hf:a{query}"), 1_000, 10, **options)

    assert made("") == Windows(1_000, 10_000, 10_000)
    assert made("?window=2") == Windows(1_000, 2_000, 2_000)
    assert made("?window=2&hop=0.5").describe() == {"sample_rate": 1_000, "window": 2.0, "hop": 0.5}
    with pytest.raises(InputError, match=r"hop=3 is longer than the window of 2 s: it leaves gaps"):
        made("?window=2&hop=3")
    with pytest.raises(InputError, match=r"window=40 is longer than the model's input of 30 s"):
        made("?window=40", longest=30)
    with pytest.raises(InputError, match=r"must reach 0\.05 s"):
        made("?window=0.04", shortest=50)
    with pytest.raises(InputError, match="must reach"):
        made("?hop=0.0001")
