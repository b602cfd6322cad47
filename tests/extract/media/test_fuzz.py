"""Valid small files, cut, overwritten and spliced at random: a medium or a reason, nothing else."""

import io

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from extract.media.audio import decode_audio
from extract.media.files import MediaError
from extract.media.image import decode_image
from extract.media.text import decode_text

PICTURES = {
    "PNG": {},
    "JPEG": {},
    "WEBP": {"lossless": True},
    "GIF": {"save_all": True},
    "BMP": {},
    "TIFF": {"compression": "tiff_lzw"},
}
SOUNDS = [
    ("WAV", "PCM_16"),
    ("WAV", "FLOAT"),
    ("FLAC", "PCM_16"),
    ("OGG", "VORBIS"),
    ("MP3", "MPEG_LAYER_III"),
]


def picture(kind: str) -> bytes:
    draw = np.random.default_rng(0)
    frames = [Image.fromarray(draw.integers(0, 256, (12, 16, 3), np.uint8)) for _ in range(2)]
    buffer = io.BytesIO()
    options = PICTURES[kind]
    if "save_all" in options:
        options = options | {"append_images": frames[1:]}
    frames[0].save(buffer, kind, **options)
    return buffer.getvalue()


def sound(kind: str, subtype: str) -> bytes:
    buffer = io.BytesIO()
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, 1600)
    soundfile.write(buffer, samples, 16000, format=kind, subtype=subtype)
    return buffer.getvalue()


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """A few runs of bytes overwritten, then a piece taken out or the end cut off, or neither.

    Half of the positions lie among the first 64 bytes, where headers are.
    """
    data = bytearray(whole)
    last = len(whole) - 1
    position = st.integers(0, min(63, last)) | st.integers(0, last)
    byte = st.sampled_from(b"\x00\x01\x7f\x80\xfe\xff") | st.integers(0, 255)
    # Runs of eight hold a whole number: the largest, or of floating point no number.
    length = st.just(1) | st.integers(1, 8)
    for at, value, count in draw(st.lists(st.tuples(position, byte, length), max_size=6)):
        data[at : at + count] = bytes([value]) * min(count, len(data) - at)
    start = draw(st.none() | position)
    if start is not None:
        stop = draw(st.just(len(data)) | st.integers(start, len(data)))
        del data[start:stop]
    return bytes(data)


@pytest.mark.parametrize("kind", PICTURES)
def test_a_damaged_picture_is_an_rgb_picture_or_a_reason(kind):
    whole = picture(kind)
    assert decode_image(io.BytesIO(whole)).size == (16, 12)

    @settings(max_examples=100)
    @given(damaged(whole))
    def decode(data):
        try:
            decoded = decode_image(io.BytesIO(data))
        except MediaError as reason:
            assert_one_line(reason)
            return
        assert decoded.mode == "RGB"
        assert np.asarray(decoded).shape == (decoded.height, decoded.width, 3)

    decode()


@pytest.mark.parametrize(("kind", "subtype"), SOUNDS)
def test_a_damaged_sound_is_a_finite_waveform_or_a_reason(kind, subtype):
    whole = sound(kind, subtype)
    assert len(decode_audio(io.BytesIO(whole), 600).samples) >= 1600

    @settings(max_examples=100)
    @given(damaged(whole))
    def decode(data):
        try:
            decoded = decode_audio(io.BytesIO(data), 600)
        except MediaError as reason:
            assert_one_line(reason)
            return
        assert decoded.samples.dtype == np.float32
        assert decoded.samples.ndim == 1
        assert len(decoded.samples) > 0
        assert np.isfinite(decoded.samples).all()
        assert isinstance(decoded.sample_rate, int)
        assert len(decoded.samples) <= 600 * decoded.sample_rate

    decode()


@settings(max_examples=100)
@given(damaged("\ufeffLe chat noir, قطة سوداء, 黒猫 🐈‍⬛\n".encode()))
def test_a_damaged_text_is_a_text_or_a_reason(data):
    try:
        text = decode_text(io.BytesIO(data))
    except MediaError as reason:
        assert_one_line(reason)
        return
    assert text.strip()
    assert "\0" not in text
    # Nothing but the mark at the beginning and NUL characters is left out.
    assert text == data.decode().removeprefix("\ufeff").replace("\0", "")


def assert_one_line(reason: MediaError) -> None:
    """A row of the store's table and a line of the summary."""
    assert str(reason).strip()
    assert "\n" not in str(reason)
