import io
import struct

import pytest

from extract.media.ogg import ogg_links


def page(flags: int, *segments: int) -> bytes:
    header = b"OggS\0" + bytes([flags]) + bytes(20) + bytes([len(segments)]) + bytes(segments)
    return header + b"x" * sum(segments)


FIRST, MIDDLE, LAST = page(2, 30), page(0, 255, 255, 10), page(4, 255, 0)


def links(data: bytes):
    return ogg_links(io.BytesIO(data))


def test_one_sound_is_one_link():
    data = FIRST + MIDDLE + LAST
    assert links(data) == ([(0, len(data))], True)
    assert links(data + b"junk") == ([(0, len(data) + 4)], True)


def test_a_chain_has_its_links_and_streams_side_by_side_are_one():
    data = FIRST + MIDDLE + LAST
    assert links(data * 2) == ([(0, len(data)), (len(data), 2 * len(data))], True)
    beside = FIRST + FIRST + MIDDLE + LAST
    assert links(beside) == ([(0, len(beside))], True)


@pytest.mark.parametrize("missing", [1, 254, 256, 265, 279, 281])
def test_a_page_that_is_cut_anywhere_is_noticed(missing):
    # LAST is 27 + 2 + 255 bytes: its body, its table and its header are cut in turn.
    data = FIRST + MIDDLE + LAST
    assert len(LAST) == 284
    assert links(data[:-missing])[1] is False


def test_what_is_no_ogg_has_no_links():
    assert links(b"") == ([], True)
    assert links(b"RIFF" + struct.pack("<I", 9)) == ([], True)
