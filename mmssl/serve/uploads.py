"""What people send, decoded as an extraction decodes it."""

import warnings
from typing import BinaryIO, Literal

from extract.encoders.base import Raw
from extract.media.audio import decode_audio
from extract.media.files import MediaError
from extract.media.image import decode_image
from extract.media.kinds import is_container
from extract.media.sound_track import decode_sound_track
from extract.media.text import clean_text, decode_text

Sent = Literal["image", "audio", "text"]
"""Modalities that can be sent."""


def decode_upload(kind: Sent, handle: BinaryIO, max_seconds: float) -> Raw:
    """A picture, sound or text file.

    Args:
        kind: what it is to be.
        handle: seekable; in memory, or a temporary file without a name.
        max_seconds: a longer sound is refused.

    Raises:
        MediaError: it is no such thing, damaged, too large or too long.
    """
    try:
        handle.seek(0)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"PIL\.")
            if kind == "image":
                return decode_image(handle)
            if kind == "text":
                return decode_text(handle)
            if is_container(handle):
                return decode_sound_track(handle, max_seconds)
            return decode_audio(handle, max_seconds)
    except MediaError as error:
        raise MediaError(f"{kind}: {error}") from None


def decode_words(words: str) -> str:
    """Words that were typed.

    Raises:
        MediaError: nothing but space.
    """
    try:
        return clean_text(words)
    except MediaError as error:
        raise MediaError(f"text: {error}") from None
