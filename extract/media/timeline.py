"""When a video's frames are shown: read off its packets, without decoding one."""

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from extract.media.containers import Extent
from extract.media.files import MediaError

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

_MOST_FRAMES_A_SECOND = 1000

# Every frame bears its time. In MPEG streams some do not, and after seeking they are guessed wrong.
_INDEXED = ("mov", "matroska", "flv")


@dataclass(frozen=True)
class Timeline:
    """The frames of a video in the order in which they are shown.

    Times are whole numbers of ``time_base`` seconds. Where a container does not say when a frame is
    shown (``counted``), a frame's time is its number, and ``time_base`` one over the frame rate.
    """

    shown: NDArray[np.int64]
    """(frames,) when each frame appears, ascending."""
    keys: NDArray[np.int64]
    """(key frames,) when those appear from which decoding may begin, ascending."""
    end: int
    """When the last frame goes."""
    time_base: Fraction
    counted: bool
    seekable: bool
    """Whether a frame's time is the same after seeking."""

    def seconds(self, at: int) -> float:
        """A time as seconds from the first frame."""
        return float((int(at) - int(self.shown[0])) * self.time_base)

    def frame_at(self, at: int) -> int:
        """The time at which the frame appeared that is to be seen at a time."""
        after = int(np.searchsorted(self.shown, at, side="right"))
        return int(self.shown[max(0, after - 1)])

    def uniform(self, count: int) -> list[int]:
        """The frames to be seen in the middle of each of ``count`` equal pieces of the video.

        So a frame that is shown for long stands there more than once, and the mean over the frames
        does not depend on the frame rate at which the same video is stored.
        """
        start, length = int(self.shown[0]), self.end - int(self.shown[0])
        return [self.frame_at(start + (2 * k + 1) * length // (2 * count)) for k in range(count)]


def read_timeline(
    container: "InputContainer", stream: "VideoStream", max_seconds: float
) -> Timeline:
    """Go through all packets of a container that was just opened.

    Nothing is trusted that a header says, but that there should be more than there is.

    Raises:
        MediaError: no frames, longer than ``max_seconds``, or cut short.
    """
    extent = Extent(container, stream)
    shown: list[int] = []
    keys: list[int] = []
    duration_of_last = 0
    # Of AVI, times of frames that are not stored in the order of display are guesswork.
    counted = container.format.name == "avi"
    base = stream.time_base or Fraction(1, 1)
    first, last = 0, 0
    for packet in container.demux():
        extent.note(packet)
        if packet.stream_index != stream.index or packet.size == 0:
            continue
        at = packet.pts
        if packet.is_keyframe and at is not None:
            keys.append(at)
        if packet.is_discard:  # decoded for the sake of others, but cut off by an edit list
            continue
        if at is None:
            counted = True
        else:
            first = min(first, at) if shown else at
            if not shown or at >= last:
                # Of earlier ones MP4 says when the next is decoded, not when it is shown.
                last, duration_of_last = at, packet.duration or 0
        shown.append(at or 0)
        if not counted and (last - first) * base > max_seconds:
            raise too_long(max_seconds)
        if len(shown) > (max_seconds + 1) * _MOST_FRAMES_A_SECOND:
            raise MediaError(f"video with more than {_MOST_FRAMES_A_SECOND} frames a second")
    if not shown:
        raise MediaError("video without frames")
    if counted:
        rate = stream.average_rate or stream.guessed_rate or Fraction(25)
        numbers, start = np.arange(len(shown)), np.zeros(1, np.int64)
        timeline = Timeline(numbers, start, len(shown), 1 / Fraction(rate), True, False)
    else:
        times = np.unique(np.array(shown, np.int64))
        if not duration_of_last and len(times) > 1:
            duration_of_last = int(np.median(np.diff(times)))
        end = last + duration_of_last
        keyed = np.unique(np.array(keys, np.int64))
        seekable = container.format.name.startswith(_INDEXED)
        timeline = Timeline(times, keyed, end, base, False, seekable)
    if timeline.seconds(timeline.end) > max_seconds:
        raise too_long(max_seconds)
    gaps = np.diff(timeline.shown)
    gap = float(gaps.max() * timeline.time_base) if len(gaps) else 0.0
    extent.check_whole("video", gap)
    return timeline


def too_long(max_seconds: float) -> MediaError:
    """The reason of a video that is longer than allowed."""
    return MediaError(f"video too long (more than {max_seconds:g} seconds)")
