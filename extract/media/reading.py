"""From a row of the item table to a decoded medium, or the reason why not."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from extract.config import FRAMES, ExtractionConfig, FrameSampling
from extract.encoders.base import Modality, Raw
from extract.locations import Location, is_url
from extract.media.audio import MAX_AUDIO_BYTES, decode_audio
from extract.media.containers import MAX_VIDEO_BYTES
from extract.media.files import (
    MediaError,
    UnavailableError,
    open_inside,
    refuse_larger,
    unreadable,
)
from extract.media.image import MAX_IMAGE_BYTES, decode_image
from extract.media.kinds import is_container
from extract.media.remote import open_remote, resolve_remote
from extract.media.sound_track import decode_sound_track
from extract.media.text import MAX_TEXT_BYTES, clean_text, decode_text
from extract.media.video import decode_video

# Before the digest: of a sparse file of terabytes that would take hours.
_MAX_BYTES: dict[Modality, int] = {
    "image": MAX_IMAGE_BYTES,
    "audio": MAX_AUDIO_BYTES,
    "text": MAX_TEXT_BYTES,
    "video": MAX_VIDEO_BYTES,
}


class RepeatedError(MediaError):
    """Nothing was decoded, because the same content is at hand already."""


@dataclass(frozen=True)
class Reader:
    """Where media may be read and how they are decoded; used by several threads at once."""

    modality: Modality
    base: Location
    """What relative paths belong to."""
    roots: Sequence[Location]
    """Folders that may be read: real paths, or remote places."""
    max_seconds: float
    """Longest sound or video."""
    frames: int = FRAMES
    """How many frames of a video are taken."""
    frame_sampling: FrameSampling = "uniform"

    @classmethod
    def of(cls, config: ExtractionConfig, base: Location) -> "Reader":
        """The reader of an extraction whose relative paths belong to ``base``."""
        roots = (base, *config.media_roots)
        return cls(
            modality=config.modality,
            base=base,
            roots=[root.resolve() if isinstance(root, Path) else root for root in roots],
            max_seconds=config.max_seconds,
            frames=config.frames or FRAMES,
            frame_sampling=config.frame_sampling or "uniform",
        )

    def text_digest(self, text: str) -> str:
        """SHA-256 of a table's text."""
        # Half a character cannot be encoded, but is digested as it stands.
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

    def file_digest(self, path: str) -> str | None:
        """SHA-256 of a file's bytes; None if it is refused unread for what it is (empty, a folder).

        Raises:
            UnavailableError: it is missing, forbidden, outside the media roots, changed meanwhile,
                or the device fails: nothing is known of its content.
            InputError: a remote store cannot be reached.
        """
        try:
            with self.open(path) as handle:
                return _sha256(handle)
        except UnavailableError:
            raise
        except MediaError:
            return None
        except OSError as error:
            raise UnavailableError(unreadable(error.strerror)) from None

    def read_text(
        self, text: str, repeats: Callable[[str], bool] | None = None
    ) -> tuple[str, Raw | MediaError]:
        """SHA-256 of a table's text and the text itself, or why it cannot be used.

        Args:
            text: as the table gives it.
            repeats: asked with the digest whether this content is at hand already; then
                ``RepeatedError`` stands in place of the text.
        """
        digest = self.text_digest(text)
        if repeats is not None and repeats(digest):
            return digest, RepeatedError()
        try:
            return digest, clean_text(text)
        except MediaError as error:
            return digest, error

    def read_file(
        self, path: str, repeats: Callable[[str], bool] | None = None
    ) -> tuple[str | None, Raw | MediaError]:
        """SHA-256 of a file's bytes (None if they were not read) and what it holds, or why not.

        Args:
            path: as the table gives it.
            repeats: as of ``read_text``; then nothing is decoded.
        """
        digest = None
        try:
            with self.open(path) as handle:
                digest = _sha256(handle)
                if repeats is not None and repeats(digest):
                    return digest, RepeatedError()
                handle.seek(0)
                return digest, self._decode(handle)
        except MediaError as error:
            return digest, error
        except OSError as error:
            return digest, MediaError(unreadable(error.strerror))

    @contextmanager
    def open(self, path: str) -> Iterator[BinaryIO]:
        """Open what a row names, if it is a file inside a media root and not too large.

        Raises:
            MediaError: it is neither; on leaving, it changed meanwhile.
            InputError: a remote store cannot be reached.
        """
        most = _MAX_BYTES[self.modality]
        if is_url(path) or not isinstance(self.base, Path):
            place, root = resolve_remote(path, self.base, self.roots)
            with open_remote(place, root, most) as handle:
                yield handle
            return
        local = [root for root in self.roots if isinstance(root, Path)]
        with open_inside(path, self.base, local) as handle:
            refuse_larger(handle, most)
            yield handle

    def _decode(self, handle: BinaryIO) -> Raw:
        if self.modality == "image":
            return decode_image(handle)
        if self.modality == "audio":
            if is_container(handle):
                return decode_sound_track(handle, self.max_seconds)
            return decode_audio(handle, self.max_seconds)
        if self.modality == "video":
            return decode_video(handle, self.max_seconds, self.frames, self.frame_sampling)
        return decode_text(handle)


def _sha256(handle: Any) -> str:
    return hashlib.file_digest(handle, "sha256").hexdigest()
