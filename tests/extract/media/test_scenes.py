"""Scenes of synthetic clips whose cuts are known."""

from fractions import Fraction

import numpy as np
import pytest

from extract.media.files import MediaError
from extract.media.scenes import scene_frames
from extract.media.timeline import Timeline
from extract.media.video import decode_video

# Red, a green and a blue that are equally bright: on a grey screen there would be no cut.
COLOURS = [(200, 30, 30), (20, 118, 60), (60, 90, 200), (240, 240, 120), (30, 30, 30)]
LENGTHS = [12, 30, 6, 20, 9]


def scene(colour, length, seed):
    """A square that moves over a noisy ground of one colour."""
    rng = np.random.default_rng(seed)
    for n in range(length):
        picture = np.clip(np.array(colour) + rng.integers(-8, 9, (72, 96, 3)), 0, 255)
        picture[20:40, 2 * n : 2 * n + 20] = 255 - np.array(colour)
        yield picture.astype(np.uint8)


def clip(lengths=LENGTHS):
    return [
        frame
        for place, length in enumerate(lengths)
        for frame in scene(COLOURS[place], length, seed=place)
    ]


def decode(path, count, sampling="scene"):
    with path.open("rb") as handle:
        return decode_video(handle, 600, count, sampling)


def nearest_colour(picture) -> int:
    ground = np.median(np.asarray(picture).reshape(-1, 3), axis=0)
    return int(np.abs(np.array(COLOURS) - ground).sum(axis=1).argmin())


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.mkv", {}),
        ("a.mp4", {"codec": "libx264", "pix_fmt": "yuv420p"}),
        ("a.avi", {"codec": "mpeg4", "pix_fmt": "yuv420p"}),
    ],
)
def test_one_frame_of_each_scene_from_its_middle(name, options, tmp_path, make_clip):
    video = decode(make_clip(tmp_path / name, clip(), **options), count=8)
    assert [nearest_colour(frame) for frame in video.frames] == [0, 1, 2, 3, 4]
    starts = np.cumsum([0, *LENGTHS[:-1]])
    middles = (starts + np.array(LENGTHS) // 2) / 10
    np.testing.assert_allclose(video.times, middles, atol=0.051)


def test_of_many_scenes_the_longest_are_taken_in_their_order(tmp_path, make_clip):
    video = decode(make_clip(tmp_path / "a.mkv", clip()), count=3)
    assert [nearest_colour(frame) for frame in video.frames] == [0, 1, 3]


def test_without_a_cut_sampling_is_uniform(tmp_path, make_clip):
    path = make_clip(tmp_path / "a.mkv", clip([35]))
    assert decode(path, 5).times == decode(path, 5, "uniform").times
    assert len(decode(path, 5).frames) == 5


def test_a_frame_before_which_nothing_can_be_decoded_is_a_reason(tmp_path, make_clip):
    path = make_clip(tmp_path / "a.mkv", clip([10, 10]), codec="libx264", pix_fmt="yuv420p")
    data = path.read_bytes()
    middle = len(data) // 2
    path.write_bytes(data[:600] + bytes(middle - 600) + data[middle:])
    with pytest.raises(MediaError):
        decode(path, 4)


def test_a_single_frame_that_takes_no_time_is_a_video(tmp_path, make_clip):
    still = Timeline(np.zeros(1, np.int64), np.zeros(1, np.int64), 0, Fraction(1), False, True)
    path = make_clip(tmp_path / "a.mkv", clip([1]))
    with path.open("rb") as handle:
        assert scene_frames(handle, still, 4) is None
