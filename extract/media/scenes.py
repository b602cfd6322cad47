"""Where a video is cut: ffmpeg's scene score, frame by frame."""

from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from extract.media.frames import open_video
from extract.media.timeline import Timeline

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

CUT_SCORE = 0.1
"""ffmpeg's scene score, 0 to 1, above which a frame begins a new scene: the default (10 of 100) of
its filter ``scdet``, which computes the same score."""

_SIZE = (160, 90)


def scene_frames(handle: BinaryIO, timeline: Timeline, most: int) -> list[int] | None:
    """The middle frame of each scene, in the order of time.

    All frames are decoded. The score compares each with the one before, at 160 x 90 pixels, all
    three colours: the mean absolute difference, or how much that differs from the last one if that
    is less, so that steady motion is no cut.

    Args:
        handle: the file.
        timeline: its times.
        most: where there are more scenes, so many of the longest are taken.

    Returns:
        Times at which the frames appear; None where there is no cut.

    Raises:
        MediaError: the video cannot be decoded.
    """
    starts = [int(timeline.shown[0])]
    with open_video(handle) as (container, stream):
        for number, at in _cuts(container.decode(stream)):
            starts.append(number if timeline.counted or at is None else at)
    starts = sorted({start for start in starts if timeline.shown[0] <= start < timeline.end})
    if len(starts) <= 1:  # none at all in a video that takes no time
        return None
    ends = [*starts[1:], timeline.end]
    lengths = np.array(ends) - np.array(starts)
    longest = np.sort(np.argsort(-lengths, kind="stable")[:most])
    return [timeline.frame_at((starts[k] + ends[k]) // 2) for k in longest]


def _cuts(frames: Iterator["VideoFrame"]) -> Iterator[tuple[int, int | None]]:
    """Number and time of every frame that begins a scene, but for the first."""
    import av
    from av.filter import Graph

    graph = Graph()
    graph.threads = 1
    source = graph.add_buffer(
        width=_SIZE[0],
        height=_SIZE[1],
        format=av.VideoFormat("rgb24"),
        time_base=Fraction(1, 1),
    )
    select = graph.add("select", f"gt(scene,{CUT_SCORE})")
    sink = graph.add("buffersink")
    graph.link_nodes(source, select, sink).configure()
    for number, frame in enumerate(frames):
        at = frame.pts
        small = frame.reformat(*_SIZE, format="rgb24", interpolation="BILINEAR", threads=1)
        small.pts, small.time_base = number, Fraction(1, 1)
        graph.vpush(small)
        try:
            graph.vpull()
        except av.BlockingIOError:
            continue
        if number:
            yield number, at
