"""Files damaged at random: a usable result or a reason, and never for long."""

import faulthandler
import io
from collections.abc import Iterator

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from extract.media.audio import MAX_PEAK, decode_audio
from extract.media.files import MediaError
from extract.media.image import MAX_PIXELS, decode_image
from extract.media.text import decode_text

LONGEST = 30  # seconds for one file; usually it is milliseconds

pytestmark = pytest.mark.filterwarnings("ignore:.*:UserWarning:PIL")


@pytest.fixture(autouse=True)
def ends() -> Iterator[None]:
    """A decoder in C that hangs cannot be interrupted: end the tests and show where."""
    faulthandler.dump_traceback_later(20 * LONGEST, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


def pictures() -> dict[str, bytes]:
    draw = np.random.default_rng(0)
    rgb = Image.fromarray(draw.integers(0, 256, (24, 20, 3), dtype=np.uint8)).resize((60, 50))
    deep = Image.fromarray(draw.integers(0, 65536, (20, 20), dtype=np.uint16))
    exif = Image.Exif()
    exif[0x0112] = 6
    frames = {"save_all": True, "append_images": [rgb.rotate(90)]}
    kinds = {
        "PNG": (rgb, "PNG", {}),
        "PNG palette": (rgb.quantize(8), "PNG", {"transparency": 1}),
        "PNG 16 bits": (deep, "PNG", {}),
        "APNG": (rgb, "PNG", frames),
        "JPEG": (rgb, "JPEG", {"exif": exif}),
        "JPEG progressive": (rgb, "JPEG", {"progressive": True}),
        "JPEG CMYK": (rgb.convert("CMYK"), "JPEG", {}),
        "MPO": (rgb, "MPO", frames),
        "GIF": (rgb, "GIF", frames),
        "WebP": (rgb, "WEBP", frames),
        "WebP lossless": (rgb, "WEBP", {"lossless": True}),
        "BMP": (rgb, "BMP", {}),
        "TIFF": (rgb, "TIFF", {"exif": exif}),
        "TIFF LZW": (rgb, "TIFF", {"compression": "tiff_lzw"}),
        "TIFF deflate": (deep, "TIFF", {"compression": "tiff_deflate"}),
        "TIFF JPEG": (rgb, "TIFF", {"compression": "jpeg"}),
        "TIFF fax": (rgb.convert("1"), "TIFF", {"compression": "group4"}),
        "JPEG 2000": (rgb, "JPEG2000", {}),
        "AVIF": (rgb, "AVIF", {"speed": 10}),
    }
    files = {}
    for name, (picture, kind, options) in kinds.items():
        data = io.BytesIO()
        picture.save(data, kind, **options)
        files[name] = data.getvalue()
    return files


def sounds() -> dict[str, bytes]:
    samples = 0.5 * np.sin(np.arange(4000) / 5) + np.random.default_rng(0).normal(0, 0.05, 4000)
    kinds = ["WAV PCM_16", "WAV PCM_U8", "WAV FLOAT", "WAV IMA_ADPCM", "WAV MS_ADPCM", "WAV ULAW"]
    kinds += ["RF64 PCM_16", "W64 PCM_16", "AIFF PCM_16", "AU PCM_16", "CAF ALAC_16"]
    kinds += ["FLAC PCM_16", "OGG VORBIS", "OGG OPUS", "MP3 MPEG_LAYER_III"]
    files = {}
    for name in kinds:
        data = io.BytesIO()
        kind, subtype = name.split()
        soundfile.write(data, samples, 16000, format=kind, subtype=subtype)
        files[name] = data.getvalue()
    files["OGG chained"] = 2 * files["OGG VORBIS"]
    return files


TEXTS = {
    "UTF-8": "le héron 🦆 قطة".encode() * 3,
    "BOM": "\ufeffle héron".encode(),
    "UTF-16": "le héron".encode("utf-16"),
}

ALL_ONES, NOTHING = b"\xff" * 4, b"\0" * 4
LARGE = b"\x7f\xff\xff\xff"


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """Bytes changed, left out and put in, more of them near the beginning; perhaps cut."""
    data = bytearray(whole)
    for _ in range(draw(st.integers(0, 6))):
        if not data:
            break
        nearby = draw(st.sampled_from([64, 512, len(data)]))
        at = draw(st.integers(0, min(nearby, len(data)) - 1))
        how = draw(st.sampled_from(["byte", "number", "left out", "put in"]))
        if how == "byte":
            data[at] = draw(st.integers(0, 255))
        elif how == "number":
            data[at : at + 4] = draw(st.sampled_from([ALL_ONES, NOTHING, LARGE, LARGE[::-1]]))
        elif how == "left out":
            del data[at : at + draw(st.integers(1, 64))]
        else:
            data[at:at] = draw(st.binary(min_size=1, max_size=16))
    return bytes(data[: draw(st.integers(0, len(data)))]) if draw(st.booleans()) else bytes(data)


def is_one_line(reason: MediaError) -> None:
    assert str(reason)
    assert "\n" not in str(reason)
    assert len(str(reason)) < 300


PICTURES, SOUNDS = pictures(), sounds()

few = settings(max_examples=150, deadline=1000 * LONGEST, suppress_health_check=[*HealthCheck])


@pytest.mark.parametrize("kind", PICTURES)
def test_a_damaged_picture_is_a_picture_or_a_reason(kind):
    @few
    @given(damaged(PICTURES[kind]))
    def check(data):
        try:
            picture = decode_image(io.BytesIO(data))
        except MediaError as reason:
            is_one_line(reason)
            return
        assert picture.mode == "RGB"
        assert 0 < picture.width * picture.height <= MAX_PIXELS
        pixels = np.asarray(picture)
        assert (pixels.shape, pixels.dtype) == ((picture.height, picture.width, 3), np.uint8)

    check()


@pytest.mark.parametrize("kind", SOUNDS)
def test_a_damaged_sound_is_a_sound_or_a_reason_and_no_traceback_is_printed(kind, capfd):
    @few
    @given(damaged(SOUNDS[kind]))
    def check(data):
        try:
            sound = decode_audio(io.BytesIO(data), 60)
        except MediaError as reason:
            is_one_line(reason)
            return
        assert (sound.samples.ndim, sound.samples.dtype) == (1, np.float32)
        assert 0 < len(sound.samples) <= 60 * sound.sample_rate
        assert np.isfinite(sound.samples).all()
        assert np.abs(sound.samples).max() <= MAX_PEAK

    check()
    # What the decoders in C print cannot be helped.
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("kind", TEXTS)
def test_a_damaged_text_is_a_text_or_a_reason(kind):
    @few
    @given(damaged(TEXTS[kind]))
    def check(data):
        try:
            text = decode_text(io.BytesIO(data))
        except MediaError as reason:
            is_one_line(reason)
            return
        assert text.strip()
        assert "\0" not in text
        assert text == data.decode("utf-8-sig").replace("\0", "")

    check()


@few
@given(st.binary(max_size=400))
def test_any_bytes_are_a_medium_or_a_reason(data):
    for decode in (decode_image, lambda handle: decode_audio(handle, 60), decode_text):
        try:
            decode(io.BytesIO(data))
        except MediaError as reason:
            is_one_line(reason)
