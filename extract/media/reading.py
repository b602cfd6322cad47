"""From a row of the item table to a decoded medium, or the reason why not."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from extract.encoders.base import Modality, Raw
from extract.media.audio import MAX_AUDIO_BYTES, decode_audio
from extract.media.files import MediaError, open_inside, refuse_larger
from extract.media.image import MAX_IMAGE_BYTES, decode_image
from extract.media.text import MAX_TEXT_BYTES, clean_text, decode_text

# Before the digest: of a sparse file of terabytes that would take hours.
_MAX_BYTES: dict[Modality, int] = {
    "image": MAX_IMAGE_BYTES,
    "audio": MAX_AUDIO_BYTES,
    "text": MAX_TEXT_BYTES,
}


@dataclass(frozen=True)
class Reader:
    """Where media may be read and how they are decoded; used by several threads at once."""

    modality: Modality
    base: Path
    """What relative paths belong to."""
    roots: Sequence[Path]
    """Real paths of the folders that may be read."""
    max_seconds: float
    """Longest sound."""

    def read_text(self, text: str) -> tuple[str, Raw | MediaError]:
        """SHA-256 of a table's text and the text itself, or why it cannot be used."""
        # Half a character cannot be encoded, but is digested as it stands.
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        try:
            return digest, clean_text(text)
        except MediaError as error:
            return digest, error

    def read_file(self, path: str) -> tuple[str | None, Raw | MediaError]:
        """SHA-256 of a file's bytes (None if they were not read) and what it holds, or why not."""
        digest = None
        try:
            with open_inside(path, self.base, self.roots) as handle:
                refuse_larger(handle, _MAX_BYTES[self.modality])
                digest = hashlib.file_digest(handle, "sha256").hexdigest()
                handle.seek(0)
                return digest, self._decode(handle)
        except MediaError as error:
            return digest, error
        except OSError as error:
            return digest, MediaError(f"unreadable file ({error.strerror})")

    def _decode(self, handle: BinaryIO) -> Raw:
        if self.modality == "image":
            return decode_image(handle)
        if self.modality == "audio":
            return decode_audio(handle, self.max_seconds)
        return decode_text(handle)
