import io
import re
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


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("pair", [(np.inf, -np.inf), (3e38, 3e38)])
def test_channels_whose_mean_is_no_number_are_refused_without_a_warning(pair):
    samples = np.tile(np.array(pair, dtype=np.float32), (100, 1))
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


@pytest.mark.parametrize("data", [b"<b>bold</b>", b"\0" * 100, bytes(range(256)) * 40])
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


@pytest.mark.parametrize("kind", ["RF64", "AIFF", "AU", "W64"])
def test_other_kinds_with_a_length_in_their_header_are_refused_when_cut(kind):
    # libsndfile reads the half that is there and says nothing.
    data = encoded(tone(), kind=kind, subtype="PCM_16").getvalue()
    assert len(decode_audio(io.BytesIO(data), 600).samples) == 8000
    half = data[: len(data) // 2]
    assert reason_for(io.BytesIO(half)) == (
        f"sound cut short ({len(data) - len(half)} bytes are missing)"
    )


def test_an_mp3_cut_short_is_refused_by_its_header_and_nothing_is_printed(capfd):
    data = encoded(tone(seconds=4, rate=44100), 44100, "MP3").getvalue()
    cover = b"ID3\3\0\0\0\x3d\x09\0" + np.random.default_rng(0).bytes(0x3D << 14 | 9 << 7)
    for whole in (data, cover + data):
        assert len(decode_audio(io.BytesIO(whole), 600).samples) == 4 * 44100
        half = whole[: len(whole) - len(data) // 2]
        reason = reason_for(io.BytesIO(half))
        missing = int(re.fullmatch(r"sound cut short \((\d+) bytes are missing\)", reason)[1])
        assert abs(missing - len(data) // 2) <= 2
    assert capfd.readouterr() == ("", "")


def noise(seconds, rate) -> np.ndarray:
    draw = np.random.default_rng(0)
    return draw.uniform(-0.5, 0.5, int(seconds * rate)).astype(np.float32)


@pytest.mark.parametrize(("subtype", "rate"), [("VORBIS", 16000), ("OPUS", 48000)])
@pytest.mark.parametrize("share", [0.3, 0.9, 0.999])
def test_an_ogg_cut_within_a_page_is_refused(subtype, rate, share):
    # Pages of several kilobytes: libsndfile gives the whole ones, as if that were all.
    data = encoded(noise(10, rate), rate, "OGG", subtype).getvalue()
    cut = io.BytesIO(data[: int(len(data) * share)])
    assert reason_for(cut) == "sound cut short (its last Ogg page is not whole)"
    assert len(decode_audio(io.BytesIO(data + b"junk behind"), 600).samples) == 10 * rate


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_sounds_joined_to_one_ogg_are_read_one_after_another(subtype):
    soft, loud = 0.1 * noise(1, 16000), noise(2, 16000)
    parts = [encoded(part, 16000, "OGG", subtype).getvalue() for part in (soft, loud, soft)]
    joined = decode_audio(io.BytesIO(b"".join(parts)), 600).samples
    alone = [decode_audio(io.BytesIO(part), 600).samples for part in parts]
    np.testing.assert_array_equal(joined, np.concatenate(alone))
    assert len(joined) == 4 * 16000
    assert reason_for(io.BytesIO(b"".join(parts)), 3.9).startswith("sound too long")


def test_an_ogg_whose_rate_changes_on_the_way_is_refused():
    parts = [encoded(tone(rate=rate), rate, "OGG", "VORBIS").getvalue() for rate in (16000, 22050)]
    reason = reason_for(io.BytesIO(b"".join(parts)))
    assert reason == "sound whose sampling rate changes on the way"


@pytest.mark.parametrize("subtype", ["PCM_32", "DOUBLE", "ULAW", "ALAW", "IMA_ADPCM", "MS_ADPCM"])
def test_wave_files_of_other_codings_hold_the_tone(subtype):
    samples = tone()
    decoded = decode_audio(encoded(samples, subtype=subtype), 600).samples
    assert 0 <= len(decoded) - len(samples) < 1024  # codings in blocks fill up the last one
    np.testing.assert_allclose(decoded[500:8000], samples[500:], atol=0.03)


@pytest.mark.parametrize("rate", [8000, 12000, 24000])
def test_opus_of_any_rate_keeps_its_rate_and_length(rate):
    sound = decode_audio(encoded(tone(rate=rate), rate, "OGG", "OPUS"), 600)
    assert (sound.sample_rate, len(sound.samples)) == (rate, rate // 2)


def test_a_flac_with_a_wrong_checksum_is_read_and_one_with_a_wrong_frame_is_not():
    data = bytearray(encoded(noise(4, 16000), kind="FLAC").getvalue())
    assert data[4] & 0x7F == 0  # STREAMINFO: its last 16 bytes are an MD5 of all samples
    data[26:42] = bytes(16)
    data[27] = 1
    assert len(decode_audio(io.BytesIO(bytes(data)), 600).samples) == 4 * 16000
    data[len(data) // 2] ^= 0xFF
    assert reason_for(io.BytesIO(bytes(data))).startswith("sound cannot be decoded (")


def test_an_offset_and_clipping_stay_as_they_are():
    samples = np.clip(tone(amplitude=2) + 0.25, -1, 1).astype(np.float32)
    np.testing.assert_array_equal(
        decode_audio(encoded(samples, subtype="FLOAT"), 600).samples, samples
    )
    loud = 4 * samples  # floating point may exceed full scale
    np.testing.assert_array_equal(decode_audio(encoded(loud, subtype="FLOAT"), 600).samples, loud)


@pytest.mark.parametrize("scale", [2**15, 1e30])
def test_numbers_that_are_no_amplitudes_are_refused(scale):
    data = encoded((tone() * scale).astype(np.float32), subtype="FLOAT")
    assert reason_for(data) == "samples far beyond full scale (over 100; full scale is 1)"


def test_nothing_but_nan_is_named_and_not_called_silent():
    reason = reason_for(encoded(np.full(100, np.nan, np.float32), subtype="FLOAT"))
    assert reason == "sound with NaN or infinite samples"


@pytest.mark.filterwarnings("error")
def test_infinities_that_meet_in_two_channels_are_named_without_a_warning():
    both = np.full((100, 2), [np.inf, -np.inf], np.float32)
    assert reason_for(encoded(both, subtype="FLOAT")) == "sound with NaN or infinite samples"


def test_samples_are_bounded_however_high_the_rate(monkeypatch):
    monkeypatch.setattr("extract.media.audio.MAX_SAMPLES", 10_000)
    data = encoded(tone(seconds=0.1, rate=192_000), 192_000)
    assert reason_for(data) == "sound too long (more than 10000 samples)"


def test_an_impossible_sampling_rate_is_refused():
    data = bytearray(encoded(tone()).getvalue())
    data[24:28] = struct.pack("<I", 3)
    assert reason_for(io.BytesIO(bytes(data))) == "impossible sampling rate (3 Hz)"
