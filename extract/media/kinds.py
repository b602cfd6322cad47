"""What a file that could not be decoded is instead, told from its first bytes."""

import re
from typing import BinaryIO, Literal

Wanted = Literal["picture", "sound", "text", "video"]

_HEAD = 4096

# A mark at the file's beginning, and what it stands for.
_OTHER = (
    (b"version https://git-lfs", "a Git LFS pointer, not the {wanted} itself (run: git lfs pull)"),
    (b"%PDF-", "a PDF document, not a {wanted}"),
    (b"%!PS", "PostScript (EPS), not a {wanted}"),
    (b"\xc5\xd0\xd3\xc6", "PostScript (EPS), not a {wanted}"),
    (b"\x1f\x8b", "gzip-compressed data, not a {wanted} (unpack it)"),
    (b"PK\3\4", "a ZIP archive or an Office document, not a {wanted}"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive, not a {wanted}"),
    (b"Rar!\x1a\x07", "a RAR archive, not a {wanted}"),
    (b"SQLite format 3\0", "an SQLite database, not a {wanted}"),
    (b"PAR1", "a Parquet table, not a {wanted}"),
    (b"MThd", "MIDI notes, not a {wanted}"),
)

_READ_PICTURES = (
    (b"\x89PNG", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"GIF8", "GIF"),
    (b"BM", "BMP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
)
_OTHER_PICTURES = (
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"),
    (b"8BPS", "Photoshop (PSD)"),
    (b"\0\0\1\0", "icon (ICO)"),
)
_READ_SOUNDS = (
    (b"fLaC", "FLAC"),
    (b"OggS", "Ogg"),
    (b"ID3", "MP3"),
    (b"FORM", "AIFF"),
    (b".snd", "AU"),
)
_OTHER_SOUNDS = ((b"#!AMR", "AMR"), (b"MAC ", "Monkey's Audio"), (b"wvpk", "WavPack"))
_VIDEOS = (
    (b"\x1a\x45\xdf\xa3", "Matroska or WebM"),
    (b"FLV\1", "Flash"),
    (b"\0\0\1\xba", "MPEG"),
    (b"\0\0\1\xb3", "MPEG"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "Windows Media"),
)

_HEIF = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_AVIF = (b"avif", b"avis")
_M4A = "AAC in MP4 (M4A)"
_AUDIO_MP4 = (b"M4A ", b"M4B ", b"M4P ")

# An element's name ends with a space, a bracket, a slash or the line.
_HTML = re.compile(rb"<(!doctype html|html|head|body)[\s>]", re.IGNORECASE)
_SVG = re.compile(rb"<(\w+:)?svg[\s>/]")
_JSON = re.compile(rb'[\[{]\s*("|\{|\[)')


def found_instead(handle: BinaryIO, wanted: Wanted) -> str | None:
    """Why a file that could not be decoded is no ``wanted``, if its first bytes tell.

    Call it after decoding has failed: what decodes is what it decodes to, whatever it resembles.

    Args:
        handle: seekable, at any position.
        wanted: what it was taken for.

    Returns:
        A reason without figures of this very file, so that like failures are counted as one; None
        where the bytes are of no kind known here, or of a kind that was wanted and not understood.
    """
    handle.seek(0)
    head = handle.read(_HEAD)
    if reason := _starting(head, _OTHER):
        return reason.format(wanted=wanted)
    if markup := _markup(head):
        kind = markup.format(wanted=wanted)
        return None if wanted == "text" else kind
    container, kind = _container(head)
    if container == "video":
        return _video(kind, wanted)
    if container == "picture":
        return _picture(kind, wanted)
    return _sound(kind, wanted) if container == "sound" else None


def is_container(handle: BinaryIO) -> bool:
    """Whether a file's first bytes are those of a container with tracks, as videos are.

    Args:
        handle: seekable; left at its beginning.
    """
    handle.seek(0)
    container, kind = _container(handle.read(_HEAD))
    handle.seek(0)
    return container == "video" or kind == _M4A


def utf16_or_utf32(head: bytes) -> str | None:
    """The name of the encoding that a byte order mark, other than UTF-8's, announces."""
    if head.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")):
        return "UTF-32"
    return "UTF-16" if head.startswith((b"\xff\xfe", b"\xfe\xff")) else None


def _starting(head: bytes, marks: tuple[tuple[bytes, str], ...]) -> str | None:
    return next((name for mark, name in marks if head.startswith(mark)), None)


def _markup(head: bytes) -> str | None:
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith(b"<"):
        # SVG before HTML: a drawing may hold HTML, and a page may hold a drawing.
        svg, html = _SVG.search(text), _HTML.search(text)
        if svg and not (html and html.start() < svg.start()):
            return "vector graphics (SVG) are not read"
        if html:
            return "an HTML page, not a {wanted}"
        return "an XML document, not a {wanted}" if text.startswith(b"<?xml") else None
    return "a JSON document, not a {wanted}" if _JSON.match(text) else None


def _container(head: bytes) -> tuple[str | None, str]:
    """``video``, ``picture`` or ``sound``, and the kind; (None, "") for what is not known."""
    if head[4:8] == b"ftyp":
        return _iso_container(head)
    if head[4:8] in (b"moov", b"mdat", b"wide"):  # QuickTime from before there were brands
        return "video", "MP4 or QuickTime"
    if head[:4] in (b"RIFF", b"RF64", b"RIFX"):
        riff = {b"AVI ": ("video", "AVI"), b"WEBP": ("picture", "WebP"), b"WAVE": ("sound", "WAV")}
        return riff.get(head[8:12], (None, ""))
    if head[:4] == b"OggS" and b"\x80theora" in head[:100]:
        return "video", "Ogg Theora"
    # 188 bytes a packet; on discs and in cameras four more before each.
    if b"\x47" * 3 in (head[0:377:188], head[4:389:192]):
        return "video", "MPEG transport stream"
    for container, marks in (
        ("video", _VIDEOS),
        ("picture", _READ_PICTURES + _OTHER_PICTURES),
        ("sound", _READ_SOUNDS + _OTHER_SOUNDS),
    ):
        if kind := _starting(head, marks):
            return container, kind
    # Eleven set bits begin an MPEG frame; layer 0 means AAC.
    if len(head) > 6 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0:
        return "sound", "AAC"
    return None, ""


def _iso_container(head: bytes) -> tuple[str, str]:
    """The kinds whose file begins with a box of brands: MP4, QuickTime, HEIC, AVIF."""
    brand = head[8:12]
    size = int.from_bytes(head[:4], "big")
    compatible = {head[at : at + 4] for at in range(16, min(size, len(head)), 4)}
    if brand in _AVIF or (brand in _HEIF and compatible.intersection(_AVIF)):
        return "picture", "AVIF"
    if brand in _HEIF:
        return "picture", "HEIC"
    return ("sound", _M4A) if brand in _AUDIO_MP4 else ("video", "MP4 or QuickTime")


def _video(kind: str, wanted: Wanted) -> str | None:
    if wanted == "video":
        return None
    hint = "; use --modality video" if wanted == "picture" else ""
    return f"a video ({kind}), not a {wanted}{hint}"


def _picture(kind: str, wanted: Wanted) -> str:
    if wanted != "picture":
        return f"a picture, not a {wanted}"
    if any(kind == other for _, other in _OTHER_PICTURES) or kind == "HEIC":
        return f"{kind} pictures are not read; convert them to JPEG or PNG"
    return f"damaged picture, or a rare kind of {kind}"


def _sound(kind: str, wanted: Wanted) -> str | None:
    if wanted != "sound":
        return f"a sound, not a {wanted}"
    if kind.startswith("AAC") or any(kind == other for _, other in _OTHER_SOUNDS):
        return f"{kind} sounds are not read; convert them to WAV, FLAC, Ogg or MP3"
    return None
