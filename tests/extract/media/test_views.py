import io

import pytest

from extract.media.views import Section, Stretched


def test_a_section_is_a_file_of_its_own():
    section = Section(io.BytesIO(b"0123456789"), 3, 7)
    assert section.read() == b"3456"
    assert section.seek(-2, io.SEEK_END) == 2
    assert section.read(100) == b"56"
    assert section.read(1) == b""
    assert section.seek(-99, io.SEEK_CUR) == 0  # never before the beginning
    assert section.read(1) == b"3"
    assert Section(io.BytesIO(b"0123456789"), 8).read() == b"89"


def test_a_stretched_file_holds_its_bytes_and_claims_more():
    stretched = Stretched(io.BytesIO(b"0123456789"))
    assert stretched.read(20) == b"0123456789"
    assert stretched.seek(0, io.SEEK_END) == 64 * 10 + 128
    stretched.seek(-128, io.SEEK_END)
    assert stretched.read(3) == bytes(3)  # no ID3 tag stands there


def test_what_reading_raises_waits_for_the_check():
    class Failing(io.BytesIO):
        def read(self, *_):
            raise ConnectionError("gone")

    section = Section(Failing(b"0123456789"))
    section.check()
    assert section.read(4) == b""
    with pytest.raises(ConnectionError, match="gone"):
        section.check()
