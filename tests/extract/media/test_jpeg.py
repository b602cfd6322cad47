import io

import numpy as np
import pytest
from PIL import Image

from extract.media import jpeg
from extract.media.jpeg import count_scans


def photo(**options) -> bytes:
    data = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(data, "JPEG", **options)
    return data.getvalue()


@pytest.mark.parametrize("block", [2, 3, 7, 2**20])
def test_scans_are_counted_wherever_a_block_of_reading_ends(block, monkeypatch):
    monkeypatch.setattr(jpeg, "_BLOCK", block)
    monkeypatch.setattr(jpeg, "_SHORT_BLOCK", 2)
    # libjpeg's own script for a progressive picture of three components has ten scans.
    assert count_scans(io.BytesIO(photo(progressive=True)), 100) == 10
    assert count_scans(io.BytesIO(photo(progressive=True)), 4) == 5
    assert count_scans(io.BytesIO(photo()), 100) == 1


def test_a_thumbnail_and_what_stands_behind_the_end_are_not_counted():
    exif = b"Exif\0\0" + photo(progressive=True)
    data = photo(progressive=True, exif=exif) + photo(progressive=True)
    assert count_scans(io.BytesIO(data), 100) == 10


def test_the_only_scan_of_a_usual_photo_is_not_read():
    data = photo(restart_marker_blocks=1)

    class Counting(io.BytesIO):
        count = 0

        def read(self, size=-1):
            got = super().read(size)
            self.count += len(got)
            return got

    handle = Counting(data + bytes(50_000_000))
    assert count_scans(handle, 100) == 1
    assert handle.count < 3000


@pytest.mark.parametrize("data", [b"", b"\xff", b"\xff\xd8", b"GIF89a", photo()[:100], bytes(99)])
def test_what_is_cut_or_no_jpeg_has_no_scans(data):
    assert count_scans(io.BytesIO(data), 100) == 0
