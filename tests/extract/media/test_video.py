"""Videos are synthetic clips, made with PyAV; their frames tell their number in their pixels."""

import io
import sys

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from extract.errors import InputError
from extract.media import frames as frames_module
from extract.media.files import MediaError
from extract.media.video import decode_video

H264 = {"codec": "libx264", "pix_fmt": "yuv420p"}


def decode(path, count=8, max_seconds=600.0, sampling="uniform"):
    with path.open("rb") as handle:
        return decode_video(handle, max_seconds, count, sampling)


def reason_for(path, **options) -> str:
    with pytest.raises(MediaError) as refusal:
        decode(path, **options)
    assert "\n" not in str(refusal.value)
    return str(refusal.value)


def cut(path, share=0.6):
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


KINDS = {
    "raw.m2v": {"codec": "mpeg2video", "pix_fmt": "yuv420p", "rate": 25},
    "h264.mp4": H264 | {"options": {"g": "12"}},
    "one-keyframe.mp4": H264 | {"options": {"g": "1000"}},
    "fragmented.mp4": H264 | {"options": {"g": "10"}, "container": {"movflags": "frag_keyframe"}},
    "png.mov": {"codec": "png", "pix_fmt": "rgb24"},
    "h264.mkv": H264 | {"options": {"g": "12"}},
    "ffv1.mkv": {},
    "vp9.webm": {"codec": "libvpx-vp9", "pix_fmt": "yuv420p", "options": {"g": "12"}},
    "mpeg4.avi": {"codec": "mpeg4", "pix_fmt": "yuv420p"},
    # B-frames, whose times AVI does not tell.
    "h264.avi": H264,
    "h264.ts": H264 | {"options": {"g": "12"}},
    "mpeg2.mpg": {"codec": "mpeg2video", "pix_fmt": "yuv420p", "rate": 25, "options": {"g": "7"}},
    "h264.flv": H264,
    "mpeg4.wmv": {"codec": "mpeg4", "pix_fmt": "yuv420p"},
}


@pytest.mark.parametrize("name", KINDS)
def test_uniform_sampling_takes_the_middle_frames_of_equal_pieces(
    name, tmp_path, make_clip, numbered, number_of
):
    options = {"rate": 10} | KINDS[name]
    path = make_clip(tmp_path / name, [numbered(n) for n in range(100)], **options)
    video = decode(path)
    # 100 frames in 8 pieces of 12.5: their middles are 6.25, 18.75, ...
    wanted = [6, 18, 31, 43, 56, 68, 81, 93]
    assert [number_of(frame) for frame in video.frames] == wanted
    np.testing.assert_allclose(video.times, np.array(wanted) / options["rate"], atol=0.0011)
    assert all(frame.mode == "RGB" and frame.size == (64, 48) for frame in video.frames)


def test_lossless_frames_come_back_exactly(tmp_path, make_clip):
    noise = np.random.default_rng(0).integers(0, 256, (4, 30, 40, 3), dtype=np.uint8)
    video = decode(make_clip(tmp_path / "a.mkv", list(noise)), count=4)
    np.testing.assert_array_equal([np.asarray(frame) for frame in video.frames], noise)


def test_a_video_of_few_frames_gives_each_more_than_once(tmp_path, make_clip, numbered, number_of):
    video = decode(make_clip(tmp_path / "a.mkv", [numbered(n) for n in range(3)]))
    assert [number_of(frame) for frame in video.frames] == [0, 0, 0, 1, 1, 2, 2, 2]
    assert video.frames[0] is video.frames[2]
    one = decode(make_clip(tmp_path / "b.mp4", [numbered(7)], **H264))
    assert [number_of(frame) for frame in one.frames] == [7] * 8


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4"])
def test_frames_of_unequal_duration_are_those_to_be_seen(
    name, tmp_path, make_clip, numbered, number_of
):
    shown = [0, 50, 51, 52, 90]  # tenths of a second
    frames = [numbered(n) for n in range(5)]
    path = make_clip(tmp_path / name, frames, shown=shown, **H264)
    video = decode(path, count=9)
    middles = [(k + 0.5) * 91 / 9 for k in range(9)]
    expected = [max(n for n in range(5) if shown[n] <= at) for at in middles]
    assert expected == [0, 0, 0, 0, 0, 3, 3, 3, 3]
    assert [number_of(frame) for frame in video.frames] == expected
    assert video.times[5] == pytest.approx(5.2)


def test_a_trimmed_video_is_sampled_where_it_is_shown(tmp_path, make_clip, numbered, number_of):
    # Frames before 0 are stored, because others lean on them, and cut off by MP4's edit list.
    path = make_clip(
        tmp_path / "a.mp4",
        [numbered(n) for n in range(100)],
        shown=range(-30, 70),
        **KINDS["h264.mp4"],
    )
    video = decode(path)
    pieces = [int((k + 0.5) * 70 / 8) for k in range(8)]
    assert [number_of(frame) for frame in video.frames] == [30 + n for n in pieces]
    np.testing.assert_allclose(video.times, [n / 10 for n in pieces], atol=1e-3)


def moving_noise(count=120):
    """Pictures with detail and motion, so that frames lean on each other."""
    rng = np.random.default_rng(1)
    wide = rng.integers(0, 256, (72, 96 + count * 2, 3), dtype=np.uint8)
    return [np.ascontiguousarray(wide[:, 2 * n : 2 * n + 96]) for n in range(count)]


@pytest.mark.parametrize("name", ["h264.mp4", "h264.mkv", "vp9.webm"])
def test_seeking_gives_the_same_pixels_as_decoding_everything(
    name, tmp_path, make_clip, monkeypatch
):
    path = make_clip(tmp_path / name, moving_noise(), **KINDS[name])

    def not_needed(*_):
        raise AssertionError("decoded from the beginning")

    with monkeypatch.context() as patch:
        patch.setattr(frames_module, "_in_order", not_needed)
        sought = decode(path, count=20)
    with monkeypatch.context() as patch:
        # As where a container cannot be sought in.
        patch.setattr(frames_module._Cursor, "frame", lambda *_: None)
        in_order = decode(path, count=20)
    assert sought.times == in_order.times
    for one, other in zip(sought.frames, in_order.frames, strict=True):
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))


def test_of_a_long_video_only_the_surroundings_of_the_wanted_frames_are_decoded(
    tmp_path, make_clip, numbered, monkeypatch
):
    import av

    path = make_clip(
        tmp_path / "a.mp4", [numbered(n % 256) for n in range(2000)], **H264, options={"g": "10"}
    )
    handed_out = []

    class Watched:
        def __init__(self, frames):
            self.frames = frames

        def __iter__(self):
            return self

        def __next__(self):
            handed_out.append(1)
            return next(self.frames)

    opened = av.open

    class Container:
        def __init__(self, real):
            self.real = real

        def __getattr__(self, name):
            return getattr(self.real, name)

        def __enter__(self):
            self.real.__enter__()
            return self

        def __exit__(self, *error):
            return self.real.__exit__(*error)

        def decode(self, stream):
            return Watched(self.real.decode(stream))

    monkeypatch.setattr(av, "open", lambda *a, **k: Container(opened(*a, **k)))
    assert len(decode(path).frames) == 8
    assert 8 <= len(handed_out) <= 8 * 12


def quarters():
    """Red, green, blue and white: top left, top right, bottom left, bottom right."""
    picture = np.zeros((48, 64, 3), np.uint8)
    picture[:24, :32], picture[:24, 32:] = (255, 0, 0), (0, 255, 0)
    picture[24:, :32], picture[24:, 32:] = (0, 0, 255), (255, 255, 255)
    return picture


def corners(picture: Image.Image) -> str:
    names = {(1, 0, 0): "r", (0, 1, 0): "g", (0, 0, 1): "b", (1, 1, 1): "w"}
    w, h = picture.size
    at = [(4, 4), (w - 5, 4), (4, h - 5), (w - 5, h - 5)]
    return "".join(names[tuple(int(v > 128) for v in picture.getpixel(p))] for p in at)


@pytest.mark.parametrize(
    ("turn", "seen"),
    [
        ({"degrees": 0}, "rgbw"),
        ({"degrees": 90}, "gwrb"),
        ({"degrees": -90}, "brwg"),
        ({"degrees": 180}, "wbgr"),
        ({"degrees": 0, "hflip": True}, "grwb"),
        ({"degrees": 0, "vflip": True}, "bwrg"),
    ],
)
@pytest.mark.parametrize("name", ["a.mov", "a.mkv"])
def test_a_turned_video_is_seen_upright(name, turn, seen, tmp_path, make_clip):
    path = make_clip(
        tmp_path / name, [quarters()] * 2, **H264, setup=lambda v: v.set_display_rotation(**turn)
    )
    [frame] = decode(path, count=1).frames
    assert corners(frame) == seen
    assert frame.size == ((48, 64) if abs(turn["degrees"]) == 90 else (64, 48))


@pytest.mark.parametrize(("ratio", "size"), [((2, 1), (128, 48)), ((1, 2), (64, 96))])
def test_pixels_become_square(ratio, size, tmp_path, make_clip):
    from fractions import Fraction

    def setup(stream):
        stream.codec_context.sample_aspect_ratio = Fraction(*ratio)

    path = make_clip(tmp_path / "a.mp4", [quarters()], **H264, setup=setup)
    [frame] = decode(path, count=1).frames
    assert (frame.size, corners(frame)) == (size, "rgbw")


@pytest.mark.parametrize(
    ("codec", "pix_fmt"),
    [
        ("libx264", "yuv444p"),
        ("ffv1", "yuv422p10le"),
        ("ffv1", "gbrp12le"),
        ("ffv1", "rgb48le"),
        ("mjpeg", "yuvj420p"),
    ],
)
def test_every_pixel_format_becomes_rgb(codec, pix_fmt, tmp_path, make_clip):
    path = make_clip(tmp_path / "a.mkv", [quarters()], codec=codec, pix_fmt=pix_fmt)
    [frame] = decode(path, count=1).frames
    difference = np.asarray(frame).astype(int) - quarters()
    assert np.abs(difference)[8:16, 8:24].max() <= 3


def test_transparency_is_laid_on_white(tmp_path, make_clip):
    import av

    def frame():
        picture = np.zeros((48, 64, 4), np.uint8)
        picture[:, :32] = (255, 0, 0, 255)
        return av.VideoFrame.from_ndarray(picture, format="rgba")

    path = make_clip(tmp_path / "a.mov", [frame], codec="png", pix_fmt="rgba")
    [picture] = decode(path, count=1).frames
    assert picture.getpixel((5, 5)) == (255, 0, 0)
    assert picture.getpixel((60, 5)) == (255, 255, 255)


def yuv_frame(height, y, u, v, **tags):
    import av

    frame = av.VideoFrame(64, height, "yuv420p10le")
    for plane, value in zip(frame.planes, (y, u, v), strict=True):
        plane.update(np.full(plane.buffer_size // 2, value, np.uint16).tobytes())
    for tag, value in tags.items():
        setattr(frame, tag, value)
    return frame


@pytest.mark.parametrize(("height", "kr", "kb"), [(48, 0.299, 0.114), (720, 0.2126, 0.0722)])
def test_colours_that_no_header_names_are_those_of_players(height, kr, kb, tmp_path, make_clip):
    y, u, v = 500, 420, 600
    frame = yuv_frame(height, y, u, v)
    path = make_clip(tmp_path / "a.mkv", [lambda: frame], pix_fmt="yuv420p10le")
    luma, cb, cr = (y - 64) / 876, (u - 512) / 896, (v - 512) / 896
    red, blue = luma + 2 * (1 - kr) * cr, luma + 2 * (1 - kb) * cb
    green = (luma - kr * red - kb * blue) / (1 - kr - kb)
    [picture] = decode(path, count=1).frames
    expected = np.clip(255 * np.array([red, green, blue]), 0, 255)
    np.testing.assert_allclose(picture.getpixel((30, 20)), expected, atol=1.5)


def test_hdr_is_brought_to_the_range_of_pictures(tmp_path, make_clip):
    def code(nits):  # SMPTE ST 2084, as 10 bits of limited range
        y = (nits / 10_000) ** 0.1593017578125
        return round(64 + 876 * ((0.8359375 + 18.8515625 * y) / (1 + 18.6875 * y)) ** 78.84375)

    tags = {"color_trc": 16, "color_primaries": 9, "colorspace": 9}

    def setup(stream):
        for tag, value in tags.items():
            setattr(stream.codec_context, tag, value)

    def seen(nits):
        frame = yuv_frame(48, code(nits), 512, 512, **tags)
        path = make_clip(tmp_path / "a.mkv", [lambda: frame], pix_fmt="yuv420p10le", setup=setup)
        [picture] = decode(path, count=1).frames
        return picture.getpixel((30, 20))[1]

    # 203 nits are the white of a page (ITU-R BT.2408); untouched the code would give 148.
    assert seen(203) > 240
    assert seen(1) < 40
    assert 170 < seen(100) < 210


def test_a_video_that_is_too_long_is_refused(tmp_path, make_clip, numbered):
    for name in ("a.mkv", "a.mp4", "a.avi"):
        path = make_clip(tmp_path / name, [numbered(n) for n in range(30)], **H264)
        assert len(decode(path, max_seconds=3.01).frames) == 8
        assert reason_for(path, max_seconds=2.8) == "video too long (more than 2.8 seconds)"


def test_a_video_that_is_too_large_is_refused_before_decoding(tmp_path, make_clip):
    huge = np.zeros((4400, 7680, 3), np.uint8)
    path = make_clip(tmp_path / "a.mov", [huge], codec="png", pix_fmt="rgb24")
    assert reason_for(path) == "damaged video, or too large (over 33177600 pixels)"
    line = np.zeros((2, 300, 3), np.uint8)
    path = make_clip(tmp_path / "b.mov", [line], codec="png", pix_fmt="rgb24")
    assert reason_for(path) == "video too narrow (longer side over 100 times the shorter)"


def test_more_frames_a_second_than_any_camera_takes_are_refused(tmp_path, make_clip):
    tiny = np.zeros((2, 2, 3), np.uint8)
    path = make_clip(tmp_path / "a.mov", [tiny] * 1100, codec="png", pix_fmt="rgb24", rate=100_000)
    assert reason_for(path, max_seconds=0.05) == "video with more than 1000 frames a second"


def test_many_large_frames_are_scaled_down_together(tmp_path, make_clip, monkeypatch):
    monkeypatch.setattr(frames_module, "MAX_PIXELS", 8 * 600)
    path = make_clip(tmp_path / "a.mkv", [quarters()] * 20)
    video = decode(path)
    assert {frame.size for frame in video.frames} == {(28, 21)}
    assert corners(video.frames[0]) == "rgbw"
    # Of fewer each may be larger.
    assert decode(path, count=1).frames[0].size == (64, 48)


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("h264.mkv", KINDS["h264.mkv"], "video cut short ("),
        ("vp9.webm", KINDS["vp9.webm"], "video cut short ("),
        ("faststart.mp4", H264 | {"container": {"movflags": "faststart"}}, "video cut short ("),
        ("fragmented.mp4", KINDS["fragmented.mp4"], "video cut short ("),
        ("mpeg4.avi", KINDS["mpeg4.avi"], "video cut short ("),
        ("h264.flv", H264, "video cut short ("),
        ("mpeg2.mpg", KINDS["mpeg2.mpg"], "video cut short ("),
        ("h264.mp4", H264, "damaged video, or cut short ("),
    ],
)
def test_a_video_cut_short_is_refused(name, options, says, tmp_path, make_clip):
    path = make_clip(tmp_path / name, moving_noise(100), **options)
    assert len(decode(path).frames) == 8
    assert reason_for(cut(path)).startswith(says)


def test_a_video_shorter_than_its_sound_is_whole(tmp_path, make_clip, numbered, number_of):
    sound = np.full(16000 * 5, 8000, np.int16)
    path = make_clip(tmp_path / "a.mkv", [numbered(n) for n in range(20)], sound=sound)
    assert [number_of(frame) for frame in decode(path, count=4).frames] == [2, 7, 12, 17]


def test_a_cover_picture_is_no_video(tmp_path, make_clip):
    def setup(stream):
        from av.stream import Disposition

        stream.disposition = Disposition.attached_pic

    path = make_clip(
        tmp_path / "a.mp4",
        [quarters()],
        codec="png",
        pix_fmt="rgb24",
        setup=setup,
        sound=np.full(16000, 8000, np.int16),
        sound_codec="aac",
    )
    assert reason_for(path) == "no video track"


def test_what_is_no_video_is_refused(tmp_path, make_clip):
    sound = make_clip(tmp_path / "a.mp4", sound=np.full(16000, 9, np.int16), sound_codec="aac")
    assert reason_for(sound) == "no video track"
    gif = tmp_path / "a.gif"
    pictures = [Image.new("RGB", (8, 8), (40 * n, 0, 0)) for n in range(4)]
    pictures[0].save(gif, save_all=True, append_images=pictures[1:])
    soundfile.write(tmp_path / "a.flac", np.full(8000, 0.5), 8000)
    (tmp_path / "a.html").write_text("<html><video src='a.mp4'></html>")
    (tmp_path / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(5000))
    for name, reason in {
        "a.gif": "a picture, not a video",
        "a.flac": "a sound, not a video",
        "a.html": "an HTML page, not a video",
        "noise.mp4": "not a readable video",
    }.items():
        assert reason_for(tmp_path / name) == reason
    (tmp_path / "head.mp4").write_bytes(b"\0\0\0\x18ftypisom" + bytes(40))
    assert reason_for(tmp_path / "head.mp4").startswith("damaged video, or cut short (")


@pytest.mark.parametrize(
    "playlist",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n{}\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile {}\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n",
    ],
)
def test_a_playlist_opens_no_other_file(playlist, tmp_path, make_clip, numbered):
    other = make_clip(tmp_path / "other.mp4", [numbered(1)] * 5, **H264)
    (tmp_path / "a.mp4").write_text(playlist.format(other))
    assert reason_for(tmp_path / "a.mp4") == "not a readable video"


def test_a_device_that_fails_is_not_the_videos_fault(tmp_path, make_clip):
    path = make_clip(tmp_path / "a.mkv", moving_noise(60))

    class Failing(io.FileIO):
        left = 3

        def readinto(self, buffer):
            return self._or_fail(super().readinto(buffer))

        def read(self, size=-1):
            return self._or_fail(super().read(size))

        def _or_fail(self, found):
            Failing.left -= 1
            if Failing.left < 0:
                raise OSError(5, "Input/output error")
            return found

    with pytest.raises(OSError, match="Input/output error") as error, Failing(path) as handle:
        decode_video(handle, 600, 8)
    assert type(error.value) is OSError


@pytest.fixture(scope="module")
def clips(tmp_path_factory, make_clip):
    folder = tmp_path_factory.mktemp("clips")
    names = ["h264.mp4", "h264.mkv", "vp9.webm", "mpeg4.avi", "h264.ts", "mpeg2.mpg"]
    return [
        make_clip(folder / name, moving_noise(25), **KINDS[name]).read_bytes() for name in names
    ]


@settings(max_examples=60)
@given(data=st.data())
def test_damage_is_a_reason_or_does_no_harm(clips, data):
    content = bytearray(data.draw(st.sampled_from(clips)))
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(1, len(content)))
    sampling = data.draw(st.sampled_from(["uniform", "scene"]))
    try:
        video = decode_video(io.BytesIO(bytes(content[:end])), 600, 3, sampling)
    except MediaError:
        return
    assert 1 <= len(video.frames) <= 3
    assert list(video.times) == sorted(video.times)


def test_without_pyav_the_extra_is_named(tmp_path, make_clip, numbered, monkeypatch):
    path = make_clip(tmp_path / "a.mp4", [numbered(1)], **H264)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(InputError, match=r"needs the extra 'video'.*mmssl-toolkit\[video\]"):
        decode(path)
