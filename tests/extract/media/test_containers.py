import io

import numpy as np
import pytest
import soundfile
from PIL import Image

from extract.media.kinds import is_container

FRAMES = [np.full((16, 16, 3), 60 * n, np.uint8) for n in range(4)]
MPEG4 = {"codec": "mpeg4", "pix_fmt": "yuv420p"}
MPEG2 = {"codec": "mpeg2video", "pix_fmt": "yuv420p", "rate": 25}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.mp4", MPEG4),
        ("a.mov", MPEG4),
        ("a.3gp", MPEG4),
        ("a.mkv", {}),
        ("a.webm", {"codec": "libvpx-vp9", "pix_fmt": "yuv420p"}),
        ("a.avi", MPEG4),
        ("a.wmv", MPEG4),
        ("a.flv", {"codec": "flv1", "pix_fmt": "yuv420p"}),
        ("a.mpg", MPEG2),
        ("a.ts", MPEG2),
        ("a.m2ts", MPEG2),
    ],
)
def test_containers_are_known_by_their_bytes(name, options, tmp_path, make_clip):
    options = options | ({"codec": "flv"} if name == "a.flv" else {})
    with make_clip(tmp_path / name, FRAMES, **options).open("rb") as handle:
        handle.seek(7)
        assert is_container(handle)
        assert handle.tell() == 0


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "TIFF", "AVIF", "JPEG2000"])
def test_pictures_are_no_containers(kind):
    data = io.BytesIO()
    Image.new("RGB", (20, 20), (9, 99, 9)).save(data, kind)
    assert not is_container(data)


@pytest.mark.parametrize(("kind", "sub"), [("WAV", None), ("FLAC", None), ("MP3", None)])
def test_sounds_are_no_containers(kind, sub):
    data = io.BytesIO()
    soundfile.write(data, np.full(8000, 0.5), 8000, format=kind, subtype=sub)
    assert not is_container(data)


@pytest.mark.parametrize("sub", ["VORBIS", "OPUS"])
def test_ogg_with_sound_alone_is_no_container(sub):
    data = io.BytesIO()
    soundfile.write(data, np.full(8000, 0.5), 8000, format="OGG", subtype=sub)
    assert not is_container(data)


@pytest.mark.parametrize("data", [b"", b"ftyp", b"plain text, for once", b"G" * 3])
def test_other_bytes_are_no_container(data):
    assert not is_container(io.BytesIO(data))
