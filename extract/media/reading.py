"""From a row of the item table to a decoded medium, or the reason why not."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from extract.config import ExtractionConfig
from extract.encoders.base import Modality, Raw
from extract.locations import Location
from extract.media.audio import decode_audio
from extract.media.files import MediaError, open_inside
from extract.media.image import decode_image
from extract.media.text import clean_text, decode_text


@dataclass(frozen=True)
class Reader:
    """Where media may be read and how they are decoded; used by several threads at once."""

    modality: Modality
    base: Location
    """What relative paths belong to."""
    roots: Sequence[Location]
    """Folders that may be read: real paths, or remote places."""
    max_seconds: float
    """Longest sound."""

    @classmethod
    def of(cls, config: ExtractionConfig, base: Location) -> "Reader":
        """The reader of an extraction whose relative paths belong to ``base``."""
        roots = (base, *config.media_roots)
        return cls(
            modality=config.modality,
            base=base,
            roots=[root.resolve() if isinstance(root, Path) else root for root in roots],
            max_seconds=config.max_seconds,
        )

    def text_digest(self, text: str) -> str:
        """SHA-256 of a table's text."""
        return hashlib.sha256(text.encode("utf-8")).hexdigest()

    def file_digest(self, path: str) -> str | None:
        """SHA-256 of a file's bytes; None if it cannot be read."""
        try:
            with open_inside(path, self.base, self.roots) as handle:
                return _sha256(handle)
        except (MediaError, OSError):
            return None

    def read_text(self, text: str) -> tuple[str, Raw | MediaError]:
        """SHA-256 of a table's text and the text itself, or why it cannot be used."""
        digest = self.text_digest(text)
        try:
            return digest, clean_text(text)
        except MediaError as error:
            return digest, error

    def read_file(self, path: str) -> tuple[str | None, Raw | MediaError]:
        """SHA-256 of a file's bytes (None if it was not opened) and what it holds, or why not."""
        digest = None
        try:
            with open_inside(path, self.base, self.roots) as handle:
                digest = _sha256(handle)
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


def _sha256(handle: Any) -> str:
    return hashlib.file_digest(handle, "sha256").hexdigest()
