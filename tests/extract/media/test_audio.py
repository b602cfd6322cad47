import io
import struct

import numpy as np
import pytest
import soundfile

from extract.media.audio import decode_audio
from extract.media.files import MediaError


def tone(seconds=0.5, rate=16000, hertz=440.0, amplitude=0.5) -> np.ndarray:
    time = np.arange(int(seconds * rate)) / rate
    return (amplitude * np.sin(2 * np.pi * hertz * time)).astype(np.float32)


def encoded(samples, rate=16000, kind="WAV", subtype=None) -> io.BytesIO:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=kind, subtype=subtype)
    buffer.seek(0)
    return buffer


def reason_for(data: io.BytesIO, max_seconds=600.0) -> str:
    with pytest.raises(MediaError) as refusal:
        decode_audio(data, max_seconds)
    return str(refusal.value)


def test_float_samples_come_back_exactly():
    samples = tone()
    sound = decode_audio(encoded(samples, subtype="FLOAT"), 600)
    assert sound.sample_rate == 16000
    assert sound.samples.dtype == np.float32
    np.testing.assert_array_equal(sound.samples, samples)


@pytest.mark.parametrize(
    ("kind", "subtype", "rate", "tolerance"),
    [
        ("WAV", "PCM_U8", 16000, 1 / 127),
        ("WAV", "PCM_24", 96000, 1e-6),
        ("FLAC", "PCM_16", 44100, 1e-4),
        ("OGG", "VORBIS", 44100, 0.05),
        ("MP3", "MPEG_LAYER_III", 44100, 0.05),
        ("OGG", "OPUS", 48000, 0.05),
    ],
)
def test_each_kind_of_file_gives_the_tone_that_was_written(kind, subtype, rate, tolerance):
    samples = tone(rate=rate)
    sound = decode_audio(encoded(samples, rate, kind, subtype), 600)
    assert sound.sample_rate == rate
    # Lossy kinds pad the ends and shift the phase; loudness and pitch must be there.
    assert abs(len(sound.samples) - len(samples)) <= 0.1 * rate
    middle = sound.samples[len(samples) // 4 : len(samples) // 2]
    assert np.sqrt((middle**2).mean()) == pytest.approx(0.5 / np.sqrt(2), abs=tolerance)
    crossings = np.count_nonzero(np.diff(np.signbit(middle)))
    assert crossings / len(middle) * rate / 2 == pytest.approx(440, abs=10)


def test_channels_are_averaged():
    six = np.stack([tone(hertz=100 * (c + 1), amplitude=0.1 * (c + 1)) for c in range(6)], axis=1)
    sound = decode_audio(encoded(six, subtype="FLOAT"), 600)
    np.testing.assert_allclose(sound.samples, six.mean(axis=1), atol=1e-7)


def test_a_long_sound_read_in_blocks_is_joined_without_a_seam():
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, 2**18 + 77_777).astype(np.float32)
    sound = decode_audio(encoded(samples, subtype="FLOAT"), 600)
    np.testing.assert_array_equal(sound.samples, samples)


def test_ten_milliseconds_are_a_sound():
    assert len(decode_audio(encoded(tone(seconds=0.01)), 600).samples) == 160


@pytest.mark.parametrize("amplitude", [0.0, 5e-5])
def test_silence_is_named(amplitude):
    assert reason_for(encoded(tone(amplitude=amplitude), subtype="FLOAT")) == "silent"


def test_channels_that_cancel_each_other_are_silent():
    samples = tone()
    assert reason_for(encoded(np.stack([samples, -samples], axis=1), subtype="FLOAT")) == "silent"


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_samples_that_are_no_numbers_are_refused(value):
    samples = tone()
    samples[100] = value
    assert reason_for(encoded(samples, subtype="FLOAT")) == "sound with NaN or infinite samples"


def test_a_file_without_samples_is_empty():
    assert reason_for(encoded(np.zeros(0, dtype=np.float32))) == "empty sound"


def test_the_longest_sound_is_allowed_and_one_sample_more_is_not():
    assert len(decode_audio(encoded(tone(seconds=1)), 1.0).samples) == 16000
    longer = np.append(tone(seconds=1), np.float32(0.1))
    assert reason_for(encoded(longer), 1.0) == "sound too long (more than 1 seconds)"


def test_a_truncated_flac_is_refused():
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 60_000).astype(np.float32)
    data = encoded(noise, kind="FLAC").getvalue()
    reason = reason_for(io.BytesIO(data[: len(data) // 2]))
    assert "cut short" in reason or "cannot be decoded" in reason
    assert "\n" not in reason


@pytest.mark.parametrize("data", [b"<html></html>", b"\0" * 100, bytes(range(256)) * 40])
def test_what_is_no_sound_is_refused(data):
    assert reason_for(io.BytesIO(data)) == "not a readable sound"


def test_random_bytes_named_mp3_are_not_a_readable_sound(tmp_path):
    for seed in range(20):
        data = np.random.default_rng(seed).bytes(5000)
        assert reason_for(io.BytesIO(b"\xff\xfb\x90\xc4" + data)).startswith(
            ("not a readable sound", "sound cannot be decoded (")
        )


def test_a_wave_file_without_its_chunks_is_refused():
    reason = reason_for(io.BytesIO(b"RIFF\xff\xff\xff\xffWAVEjunk"))
    assert reason.startswith("sound cannot be decoded (")


def headless_mp3(bitrate_mode) -> tuple[bytes, int]:
    """An MP3 without its Xing or Info frame, soft then loud; and how many samples it holds."""
    samples = tone(seconds=8, rate=44100)
    samples[: len(samples) // 2] *= 0.01
    data = io.BytesIO()
    soundfile.write(data, samples, 44100, format="MP3", bitrate_mode=bitrate_mode)
    whole = data.getvalue()
    mark = max(whole.find(b"Xing"), whole.find(b"Info"))
    return whole[whole.index(whole[:2], mark) :], len(samples)


@pytest.mark.parametrize("bitrate_mode", ["CONSTANT", "VARIABLE"])
@pytest.mark.parametrize("tag", ["none", "ID3v1", "ID3v2"])
def test_an_mp3_without_a_header_is_read_to_its_end(bitrate_mode, tag):
    data, count = headless_mp3(bitrate_mode)
    if tag == "ID3v1":
        data += b"TAG" + bytes(125)
    elif tag == "ID3v2":
        data = b"ID3\3\0\0\0\0\1\0" + bytes(128) + data
    samples = decode_audio(io.BytesIO(data), 600).samples
    # The encoder pads a frame or two of 1152 samples.
    assert count <= len(samples) <= count + 3 * 1152
    # The loud half was read, too, and stands where it was.
    loud = np.abs(samples) > 0.25
    assert loud.mean() == pytest.approx(np.arccos(0.5) / np.pi, abs=0.01)


def test_a_wave_file_cut_in_half_is_refused_and_one_of_open_length_is_not():
    data = encoded(tone()).getvalue()
    half = data[: len(data) // 2]
    missing = len(data) - len(half)
    assert reason_for(io.BytesIO(half)) == f"sound cut short ({missing} bytes are missing)"
    at = data.index(b"data") + 4
    streamed = data[:at] + b"\xff\xff\xff\xff" + data[at + 4 :]
    assert len(decode_audio(io.BytesIO(streamed), 600).samples) == 8000


def test_an_impossible_sampling_rate_is_refused():
    data = bytearray(encoded(tone()).getvalue())
    data[24:28] = struct.pack("<I", 3)
    assert reason_for(io.BytesIO(bytes(data))) == "impossible sampling rate (3 Hz)"
