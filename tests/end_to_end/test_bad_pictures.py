"""Pictures that are damaged, rare or made to do harm, in one catalogue with good ones."""

import io
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile

QUARTERS = np.array([[(200, 0, 0), (0, 150, 0)], [(0, 0, 250), (90, 90, 90)]], dtype=np.uint8)
"""Four colours, so that a turned picture has another vector."""

HUGE = 12_000
"""Too many pixels, but not so many that Pillow itself would refuse them."""


def blown_up(pixels: np.ndarray, times: int = 16) -> np.ndarray:
    return pixels.repeat(times, axis=0).repeat(times, axis=1)


def bomb() -> bytes:
    """12,000 x 12,000 black pixels of one bit, all of them there."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        check = zlib.crc32(kind + body).to_bytes(4, "big")
        return len(body).to_bytes(4, "big") + kind + body + check

    packer = zlib.compressobj()
    row = bytes(1 + HUGE // 8)
    packed = b"".join(packer.compress(row) for _ in range(HUGE)) + packer.flush()
    header = HUGE.to_bytes(4, "big") * 2 + bytes([1, 0, 0, 0, 0])
    data = chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + data


def save_pictures(folder: Path) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    """Unusual pictures that are usable: their names, and the vectors as worked out by hand."""
    upright = QUARTERS.astype(np.float32)

    cmyk = Image.new("CMYK", (16, 16), (51, 102, 0, 51))
    cmyk.save(folder / "cmyk.jpg", quality=100)

    deep = blown_up(np.array([[0, 25_700], [51_400, 65_535]], dtype=np.uint16))
    Image.fromarray(deep).save(folder / "deep.png")
    shades = np.array([0, 100, 200, 255], dtype=np.float32).repeat(3)

    palette = Image.fromarray(blown_up(np.array([[0, 1], [2, 1]], dtype=np.uint8)))
    palette.putpalette([255, 0, 0, 10, 20, 30, 0, 0, 200])
    # Opacities 0, 255 and 102 (0.4): white, the colour, 0.4 of it and 0.6 white.
    palette.save(folder / "palette.png", transparency=bytes([0, 255, 102]))
    on_white = [(255, 255, 255), (10, 20, 30), (153, 153, 233), (10, 20, 30)]

    # Stored a quarter turn anticlockwise, as a camera held upright does, and marked so.
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = Image.fromarray(blown_up(np.rot90(QUARTERS)))
    stored.save(folder / "turned.jpg", exif=exif, quality=100, subsampling=0)

    frames = [Image.new("RGB", (16, 16), colour) for colour in ((255, 0, 0), (0, 0, 255))]
    frames[0].save(folder / "animated.gif", save_all=True, append_images=frames[1:])

    names = ("cmyk.jpg", "deep.png", "palette.png", "turned.jpg", "animated.gif")
    vectors = {
        # Red is 255 (1 - 0.2) (1 - 0.2), green 255 (1 - 0.4) (1 - 0.2), blue 255 (1 - 0.2).
        "cmyk": np.tile([163.2, 122.4, 204.0], 4),
        "deep": shades,
        "palette": np.ravel(on_white),
        "turned": upright.ravel(),
        "animated": np.tile([255, 0, 0], 4),
    }
    return dict(zip(vectors, names, strict=True)), vectors


def test_bad_pictures_beside_good_ones(shop, table, compare, monkeypatch):
    Image.fromarray(blown_up(QUARTERS)).save(shop / "good.png")
    Image.fromarray(blown_up(QUARTERS[::-1])).save(shop / "other.png")
    good = {"good": "good.png", "other": "other.png"}
    unusual, vectors = save_pictures(shop)

    noise = np.random.default_rng(0).integers(0, 256, (100, 100, 3), dtype=np.uint8)
    whole = io.BytesIO()
    Image.fromarray(noise).save(whole, "JPEG")
    drawing = '<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><path d="M0 0"/></svg>'
    bad = {
        "truncated.jpg": whole.getvalue()[: len(whole.getvalue()) // 2],
        "bomb.png": bomb(),
        "zero.png": b"",
        "page.jpg": b"<!DOCTYPE html><html><body>404</body></html>",
        "drawing.svg": drawing.encode(),
        "drawing.png": drawing.encode(),
    }
    for name, data in bad.items():
        (shop / name).write_bytes(data)
    assert len(bad["bomb.png"]) < 50_000
    reasons = {
        "truncated.jpg": "damaged picture (image file is truncated)",
        "bomb.png": "picture too large (144000000 pixels, at most 89478485)",
        "zero.png": "empty file",
        "page.jpg": "an HTML page, not a picture",
        "drawing.svg": "vector graphics (SVG) are not read",
        "drawing.png": "vector graphics (SVG) are not read",
    }

    media = {"good": "good.png"} | {name: name for name in bad} | unusual
    media |= {"no picture": None, "other": "other.png"}
    expected = {item: reasons.get(item) for item in media}
    expected["no picture"] = "no value in the table"

    decoded = []
    load = ImageFile.ImageFile.load

    def watched(picture):
        decoded.append(picture.size)
        return load(picture)

    monkeypatch.setattr(ImageFile.ImageFile, "load", watched)
    found = compare(
        *(table("all.jsonl", "image", media), table("good.jsonl", "image", good), expected),
        *("--modality", "image", "--encoder", "shop_encoders:Quarters"),
    )
    assert (100, 100) in decoded
    assert (HUGE, HUGE) not in decoded
    for item, vector in vectors.items():
        np.testing.assert_allclose(found.vectors[item], vector, atol=2, err_msg=item)
    exact = ("deep", "palette", "animated")
    for item in exact:
        np.testing.assert_array_equal(found.vectors[item], vectors[item].astype(np.float32))
