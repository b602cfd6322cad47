"""Sound tracks of synthetic clips, compared with the samples that were written."""

import sys

import numpy as np
import pytest

from extract.errors import InputError
from extract.media.files import MediaError
from extract.media.sound_track import decode_sound_track

FRAMES = [np.full((16, 16, 3), 20 * n, np.uint8) for n in range(10)]
MPEG4 = {"codec": "mpeg4", "pix_fmt": "yuv420p"}


def tone(seconds=1.0, rate=16000, hertz=440.0, amplitude=0.5):
    time = np.arange(round(seconds * rate)) / rate
    return amplitude * np.sin(2 * np.pi * hertz * time)


def as_int16(samples):
    return np.round(samples * 32767).astype(np.int16)


def decode(path, max_seconds=600.0):
    with path.open("rb") as handle:
        return decode_sound_track(handle, max_seconds)


def reason_for(path, max_seconds=600.0) -> str:
    with pytest.raises(MediaError) as refusal:
        decode(path, max_seconds)
    return str(refusal.value)


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mov", "pcm_s16le"), ("a.mkv", "pcm_s16le"), ("a.mkv", "flac"), ("a.avi", "pcm_s16le")],
)
@pytest.mark.parametrize("rate", [8000, 44100])
def test_whole_numbers_come_back_exactly(name, codec, rate, tmp_path, make_clip):
    noise = np.random.default_rng(0).integers(-20000, 20000, 3 * rate // 2).astype(np.int16)
    options = MPEG4 | {"sound": noise, "sound_rate": rate, "sound_codec": codec}
    sound = decode(make_clip(tmp_path / name, FRAMES, **options))
    assert sound.sample_rate == rate
    assert sound.samples.dtype == np.float32
    np.testing.assert_array_equal(sound.samples, noise.astype(np.float32) / 32768)


def test_floating_point_comes_back_exactly(tmp_path, make_clip):
    samples = tone().astype(np.float32)
    path = make_clip(tmp_path / "a.mkv", FRAMES, sound=samples, sound_codec="pcm_f32le")
    np.testing.assert_array_equal(decode(path).samples, samples)


@pytest.mark.parametrize("channels", [2, 6])
def test_channels_are_averaged(channels, tmp_path, make_clip):
    each = np.stack([as_int16(tone(hertz=100 * (c + 1), amplitude=0.1)) for c in range(channels)])
    path = make_clip(tmp_path / "a.mov", FRAMES, **MPEG4, sound=each)
    expected = (each / 32768).mean(axis=0)
    np.testing.assert_allclose(decode(path).samples, expected, atol=1e-6)


@pytest.mark.parametrize("name", ["a.mp4", "a.m4a"])
def test_a_lossy_track_is_the_tone_that_was_written(name, tmp_path, make_clip):
    samples = tone(2.0, 44100)
    frames = FRAMES if name == "a.mp4" else ()
    path = make_clip(
        tmp_path / name,
        frames,
        **MPEG4,
        sound=as_int16(samples),
        sound_rate=44100,
        sound_codec="aac",
    )
    found = decode(path)
    assert found.sample_rate == 44100
    # The samples that the codec puts before the first are taken off again.
    length = min(len(found.samples), len(samples))
    assert length > 0.98 * len(samples)
    assert np.corrcoef(found.samples[:length], samples[:length])[0, 1] > 0.99


def test_the_longest_sound_is_allowed_and_more_is_not(tmp_path, make_clip):
    path = make_clip(tmp_path / "a.mkv", FRAMES, sound=as_int16(tone(1.0)))
    assert len(decode(path, 1.0).samples) == 16000
    path = make_clip(tmp_path / "b.mkv", FRAMES, sound=as_int16(tone(1.1)))
    assert reason_for(path, 1.0) == "sound too long (more than 1 seconds)"


@pytest.mark.parametrize("amplitude", [0.0, 5e-5])
def test_silence_is_named(amplitude, tmp_path, make_clip):
    path = make_clip(
        tmp_path / "a.mkv",
        FRAMES,
        sound=tone(amplitude=amplitude).astype(np.float32),
        sound_codec="pcm_f32le",
    )
    assert reason_for(path) == "silent"


def test_samples_that_are_no_numbers_are_refused(tmp_path, make_clip):
    samples = tone().astype(np.float32)
    samples[100] = np.nan
    path = make_clip(tmp_path / "a.mkv", FRAMES, sound=samples, sound_codec="pcm_f32le")
    assert reason_for(path) == "sound with NaN or infinite samples"


def test_a_video_without_sound_is_named(tmp_path, make_clip):
    assert reason_for(make_clip(tmp_path / "a.mkv", FRAMES)) == "no sound track"


@pytest.mark.parametrize("name", ["a.mkv", "a.avi"])
def test_a_sound_cut_short_is_refused(name, tmp_path, make_clip):
    noise = np.random.default_rng(0).integers(-20000, 20000, 48000).astype(np.int16)
    path = make_clip(tmp_path / name, FRAMES * 3, **MPEG4, sound=noise)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    assert reason_for(path).startswith("sound cut short (")


def test_a_sound_shorter_than_its_video_is_whole(tmp_path, make_clip):
    path = make_clip(tmp_path / "a.mkv", FRAMES * 3, sound=as_int16(tone(1.0)))
    assert len(decode(path).samples) == 16000


def test_what_is_no_container_is_refused(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"<html></html>")
    assert reason_for(tmp_path / "a.mp4") == "an HTML page, not a sound"
    (tmp_path / "b.mp4").write_bytes(bytes(range(1, 200)))
    assert reason_for(tmp_path / "b.mp4") == "not a readable sound"


def test_without_pyav_the_extra_is_named(tmp_path, make_clip, monkeypatch):
    path = make_clip(tmp_path / "a.mkv", FRAMES, sound=as_int16(tone()))
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(InputError, match=r"needs the extra 'video'"):
        decode(path)
