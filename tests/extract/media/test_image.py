import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from extract.media.files import MediaError
from extract.media.image import MAX_PIXELS, decode_image


def encoded(picture: Image.Image, kind: str, **options) -> io.BytesIO:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    buffer.seek(0)
    return buffer


def noise(height=40, width=30, channels=3) -> np.ndarray:
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def reason_for(data: bytes | io.BytesIO) -> str:
    with pytest.raises(MediaError) as refusal:
        decode_image(io.BytesIO(data) if isinstance(data, bytes) else data)
    return str(refusal.value)


def test_a_lossless_picture_comes_back_pixel_by_pixel():
    pixels = noise()
    picture = decode_image(encoded(Image.fromarray(pixels), "PNG"))
    assert picture.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(picture), pixels)


def test_transparency_is_laid_on_white():
    # Red at opacity 0, 102 (0.4) and 255: white, 0.4 red + 0.6 white, red.
    rgba = np.array([[[255, 0, 0, 0], [255, 0, 0, 102], [255, 0, 0, 255]]], dtype=np.uint8)
    picture = decode_image(encoded(Image.fromarray(rgba), "PNG"))
    expected = [[[255, 255, 255], [255, 153, 153], [255, 0, 0]]]
    np.testing.assert_array_equal(np.asarray(picture), expected)


def test_a_palette_with_a_transparent_colour_is_laid_on_white():
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 200, 100, 50])
    palette.putpixel((1, 0), 1)
    picture = decode_image(encoded(palette, "PNG", transparency=0))
    np.testing.assert_array_equal(np.asarray(picture), [[[255, 255, 255], [200, 100, 50]]])


def test_sixteen_bit_grey_keeps_its_shades():
    # 65535 = 257 x 255; Pillow's own conversion would clip everything above 255 to white.
    deep = np.array([[0, 257, 25700, 65535]], dtype=np.uint16)
    picture = decode_image(encoded(Image.fromarray(deep), "PNG"))
    np.testing.assert_array_equal(np.asarray(picture)[0, :, 0], [0, 1, 100, 255])
    assert picture.mode == "RGB"


def test_cmyk_becomes_rgb():
    cyan = Image.new("CMYK", (8, 8), (255, 0, 0, 0))
    red, green, blue = np.asarray(decode_image(encoded(cyan, "JPEG"))).mean(axis=(0, 1))
    assert red < 10
    assert green > 245
    assert blue > 245


def test_floating_point_pixels_are_refused():
    picture = Image.fromarray(np.linspace(0, 1, 16, dtype=np.float32).reshape(4, 4))
    assert "floating-point" in reason_for(encoded(picture, "TIFF"))


def test_a_photo_is_turned_upright_by_its_exif():
    pixels = noise()
    exif = Image.Exif()
    exif[0x0112] = 6  # stored a quarter turn anticlockwise: turn it clockwise to see it
    picture = decode_image(encoded(Image.fromarray(pixels), "PNG", exif=exif))
    np.testing.assert_array_equal(np.asarray(picture), np.rot90(pixels, k=-1))


def test_a_broken_exif_does_not_cost_the_picture():
    pixels = noise()
    data = encoded(Image.fromarray(pixels), "PNG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01")
    np.testing.assert_array_equal(np.asarray(decode_image(data)), pixels)


@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
def test_the_first_frame_of_an_animation_is_taken(kind):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    np.testing.assert_array_equal(np.asarray(decode_image(data))[0, 0], [255, 0, 0])


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF"])
def test_a_truncated_file_is_refused(kind):
    data = encoded(Image.fromarray(noise(200, 200)), kind).getvalue()
    reasons = {reason_for(data[: len(data) * 2 // 3]), reason_for(data[: len(data) // 2])}
    # Alike for all truncated files, so that a summary can count them as one.
    assert len(reasons) == 1
    assert "damaged picture" in reasons.pop()


def test_a_bomb_is_refused_before_it_is_decoded(monkeypatch):
    # A header that promises far more pixels than allowed, with no pixel data behind it at all:
    # were it decoded, the reason would be the missing data.
    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    for side in (int(MAX_PIXELS**0.5) + 1, 60_000):
        header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
        bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"")
        assert f"picture too large ({side * side} pixels" in reason_for(bomb)


@pytest.mark.parametrize(
    "data",
    [b"404 not found", b"\0" * 64],
)
def test_what_is_no_picture_is_refused(data):
    assert reason_for(data) == "not a picture of a known format"


def test_postscript_is_never_interpreted():
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n"
    assert reason_for(eps) == "PostScript (EPS), not a picture"


@pytest.mark.parametrize("size", [(20_000, 1), (1, 20_000), (101, 1), (203, 2)])
def test_a_picture_too_narrow_to_be_scaled_is_refused_before_it_is_decoded(size, monkeypatch):
    data = encoded(Image.new("L", size), "PNG")
    monkeypatch.setattr(Image.Image, "load", lambda _: pytest.fail("decoded"))
    assert reason_for(data) == "picture too narrow (longer side over 100 times the shorter)"


@pytest.mark.parametrize("size", [(100, 1), (2, 200)])
def test_a_narrow_picture_within_bounds_is_taken(size):
    assert decode_image(encoded(Image.new("L", size), "PNG")).size == size


def test_memory_that_runs_out_is_not_called_damage(monkeypatch):
    def exhausted(_):
        raise MemoryError

    data = encoded(Image.fromarray(noise()), "PNG")
    monkeypatch.setattr("extract.media.image.as_rgb", exhausted)
    assert reason_for(data) == "out of memory while decoding the picture"
