"""Small previews of decoded media, as parts of a page that needs no other file.

A sound becomes a short MP3 within the page and not a link to its file: the page can be sent or
moved and still plays, tells nothing of where the media lie, and nothing in it was written by anyone
but us - what a table points at went through the decoders, and is encoded anew. MP3, because every
browser plays it. The price is size, hence the limits.
"""

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import soundfile
from PIL import Image

from extract.encoders.base import Modality, Raw, Video, Waveform
from extract.media.files import MediaError

THUMBNAIL_PIXELS = 240
TEXT_CHARACTERS = 400
MONTAGE_FRAMES = 4
CLIP_SECONDS = 6.0
CLIP_RATE = 16_000
_JPEG_QUALITY = 80


@dataclass
class Preview:
    """What is shown of one item; a medium that the item lacks is None."""

    picture: str | None = None
    """A JPEG as a data URI: the picture, or some frames of the video."""
    text: str | None = None
    """At most ``TEXT_CHARACTERS`` characters, plain."""
    sound: str | None = None
    """An MP3 as a data URI."""
    sound_note: str = ""
    """How long the sound is, and whether all of it is here."""
    problems: list[str] = field(default_factory=list)
    """Why a medium cannot be shown, a line each."""

    def add(self, modality: Modality, raw: Raw | MediaError) -> None:
        """Take one decoded medium, or the reason why there is none."""
        if isinstance(raw, MediaError):
            self.problems.append(f"{modality}: {raw}")
            return
        show = next((show for kind, show in _SHOWN.items() if isinstance(raw, kind)), None)
        if show is None:
            self.problems.append(f"{modality}: cannot be shown on a page")
        else:
            show(self, raw)


def thumbnail(picture: Image.Image, pixels: int = THUMBNAIL_PIXELS) -> str:
    """A picture, no side longer than so many pixels, as a data URI of a JPEG."""
    small = picture.convert("RGB")
    small.thumbnail((pixels, pixels), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    # Pixels alone: no colour profile, EXIF or comment of the original's goes along.
    small.info.clear()
    small.save(buffer, "JPEG", quality=_JPEG_QUALITY, optimize=True)
    return _data_uri("image/jpeg", buffer)


def montage(video: Video) -> Image.Image:
    """At most ``MONTAGE_FRAMES`` frames of a video in two columns, in the order of reading."""
    distinct = list({id(frame): frame for frame in video.frames}.values())
    count = min(len(distinct), MONTAGE_FRAMES)
    frames = [distinct[(2 * k + 1) * len(distinct) // (2 * count)] for k in range(count)]
    columns, rows = min(count, 2), (count + 1) // 2
    width, height = frames[0].size
    scale = min(1.0, THUMBNAIL_PIXELS / (max(columns * width, rows * height)))
    cell = max(1, int(width * scale)), max(1, int(height * scale))
    sheet = Image.new("RGB", (columns * cell[0], rows * cell[1]), "white")
    for place, frame in enumerate(frames):
        small = frame.resize(cell, Image.Resampling.LANCZOS)
        sheet.paste(small, (place % 2 * cell[0], place // 2 * cell[1]))
    return sheet


def clip(sound: Waveform) -> str:
    """The first ``CLIP_SECONDS`` of a sound at ``CLIP_RATE``, mono, as a data URI of an MP3."""
    from torch import from_numpy
    from torchaudio.functional import resample

    samples = from_numpy(sound.samples[: int(CLIP_SECONDS * sound.sample_rate) + 1])
    resampled = resample(samples, sound.sample_rate, CLIP_RATE).numpy()
    buffer = io.BytesIO()
    soundfile.write(
        buffer,
        np.clip(resampled, -1.0, 1.0),
        CLIP_RATE,
        format="MP3",
        bitrate_mode="CONSTANT",
        compression_level=0.8,
    )
    return _data_uri("audio/mpeg", buffer)


def shorten(text: str) -> str:
    """A text on one line, cut at a word where it is too long."""
    line = " ".join(text.split())
    if len(line) <= TEXT_CHARACTERS:
        return line
    cut = line[:TEXT_CHARACTERS]
    head = cut.rpartition(" ")[0]
    return f"{head if len(head) > TEXT_CHARACTERS // 2 else cut}…"


def _data_uri(kind: str, buffer: io.BytesIO) -> str:
    return f"data:{kind};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def _show_picture(preview: Preview, raw: Image.Image) -> None:
    # Of a store of videos their frames are there already.
    preview.picture = preview.picture or thumbnail(raw)


def _show_video(preview: Preview, raw: Video) -> None:
    preview.picture = preview.picture or thumbnail(montage(raw))


def _show_text(preview: Preview, raw: str) -> None:
    preview.text = shorten(raw)


def _show_sound(preview: Preview, raw: Waveform) -> None:
    seconds = len(raw.samples) / raw.sample_rate
    preview.sound = clip(raw)
    preview.sound_note = f"{seconds:.1f} s"
    if seconds > CLIP_SECONDS:
        preview.sound_note = f"the first {CLIP_SECONDS:g} of {seconds:.0f} s"


_SHOWN: dict[type, Callable[[Preview, Any], None]] = {
    Image.Image: _show_picture,
    str: _show_text,
    Waveform: _show_sound,
    Video: _show_video,
}
