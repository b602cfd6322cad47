"""Videos: a few frames of one file, as pictures with their times."""

from typing import BinaryIO

from extract.config import FrameSampling
from extract.encoders.base import Video
from extract.media.frames import open_video, pictures_at
from extract.media.image import one_at_a_time_if_large
from extract.media.scenes import scene_frames
from extract.media.timeline import read_timeline


def decode_video(
    handle: BinaryIO, max_seconds: float, frames: int, sampling: FrameSampling = "uniform"
) -> Video:
    """Decode some frames of a video.

    ``uniform`` takes those to be seen in the middle of ``frames`` equal pieces; of a video that has
    fewer, some stand there more than once. ``scene`` takes the middle one of each scene, at most
    ``frames`` of them, those of the longest scenes; a video without a cut is sampled uniformly.

    Args:
        handle: a regular file: MP4, MOV, Matroska, WebM, AVI, MPEG, FLV, WMV or Ogg.
        max_seconds: a longer video is refused.
        frames: how many are taken.
        sampling: where.

    Raises:
        MediaError: no video (a sound with a cover picture is none), damaged, cut short, too long,
            or too large.
        InputError: PyAV is not installed.
    """
    with open_video(handle) as (container, stream):
        pixels = stream.width * stream.height
        timeline = read_timeline(container, stream, max_seconds)
    times = scene_frames(handle, timeline, frames) if sampling == "scene" else None
    if times is None:
        times = timeline.uniform(frames)
    distinct = sorted(set(times))
    with one_at_a_time_if_large(pixels * len(distinct)):
        pictures = pictures_at(handle, timeline, distinct)
    return Video(
        frames=tuple(pictures[at] for at in times),
        times=tuple(timeline.seconds(at) for at in times),
    )
