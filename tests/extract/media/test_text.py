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


@pytest.mark.parametrize(
    "text", ["\u200b\u200d\ufeff", "\x1b\x07\x7f", "\u3164\u2800", "\u202e \u2060\n"]
)
def test_nothing_that_can_be_seen_is_empty(text):
    with pytest.raises(MediaError, match=r"^empty text$"):
        clean_text(text)


@pytest.mark.parametrize(
    "text",
    [
        "\u202e\u0642\u0637\u0629\u202c",
        "\U0001f468\u200d\U0001f469\u200d\U0001f467",
        "red \x1b[31m \x07",
        "e" + "\u0301" * 100_000,
        "\u200bcat\u200b",
        "Donaudampfschiff" * 10_000,
    ],
    ids=["direction", "joined emoji", "control", "accents", "zero width within", "long word"],
)
def test_odd_characters_beside_visible_ones_stay(text):
    assert clean_text(text) == text
    assert decode_text(io.BytesIO(text.encode())) == text


@pytest.mark.parametrize("text", ["cat \ud83d", "\udd86", "a\udc80b"])
def test_half_a_character_is_refused(text):
    with pytest.raises(MediaError, match=r"^text with half a character \(a lone surrogate\)$"):
        clean_text(text)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32", "utf-32-be"])
def test_other_unicode_encodings_are_named(encoding):
    mark = "" if encoding in ("utf-16", "utf-32") else "\ufeff"
    with pytest.raises(MediaError) as refusal:
        decode_text(io.BytesIO((mark + "le héron").encode(encoding)))
    assert str(refusal.value) == f"{encoding.upper()[:6]} text; save it as UTF-8"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "a PDF document, not a text"),
        (b"PK\3\4\x14\0\xff\xff", "a ZIP archive or an Office document, not a text"),
        (b"\x89PNG\r\n\x1a\n", "a picture, not a text"),
        (b"\xff\xfb\x90\xc4", "not UTF-8 text (byte 0)"),
        (b"<html>caf\xe9</html>", "not UTF-8 text (byte 9)"),
    ],
)
def test_what_is_no_text_is_named(data, reason):
    with pytest.raises(MediaError) as refusal:
        decode_text(io.BytesIO(data))
    assert str(refusal.value) == reason


def test_a_cell_is_bounded_as_a_file_is(monkeypatch):
    monkeypatch.setattr("extract.media.text.MAX_TEXT_BYTES", 10)
    assert clean_text("a" * 10) == "a" * 10
    with pytest.raises(MediaError, match=r"^text too large \(more than 10 characters\)$"):
        clean_text("a" * 11)
