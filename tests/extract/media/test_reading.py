import hashlib
import os

import numpy as np
import pytest
import soundfile
from PIL import Image, TiffImagePlugin

from extract.encoders.base import Video, Waveform
from extract.media.files import MediaError
from extract.media.reading import Reader


@pytest.fixture
def reader(tmp_path):
    def make(modality, max_seconds=600.0) -> Reader:
        return Reader(modality=modality, base=tmp_path, roots=[tmp_path], max_seconds=max_seconds)

    return make


def test_each_modality_decodes_its_own_kind_and_digests_the_bytes(tmp_path, reader):
    Image.new("RGB", (2, 2), (1, 2, 3)).save(tmp_path / "a.png")
    soundfile.write(tmp_path / "a.wav", np.full(8000, 0.5), 8000)
    (tmp_path / "a.txt").write_text("héron", encoding="utf-8")
    kinds = {"a.png": ("image", Image.Image), "a.wav": ("audio", Waveform), "a.txt": ("text", str)}
    for name, (modality, kind) in kinds.items():
        digest, raw = reader(modality).read_file(name)
        assert isinstance(raw, kind)
        assert digest == hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()


def test_a_bad_file_keeps_its_digest_and_an_unopened_one_has_none(tmp_path, reader):
    (tmp_path / "bad.png").write_bytes(b"no picture")
    digest, reason = reader("image").read_file("bad.png")
    assert isinstance(reason, MediaError)
    assert digest == hashlib.sha256(b"no picture").hexdigest()
    digest, reason = reader("image").read_file("../outside.png")
    assert str(reason) == "outside the media roots"
    assert digest is None


def test_the_longest_sound_is_the_readers(tmp_path, reader):
    soundfile.write(tmp_path / "a.wav", np.full(16000, 0.5), 8000)
    assert isinstance(reader("audio", max_seconds=2).read_file("a.wav")[1], Waveform)
    assert "too long" in str(reader("audio", max_seconds=1.9).read_file("a.wav")[1])


def test_a_text_is_digested_as_it_stands_in_the_table(reader):
    digest, raw = reader("text").read_text("a\0b")
    assert raw == "ab"
    assert digest == hashlib.sha256(b"a\0b").hexdigest()
    digest, raw = reader("text").read_text("  ")
    assert str(raw) == "empty text"
    assert digest == hashlib.sha256(b"  ").hexdigest()


@pytest.mark.parametrize("modality", ["image", "audio", "text", "video"])
def test_a_file_too_large_for_its_kind_is_not_even_digested(tmp_path, reader, modality):
    (tmp_path / "sparse").touch()
    os.truncate(tmp_path / "sparse", 2**42)
    digest, reason = reader(modality).read_file("sparse")
    assert str(reason).startswith("file too large (more than ")
    assert digest is None


def test_half_a_character_is_a_reason_with_a_digest(reader):
    digest, reason = reader("text").read_text("cat \ud83d")
    assert str(reason) == "text with half a character (a lone surrogate)"
    assert len(digest) == 64


def test_a_picture_cut_while_it_is_decoded_is_named_so_whatever_the_decoder_says(
    tmp_path, reader, monkeypatch
):
    pixels = np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.tif", compression="tiff_lzw")
    load = TiffImagePlugin.TiffImageFile.load

    def cut_first(picture):
        os.truncate(tmp_path / "a.tif", 1000)
        return load(picture)

    monkeypatch.setattr(TiffImagePlugin.TiffImageFile, "load", cut_first)
    _, reason = reader("image").read_file("a.tif")
    assert str(reason) == "changed while it was read"


def test_a_device_that_fails_is_named_and_nothing_is_printed(tmp_path, reader, monkeypatch, capfd):
    def failing(*_):
        raise OSError(5, "Input/output error")

    for name in ("a.wav", "a.mp3", "a.ogg"):
        soundfile.write(tmp_path / name, np.full(80_000, 0.1), 16000)
        monkeypatch.setattr("extract.media.views.Section._bytes", failing)
        monkeypatch.setattr("extract.media.views.Stretched._bytes", failing)
        _, reason = reader("audio").read_file(name)
        assert str(reason) == "unreadable file (Input/output error)"
    assert capfd.readouterr() == ("", "")


def test_a_video_gives_frames_and_as_a_sound_its_track(tmp_path, reader, make_clip, numbered):
    tone = (8000 * np.sin(np.arange(16000))).astype(np.int16)
    frames = [numbered(n) for n in range(10)]
    path = make_clip(tmp_path / "a.mkv", frames, sound=tone)
    digest, video = reader("video").read_file("a.mkv")
    assert isinstance(video, Video)
    assert len(video.frames) == 8
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()
    _, sound = reader("audio").read_file("a.mkv")
    np.testing.assert_array_equal(sound.samples, tone / np.float32(32768))
    reason = "a video (Matroska or WebM), not a picture; use --modality video"
    assert str(reader("image").read_file("a.mkv")[1]) == reason


def test_frames_sampling_and_the_longest_video_are_the_readers(
    tmp_path, reader, make_clip, numbered
):
    # The stripes of 0 and 255 differ everywhere: a cut after 4 of 10 frames.
    frames = [numbered(0)] * 4 + [numbered(255)] * 6
    make_clip(tmp_path / "a.mkv", frames)
    of = {"base": tmp_path, "roots": [tmp_path], "modality": "video"}
    uniform = Reader(**of, max_seconds=1, frames=5).read_file("a.mkv")[1]
    np.testing.assert_allclose(uniform.times, [0.1, 0.3, 0.5, 0.7, 0.9])
    scenes = Reader(**of, max_seconds=1, frames=5, frame_sampling="scene").read_file("a.mkv")[1]
    np.testing.assert_allclose(scenes.times, [0.2, 0.7])
    assert "too long" in str(Reader(**of, max_seconds=0.9).read_file("a.mkv")[1])
