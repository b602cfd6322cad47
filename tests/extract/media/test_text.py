import io

import pytest

from extract.media.files import MediaError
from extract.media.text import MAX_TEXT_BYTES, clean_text, decode_text


@pytest.mark.parametrize("text", ["Le chat", "  padded \n", "قطة", "🦆🦆", "a" * 1_000_000])
def test_texts_stay_as_they_are(text):
    assert clean_text(text) == text
    assert decode_text(io.BytesIO(text.encode())) == text


def test_a_byte_order_mark_is_no_part_of_the_text():
    assert decode_text(io.BytesIO("\ufeffcat".encode())) == "cat"


def test_nul_characters_are_removed():
    assert clean_text("a\0b") == "ab"


@pytest.mark.parametrize("text", ["", "   ", "\t\n\u3000\u00a0", "\0"])
def test_nothing_but_space_is_empty(text):
    with pytest.raises(MediaError, match=r"^empty text$"):
        clean_text(text)


def test_invalid_utf8_is_refused_and_says_where():
    with pytest.raises(MediaError, match=r"^not UTF-8 text \(byte 3\)$"):
        decode_text(io.BytesIO(b"caf\xe9 noir"))


def test_a_huge_file_is_refused():
    with pytest.raises(MediaError, match="too large"):
        decode_text(io.BytesIO(b"a" * (MAX_TEXT_BYTES + 1)))
