"""Pictures that are rare, or made to do harm: their pixels, or the reason, and at what cost."""

import io
import struct
import threading
import time
import zlib
from functools import partial

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageFile

from extract.media.files import MediaError
from extract.media.image import MAX_PIXELS, decode_image


def encoded(picture: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def pixels_of(data: bytes) -> np.ndarray:
    picture = decode_image(io.BytesIO(data))
    assert picture.mode == "RGB"
    return np.asarray(picture)


def reason_for(data: bytes) -> str:
    with pytest.raises(MediaError) as refusal:
        decode_image(io.BytesIO(data))
    return str(refusal.value)


def noise(height=40, width=30) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(pixel: bytes, depth: int, colour: int, *extra: bytes, after: bytes = b"") -> bytes:
    """One pixel, and whatever else."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, depth, colour, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(b"\0" + pixel))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(extra) + data + after + chunk(b"IEND", b"")


def tiff(tags: dict[int, tuple[int, int, int]], data: bytes) -> bytes:
    """Little-endian; tag -> (type, count, value); the data stand at offset 8."""
    entries = b"".join(struct.pack("<HHII", tag, *entry) for tag, entry in sorted(tags.items()))
    head = b"II*\0" + struct.pack("<I", 8 + len(data) + len(data) % 2)
    return head + data + bytes(len(data) % 2) + struct.pack("<H", len(tags)) + entries + bytes(4)


def grey_tiff(width: int, height: int, bits: int, photometric: int, packed: bytes) -> bytes:
    short, long = 3, 4
    tags = {256: (long, 1, width), 257: (long, 1, height), 258: (short, 1, bits)}
    tags |= {259: (short, 1, 1), 262: (short, 1, photometric), 273: (long, 1, 8)}
    tags |= {277: (short, 1, 1), 278: (long, 1, height), 279: (long, 1, len(packed))}
    return tiff(tags, packed)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        # Twice the byte is the sixteen-bit value that stands for it: 257 x byte.
        (png(b"\xff\xff\x0a\x0a\x00\x00", 16, 2), [255, 10, 0]),
        (png(b"\xff\xff\x0a\x0a\x00\x00\x00\x00", 16, 6), [255, 255, 255]),
        (png(b"\x09\x09\xff\xff", 16, 4), [9, 9, 9]),
        (png(b"\x09\x00", 8, 4), [255, 255, 255]),
        (png(b"\x80", 1, 0), [255, 255, 255]),
        (png(b"\x40", 2, 0), [85, 85, 85]),
        (png(b"\x09", 8, 0, chunk(b"tRNS", b"\0\x09")), [255, 255, 255]),
        (png(b"\x09", 8, 0, chunk(b"tRNS", b"\0\x08")), [9, 9, 9]),
        (png(b"\x12\x34", 16, 0, chunk(b"tRNS", b"\x12\x34")), [255, 255, 255]),
        (png(b"\x01", 8, 3, chunk(b"PLTE", b"abcdef"), chunk(b"tRNS", b"\0")), [*b"def"]),
        (png(b"\x00", 8, 3, chunk(b"PLTE", b"abcdef"), chunk(b"tRNS", b"\0")), [255, 255, 255]),
    ],
)
def test_every_kind_of_png_pixel(data, expected):
    assert pixels_of(data)[0, 0].tolist() == expected


def test_all_shades_of_sixteen_bits_are_rounded_to_the_nearest():
    deep = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    expected = np.rint(deep / 257.0)
    grey = pixels_of(encoded(Image.fromarray(deep), "PNG"))
    np.testing.assert_array_equal(grey[..., 0], expected)


def test_twelve_bits_and_white_as_zero_keep_their_shades():
    twelve = grey_tiff(2, 1, 12, 1, b"\x00\x0f\xff")
    assert pixels_of(twelve)[0, :, 0].tolist() == [0, 255]
    inverted = grey_tiff(3, 1, 16, 0, struct.pack("<3H", 0, 257, 65535))
    assert pixels_of(inverted)[0, :, 0].tolist() == [255, 254, 0]


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_pixels_without_a_known_range_are_refused_before_they_are_decoded(dtype, monkeypatch):
    data = encoded(Image.fromarray(np.full((4, 4), 100_000, dtype)), "TIFF")
    monkeypatch.setattr(Image.Image, "load", lambda _: pytest.fail("decoded"))
    assert reason_for(data).endswith("pixels have no known range")


def test_lab_becomes_the_colour_it_names():
    # L* = 54.3, a* = 80.8, b* = 69.9 (D50) is the red of sRGB; Pillow shifts a and b by 128.
    lab = Image.new("LAB", (4, 4), (round(54.3 * 2.55), 81 + 128, 70 + 128))
    red, green, blue = pixels_of(encoded(lab, "TIFF"))[0, 0]
    assert red > 250
    assert max(green, blue) < 15


def test_a_colour_profile_is_not_applied():
    # As CLIP, timm and torchvision: what was stored is what the encoder saw in training.
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()
    pixels = noise()
    data = encoded(Image.fromarray(pixels), "PNG", icc_profile=profile)
    np.testing.assert_array_equal(pixels_of(data), pixels)


@pytest.mark.parametrize(
    ("kind", "options"),
    [("TIFF", {}), ("MPO", {"quality": 95}), ("PNG", {}), ("AVIF", {"quality": 100})],
)
def test_of_several_frames_the_first_is_taken(kind, options):
    red, blue = (Image.new("RGB", (16, 16), colour) for colour in ("red", "blue"))
    data = encoded(red, kind, save_all=True, append_images=[blue], **options)
    np.testing.assert_allclose(pixels_of(data)[0, 0], [255, 0, 0], atol=2)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_every_orientation_is_turned_upright_once(orientation, kind):
    # EXIF 2.3, tag 274: where the stored first row and first column belong in the picture.
    upright = noise()
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, k=-1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(Image.fromarray(np.ascontiguousarray(stored)), kind, exif=exif)
    np.testing.assert_array_equal(pixels_of(data), upright)


@pytest.mark.parametrize("options", [{}, {"progressive": True}])
def test_a_jpeg_with_something_behind_it_is_whole_and_one_without_its_end_is_not(options):
    data = encoded(Image.fromarray(noise(100, 100)), "JPEG", **options)
    np.testing.assert_array_equal(pixels_of(data + b"\0<html>" * 99), pixels_of(data))
    for cut in (data[:-2], data[: len(data) // 2]):
        assert reason_for(cut) == "damaged picture (image file is truncated)"


def test_an_interlaced_png_cut_short_is_refused():
    header = struct.pack(">IIBBBBB", 64, 64, 8, 2, 0, 0, 1)
    rows = zlib.compress(np.random.default_rng(0).bytes(30_000))
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows[:3000])
    assert reason_for(data).startswith("damaged picture (")


def test_a_palette_that_is_not_there_is_damage():
    assert reason_for(png(b"\x03", 8, 3)) == "damaged picture (no palette)"


BOMB = zlib.compress(bytes(50_000_000))


@pytest.mark.parametrize(
    "text",
    [
        chunk(b"zTXt", b"key\0\0" + BOMB),
        chunk(b"iTXt", b"key\0\1\0\0\0" + BOMB),
        chunk(b"iCCP", b"key\0\0" + BOMB),
        b"".join(chunk(b"zTXt", b"%d\0\0" % n + zlib.compress(bytes(10**6))) for n in range(70)),
    ],
    ids=["text", "international text", "profile", "many texts"],
)
@pytest.mark.parametrize("behind", [False, True])
def test_texts_that_unpack_to_a_bomb_do_not_cost_the_picture(text, behind):
    data = png(b"abc", 8, 2, b"" if behind else text, after=text if behind else b"")
    assert pixels_of(data)[0, 0].tolist() == [*b"abc"]


def test_a_bomb_beside_an_orientation_leaves_the_picture_upright():
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = noise()
    data = encoded(Image.fromarray(np.ascontiguousarray(np.rot90(upright))), "PNG", exif=exif)
    after_header = 8 + 25
    data = data[:after_header] + chunk(b"zTXt", b"key\0\0" + BOMB) + data[after_header:]
    np.testing.assert_array_equal(pixels_of(data), upright)


def test_a_jpeg_of_thousands_of_scans_is_refused_before_it_is_decoded(monkeypatch):
    data = encoded(Image.new("L", (2000, 2000), 128), "JPEG", progressive=True)
    last = data[data.rindex(b"\xff\xda") : -2]  # a scan of twelve bytes, over all blocks
    bomb = data[:-2] + last * 20_000 + b"\xff\xd9"
    started = time.perf_counter()
    assert reason_for(bomb) == "picture of too many scans (more than 100)"
    assert time.perf_counter() - started < 5  # decoding takes minutes
    # Few more are allowed, and what stands behind the picture's end is not counted.
    pixels_of(data[:-2] + last * 80 + b"\xff\xd9" + last * 200)


def gif(width: int, height: int, frame: int) -> bytes:
    screen = b"GIF89a" + struct.pack("<HH", width, height) + b"\x80\0\0" + b"\0\0\0\xff\xff\xff"
    return screen + b"," + struct.pack("<HHHHB", 0, 0, frame, frame, 0) + b"\x02\x02\x44\x01\0;"


def webp(side: int) -> bytes:
    """An animation of one small frame on a canvas that may be large."""
    frame = encoded(Image.new("RGB", (16, 16)), "WEBP")[12:]
    size = [struct.pack("<I", n)[:3] for n in (side - 1, 15)]
    canvas = b"VP8X" + struct.pack("<I", 10) + b"\x02\0\0\0" + size[0] * 2
    body = bytes(6) + size[1] * 2 + bytes(4) + frame
    chunks = b"WEBP" + canvas + b"ANIM" + struct.pack("<IIH", 6, 0, 0)
    chunks += b"ANMF" + struct.pack("<I", len(body)) + body
    return b"RIFF" + struct.pack("<I", len(chunks)) + chunks


def tiled_tiff(tile: int) -> bytes:
    """A picture of 10 x 10 pixels, the corner of one tile."""
    short, long = 3, 4
    data = zlib.compress(bytes(16 * 16))
    tags = {256: (long, 1, 10), 257: (long, 1, 10), 258: (short, 1, 8), 259: (short, 1, 8)}
    tags |= {262: (short, 1, 1), 277: (short, 1, 1), 322: (long, 1, tile), 323: (long, 1, tile)}
    return tiff(tags | {324: (long, 1, 8), 325: (long, 1, len(data))}, data)


def lying_tiff(side: int) -> bytes:
    data = grey_tiff(1, 1, 8, 1, b"\0")
    for tag in (256, 257):
        at = data.index(struct.pack("<HHI", tag, 4, 1)) + 8
        data = data[:at] + struct.pack("<I", side) + data[at + 4 :]
    return data


def lying_jpeg2000(side: int) -> bytes:
    data = encoded(Image.new("L", (16, 16)), "JPEG2000")
    # In the header's box, and in the marker of the code stream (ISO 15444-1, SIZ).
    for mark, behind in ((b"ihdr", 4), (b"\xff\x51", 6)):
        at = data.index(mark) + behind
        data = data[:at] + struct.pack(">II", side, side) + data[at + 8 :]
    return data


@pytest.mark.parametrize(
    ("make", "side"),
    [
        (lambda side: gif(side, side, 1), 65_535),
        (lambda side: gif(1, 1, side), 65_535),
        (webp, 16_383),
        (tiled_tiff, 16_384),
        (tiled_tiff, 65_520),
        (lying_tiff, 60_000),
        (lying_jpeg2000, 60_000),
    ],
    ids=["GIF canvas", "GIF frame", "WebP", "TIFF tile", "larger tile", "TIFF", "JPEG 2000"],
)
def test_headers_that_promise_too_many_pixels_are_refused(make, side):
    assert reason_for(make(side)) == (f"picture too large ({side**2} pixels, at most {MAX_PIXELS})")


def test_a_tile_of_usual_size_is_taken():
    assert not pixels_of(tiled_tiff(16)).any()


def test_strips_of_a_large_picture_are_what_the_whole_would_be(monkeypatch):
    """Kinds whose conversion differs, each decoded whole and in strips of 7 rows."""
    grey = noise(50, 60)[..., 0]
    half = Image.fromarray(np.dstack([noise(50, 60), grey]))
    palette = Image.fromarray(noise(50, 60)).quantize(16)
    deep = np.random.default_rng(1).integers(0, 65536, (50, 60), dtype=np.uint16)
    kinds = [
        encoded(half, "PNG"),
        encoded(palette, "PNG", transparency=3),
        encoded(Image.fromarray(deep), "PNG"),
        encoded(Image.fromarray(noise(50, 60)).convert("CMYK"), "TIFF"),
        grey_tiff(60, 50, 16, 0, deep.tobytes()),
    ]
    whole = [pixels_of(data) for data in kinds]
    monkeypatch.setattr("extract.media.pixels._STRIP_PIXELS", 7 * 60)
    for data, expected in zip(kinds, whole, strict=True):
        np.testing.assert_array_equal(pixels_of(data), expected)


def test_a_tiff_is_read_without_its_descriptor(tmp_path):
    # libtiff maps a file whose descriptor it has; cut short meanwhile, it takes the process along.
    class Watched(io.FileIO):
        def fileno(self):
            raise AssertionError("the descriptor was asked for")

    pixels = noise()
    path = tmp_path / "a.tif"
    path.write_bytes(encoded(Image.fromarray(pixels), "TIFF", compression="tiff_lzw"))
    with Watched(path, "rb") as handle:
        np.testing.assert_array_equal(np.asarray(decode_image(handle)), pixels)


def test_large_pictures_are_decoded_one_at_a_time(monkeypatch):
    monkeypatch.setattr("extract.media.image._LARGE_PIXELS", 100)
    running, most = 0, 0

    def slow(picture):
        nonlocal running, most
        running += 1
        most = max(most, running)
        time.sleep(0.02)
        running -= 1
        return ImageFile.ImageFile.load(picture)

    data = encoded(Image.fromarray(noise()), "BMP")
    monkeypatch.setattr("PIL.BmpImagePlugin.BmpImageFile.load", slow)
    threads = [threading.Thread(target=partial(pixels_of, data)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
