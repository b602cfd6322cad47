"""Frames of a video at given times, each decoded once, as pictures."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from PIL import Image

from extract.media.containers import MAX_FRAME_PIXELS, open_container
from extract.media.files import MediaError
from extract.media.hdr import HDR_CURVES, from_hdr
from extract.media.image import MAX_ASPECT, MAX_PIXELS
from extract.media.pixels import as_rgb
from extract.media.timeline import Timeline

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

_UNSPECIFIED_MATRIX = 2
_BT709 = 1
_HD_HEIGHT = 720

_WIDEST_PIXEL = 4
"""A header that says pixels are wider or higher than this, relative to the other side, lies."""

# What a display matrix (a b; c d) does to a picture: of points (x, y) -> (a x + c y, b x + d y).
_TURNS = {
    (-1, 0, 0, -1): Image.Transpose.ROTATE_180,
    (0, 1, -1, 0): Image.Transpose.ROTATE_270,
    (0, -1, 1, 0): Image.Transpose.ROTATE_90,
    (-1, 0, 0, 1): Image.Transpose.FLIP_LEFT_RIGHT,
    (1, 0, 0, -1): Image.Transpose.FLIP_TOP_BOTTOM,
    (0, 1, 1, 0): Image.Transpose.TRANSPOSE,
    (0, -1, -1, 0): Image.Transpose.TRANSVERSE,
}


@contextmanager
def open_video(handle: BinaryIO) -> Iterator[tuple["InputContainer", "VideoStream"]]:
    """Open a container and its main video, to be decoded by one thread.

    One at a time: another one of the same ``handle`` would move the position in the file.

    Raises:
        MediaError: as ``open_container``; no video, no decoder for it, or frames that are too
            large. The cover picture of a sound is no video.
        InputError: PyAV is not installed.
    """
    with open_container(handle, "video") as container:
        from av.stream import Disposition

        videos = [
            stream
            for stream in container.streams.video
            if not stream.disposition & Disposition.attached_pic
        ]
        if not videos:
            raise MediaError("no video track")
        best = container.streams.best("video")
        stream = next((s for s in videos if best is not None and s.index == best.index), videos[0])
        if stream.codec_context is None:
            raise MediaError("no decoder for the video track")
        if not stream.width * stream.height:
            # ffmpeg, which was told how large a frame may be, reads no further.
            raise MediaError(f"damaged video, or too large (over {MAX_FRAME_PIXELS} pixels)")
        check_shape(stream.width, stream.height, MAX_FRAME_PIXELS)
        # There is a thread for each processor already.
        stream.codec_context.thread_count = 1
        stream.codec_context.options = {"max_pixels": str(MAX_FRAME_PIXELS)}
        yield container, stream


def pictures_at(
    handle: BinaryIO, timeline: Timeline, wanted: Sequence[int]
) -> dict[int, Image.Image]:
    """Decode the frames that appear at given times.

    Decoding begins at the key frame before a wanted one. Where a container cannot be sought in with
    certainty, or leads elsewhere, it is decoded from its beginning.

    Args:
        handle: the file.
        timeline: its times.
        wanted: times of frames, ascending, none twice.

    Returns:
        RGB pictures by time, upright; scaled down by one factor where all of them together would
        hold more than ``image.MAX_PIXELS``.

    Raises:
        MediaError: a frame is damaged, absent, or too large.
    """
    pixels = MAX_PIXELS // len(wanted)
    found: dict[int, Image.Image] = {}
    if timeline.seekable:
        with open_video(handle) as (container, stream):
            cursor = _Cursor(container, stream, timeline)
            for at in wanted:
                frame = cursor.frame(at)
                if frame is None:
                    break
                found[at] = to_picture(frame, stream, pixels)
    left = [at for at in wanted if at not in found]
    if left:
        with open_video(handle) as (container, stream):
            frames = _in_order(container.decode(stream), timeline, left)
            for at, frame in zip(left, frames, strict=True):
                if frame.is_corrupt:
                    raise MediaError("damaged video (a frame cannot be decoded whole)")
                found[at] = to_picture(frame, stream, pixels)
    return found


class _Cursor:
    """A place in a video that can be moved forward by seeking."""

    def __init__(
        self, container: "InputContainer", stream: "VideoStream", timeline: Timeline
    ) -> None:
        self._container, self._stream, self._timeline = container, stream, timeline
        self._decoded: Iterator[VideoFrame] | None = None
        self._frame: VideoFrame | None = None
        self._ahead: VideoFrame | None = None

    def frame(self, at: int) -> "VideoFrame | None":
        """The frame that appears at a time, later than those before; None if it cannot be had."""
        import av

        try:
            found = self._find(at)
        except av.FFmpegError:
            return None
        return None if found is None or found.is_corrupt else found

    def _find(self, at: int) -> "VideoFrame | None":
        keys = self._timeline.keys
        place = int(np.searchsorted(keys, at, side="right")) - 1
        if place < 0:
            return None
        key = int(keys[place])
        if self._decoded is None or self._frame is None or key > (self._frame.pts or 0):
            self._container.seek(key, stream=self._stream)
            self._decoded = self._container.decode(self._stream)
            self._frame = self._ahead = None
        while True:
            following = self._ahead or next(self._decoded, None)
            self._ahead = None
            if following is None:
                return self._frame
            if following.pts is None:
                return None
            if following.pts > at:
                # A packet that gave no frame of its own: the one before is still to be seen.
                self._ahead = following
                return self._frame
            self._frame = following
            if following.pts == at:
                return following


def _in_order(
    frames: Iterator["VideoFrame"], timeline: Timeline, wanted: Sequence[int]
) -> Iterator["VideoFrame"]:
    """The wanted frames out of all, which come in order."""
    left = list(wanted)
    before: VideoFrame | None = None
    at = 0
    for number, frame in enumerate(frames):
        at = number if timeline.counted or frame.pts is None else frame.pts
        while left and at >= left[0]:
            yield frame if at == left[0] or before is None else before
            left.pop(0)
        if not left:
            return
        before = frame
    # The last packets may give no frame, but not those of a second.
    if before is None or (left[-1] - at) * timeline.time_base > 1:
        raise MediaError("damaged video (frames cannot be decoded)")
    for _ in left:
        yield before


def to_picture(frame: "VideoFrame", stream: "VideoStream", most_pixels: int) -> Image.Image:
    """A frame as a person would see it: RGB, square pixels, upright.

    YUV of unnamed colours is taken for BT.709 from 720 lines on, for BT.601 below, as players do.
    PQ and HLG (HDR) are brought to BT.709. Transparency is laid on white.

    Args:
        frame: as it was decoded, of any pixel format.
        stream: says how wide a pixel is.
        most_pixels: a larger picture is scaled down to about as many.

    Raises:
        MediaError: too large, or too narrow.
    """
    from av.video.reformatter import Interpolation

    width, height = square_pixels(frame, stream)
    check_shape(width, height, MAX_FRAME_PIXELS * _WIDEST_PIXEL)
    shrink = min(1.0, (most_pixels / (width * height)) ** 0.5)
    size = max(1, int(width * shrink)), max(1, int(height * shrink))
    smaller = size[0] * size[1] < frame.width * frame.height
    transparent = any(component.is_alpha for component in frame.format.components)
    hd = frame.colorspace == _UNSPECIFIED_MATRIX and frame.height >= _HD_HEIGHT
    kind = "rgba" if transparent else "rgb24"
    flags = Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.BITEXACT
    rgb = frame.reformat(
        *size,
        format=kind,
        src_colorspace=_BT709 if hd else None,
        interpolation=(Interpolation.AREA if smaller else Interpolation.BICUBIC) | flags,
        threads=1,
    )
    picture = as_rgb(Image.fromarray(rgb.to_ndarray()))
    if frame.color_trc in HDR_CURVES:
        picture = picture.filter(from_hdr(frame.color_trc))
    turn = _TURNS.get(_quarter_turn(frame))
    return picture if turn is None else picture.transpose(turn)


def check_shape(width: int, height: int, most_pixels: int) -> None:
    """Refuse frames that are too large to be decoded, or too narrow to be scaled.

    Raises:
        MediaError: more pixels than ``most_pixels``, or a side over ``MAX_ASPECT`` times the other.
    """
    if width * height > most_pixels:
        raise MediaError(f"video too large ({width * height} pixels, at most {most_pixels})")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise MediaError(f"video too narrow (longer side over {MAX_ASPECT} times the shorter)")


def square_pixels(frame: "VideoFrame", stream: "VideoStream") -> tuple[int, int]:
    """Width and height of a frame once its pixels are square: one side stays, the other grows."""
    ratio = stream.sample_aspect_ratio
    if not ratio or not 1 / _WIDEST_PIXEL <= ratio <= _WIDEST_PIXEL:
        return frame.width, frame.height
    if ratio > 1:
        return round(frame.width * ratio), frame.height
    return frame.width, round(frame.height / ratio)


def _quarter_turn(frame: "VideoFrame") -> tuple[int, int, int, int]:
    """The signs of a frame's display matrix, as if it turned by whole quarters."""
    data: Any = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return (1, 0, 0, 1)
    a, b, _, c, d, *_ = np.frombuffer(data, np.int32, 9).astype(np.int64).tolist()
    if abs(a) + abs(d) >= abs(b) + abs(c):
        b = c = 0
    else:
        a = d = 0
    return tuple(int(np.sign(value)) for value in (a, b, c, d))  # type: ignore[return-value]
