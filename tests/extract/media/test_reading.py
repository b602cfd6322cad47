import hashlib

import numpy as np
import pytest
import soundfile
from PIL import Image

from extract.encoders.base import Waveform
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
