import gzip
import io
import zipfile

import numpy as np
import pytest
import soundfile
from PIL import Image

from extract.media.audio import decode_audio
from extract.media.files import MediaError
from extract.media.image import decode_image
from extract.media.kinds import found_instead

SVG = b"<svg xmlns='http://www.w3.org/2000/svg' width='10'/>"


def picture(kind: str) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (16, 16)).save(data, kind)
    return data.getvalue()


def sound(kind: str) -> bytes:
    data = io.BytesIO()
    soundfile.write(data, np.full(4000, 0.1), 16000, format=kind)
    return data.getvalue()


def box(brand: bytes, *compatible: bytes) -> bytes:
    body = b"ftyp" + brand + bytes(4) + b"".join(compatible)
    return (len(body) + 4).to_bytes(4, "big") + body + bytes(100)


def archive() -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("a.png", "x")
    return data.getvalue()


def told(value: bytes | str) -> str:
    """A test's id: some of the data differ from process to process."""
    return value if isinstance(value, str) else "data"


VIDEOS = {
    "MP4 or QuickTime": box(b"isom", b"mp41"),
    "Matroska or WebM": b"\x1a\x45\xdf\xa3" + bytes(100),
    "AVI": b"RIFF\0\0\0\0AVI LIST" + bytes(100),
    "Flash": b"FLV\1\5" + bytes(100),
    "MPEG": b"\0\0\1\xba" + bytes(100),
    "MPEG transport stream": (b"\x47" + bytes(187)) * 4,
    "Windows Media": bytes.fromhex("3026b2758e66cf11") + bytes(100),
    "Ogg Theora": b"OggS\0\2" + bytes(20) + b"\1\x2a\x80theora" + bytes(100),
}


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"<!DOCTYPE html><html><body>404</body></html>", "an HTML page"),
        (b"\xef\xbb\xbf\n <HTML><head>", "an HTML page"),
        (b"<!-- cached --><html><body><svg/></body></html>", "an HTML page"),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "an XML document"),
        (b'{"error": "not found"}', "a JSON document"),
        (b"%PDF-1.7\n", "a PDF document"),
        (b"%!PS-Adobe-3.0 EPSF-3.0", "PostScript (EPS)"),
        (archive(), "a ZIP archive or an Office document"),
    ],
    ids=told,
)
def test_documents_are_named(data, what):
    for decode, wanted in ((decode_image, "picture"), (lambda h: decode_audio(h, 9), "sound")):
        with pytest.raises(MediaError) as refusal:
            decode(io.BytesIO(data))
        assert str(refusal.value) == f"{what}, not a {wanted}"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (SVG, "vector graphics (SVG) are not read"),
        (b"<?xml version='1.0'?>\n<!-- Inkscape -->" + SVG, "vector graphics (SVG) are not read"),
        (b"<svg:svg xmlns:svg='x'><html/></svg:svg>", "vector graphics (SVG) are not read"),
        (gzip.compress(SVG, mtime=0), "gzip-compressed data, not a picture (unpack it)"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
            "a Git LFS pointer, not the picture itself (run: git lfs pull)",
        ),
        (
            box(b"heic", b"mif1", b"heic"),
            "HEIC pictures are not read; convert them to JPEG or PNG",
        ),
        (box(b"mif1", b"heic"), "HEIC pictures are not read; convert them to JPEG or PNG"),
        (box(b"mif1", b"avif"), "damaged picture, or a rare kind of AVIF"),
        (b"\xff\x0a\0\0", "JPEG XL pictures are not read; convert them to JPEG or PNG"),
        (b"8BPS\0\1", "Photoshop (PSD) pictures are not read; convert them to JPEG or PNG"),
        (picture("ICO"), "icon (ICO) pictures are not read; convert them to JPEG or PNG"),
        (picture("TIFF")[:20], "damaged picture, or a rare kind of TIFF"),
        (picture("GIF")[:8], "damaged picture, or a rare kind of GIF"),
        (sound("WAV"), "a sound, not a picture"),
        (sound("MP3"), "not a picture of a known format"),  # no mark but a frame's first bits
        (sound("OGG"), "a sound, not a picture"),
        (b"just text", "not a picture of a known format"),
        (b"<b>bold</b>", "not a picture of a known format"),
    ],
    ids=told,
)
def test_what_is_no_picture_is_named(data, reason):
    with pytest.raises(MediaError) as refusal:
        decode_image(io.BytesIO(data))
    assert str(refusal.value) == reason


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (
            box(b"M4A ", b"isom"),
            "AAC in MP4 (M4A) sounds are not read; convert them to WAV, FLAC, Ogg or MP3",
        ),
        (
            b"\xff\xf1\x50\x80" + bytes(300),
            "AAC sounds are not read; convert them to WAV, FLAC, Ogg or MP3",
        ),
        (b"#!AMR\n", "AMR sounds are not read; convert them to WAV, FLAC, Ogg or MP3"),
        (b"MThd\0\0\0\6", "MIDI notes, not a sound"),
        (picture("PNG"), "a picture, not a sound"),
        (picture("WEBP"), "a picture, not a sound"),
        (sound("FLAC")[:10], "not a readable sound"),
        (b"just text", "not a readable sound"),
    ],
    ids=told,
)
def test_what_is_no_sound_is_named(data, reason):
    with pytest.raises(MediaError) as refusal:
        decode_audio(io.BytesIO(data), 600)
    assert str(refusal.value) == reason


@pytest.mark.parametrize("kind", VIDEOS)
def test_videos_are_named_with_what_to_do(kind):
    with pytest.raises(MediaError) as refusal:
        decode_image(io.BytesIO(VIDEOS[kind]))
    assert str(refusal.value) == f"a video ({kind}), not a picture; use --modality video"
    assert found_instead(io.BytesIO(VIDEOS[kind]), "text") == f"a video ({kind}), not a text"
    assert found_instead(io.BytesIO(VIDEOS[kind]), "video") is None


def test_what_decodes_is_never_asked_what_it_resembles():
    # A GIF whose comment is a page, and a text that begins as one.
    data = picture("GIF")[:-1] + b"!\xfe\x10<!DOCTYPE html> \0;"
    assert decode_image(io.BytesIO(data)).size == (16, 16)
