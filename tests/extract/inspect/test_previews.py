import base64
import io

import numpy as np
import soundfile
from PIL import Image

from extract.encoders.base import Video, Waveform
from extract.inspect.previews import (
    CLIP_RATE,
    CLIP_SECONDS,
    TEXT_CHARACTERS,
    THUMBNAIL_PIXELS,
    Preview,
    clip,
    montage,
    shorten,
    thumbnail,
)
from extract.media.files import MediaError


def payload(uri: str, kind: str) -> io.BytesIO:
    head, _, data = uri.partition(",")
    assert head == f"data:{kind};base64"
    return io.BytesIO(base64.b64decode(data, validate=True))


def tone(hertz: float, seconds: float, rate: int) -> Waveform:
    time = np.arange(int(seconds * rate)) / rate
    return Waveform((0.5 * np.sin(2 * np.pi * hertz * time)).astype(np.float32), rate)


def test_a_thumbnail_is_a_small_jpeg_of_the_same_shape_without_the_originals_comments():
    picture = Image.new("RGB", (1200, 600), (250, 10, 10))
    picture.info["comment"] = b"secret place"
    uri = thumbnail(picture)
    with Image.open(payload(uri, "image/jpeg")) as small:
        assert (small.format, small.size) == ("JPEG", (THUMBNAIL_PIXELS, THUMBNAIL_PIXELS // 2))
        np.testing.assert_allclose(small.convert("RGB").getpixel((50, 50)), (250, 10, 10), atol=6)
    assert b"secret" not in payload(uri, "image/jpeg").read()
    assert picture.size == (1200, 600)


def test_a_small_picture_is_not_blown_up():
    with Image.open(payload(thumbnail(Image.new("RGB", (20, 30))), "image/jpeg")) as small:
        assert small.size == (20, 30)


def test_a_clip_is_the_beginning_of_the_sound_at_the_same_pitch():
    samples, rate = soundfile.read(payload(clip(tone(440, 20, 44_100)), "audio/mpeg"))
    assert rate == CLIP_RATE
    # An MP3 is padded to whole frames of 576 samples.
    assert abs(len(samples) - CLIP_SECONDS * CLIP_RATE) <= 2 * 576
    loudest = np.abs(np.fft.rfft(samples)).argmax() * rate / len(samples)
    assert abs(loudest - 440) < 1
    assert abs(np.sqrt((samples**2).mean()) - 0.5 / np.sqrt(2)) < 0.02
    assert len(clip(tone(440, 600, 8_000))) < 50_000


def test_a_clip_of_one_sample():
    assert clip(Waveform(np.array([0.5], dtype=np.float32), 96_000))


def test_texts_are_cut_at_a_word_and_stand_on_one_line():
    assert shorten("  two\n\twords ") == "two words"
    long = shorten("word " * 1000)
    assert long.endswith("word…")
    assert len(long) <= TEXT_CHARACTERS + 1
    assert len(shorten("字" * 1000)) == TEXT_CHARACTERS + 1


def test_a_preview_takes_every_kind_of_medium():
    preview = Preview()
    preview.add("image", Image.new("RGB", (4, 4)))
    preview.add("text", "a word")
    preview.add("audio", tone(300, 1.5, 8_000))
    assert preview.picture
    assert preview.text == "a word"
    assert preview.sound
    assert (preview.sound_note, preview.problems) == ("1.5 s", [])
    preview.add("audio", tone(300, 7.2, 8_000))
    assert preview.sound_note == "the first 6 of 7 s"
    preview.add("image", MediaError("file not found"))
    preview.add("audio", 3)  # a kind of medium that has no preview yet
    assert preview.problems == ["image: file not found", "audio: cannot be shown on a page"]


def shown(uri: str) -> Image.Image:
    return Image.open(payload(uri, "image/jpeg")).convert("RGB")


def test_of_a_video_four_frames_are_shown_in_the_order_of_reading():
    grey = [Image.new("RGB", (640, 360), (30 * n,) * 3) for n in range(8)]
    preview = Preview()
    preview.add("video", Video(tuple(grey), tuple(float(n) for n in range(8))))
    picture = shown(preview.picture)
    assert picture.size == (THUMBNAIL_PIXELS, 134)
    found = [picture.getpixel(at)[0] for at in ((60, 30), (180, 30), (60, 100), (180, 100))]
    # The middles of four equal pieces of eight frames.
    np.testing.assert_allclose(found, [30, 90, 150, 210], atol=4)
    # A picture of the item does not hide them, nor they a picture.
    preview.add("image", Image.new("RGB", (4, 4)))
    assert shown(preview.picture).size == picture.size
    other = Preview()
    other.add("image", Image.new("RGB", (4, 4)))
    other.add("video", Video((grey[0],), (0.0,)))
    assert shown(other.picture).size == (4, 4)


def test_a_frame_that_stands_there_often_is_shown_once():
    frame = Image.new("RGB", (20, 10), (200, 0, 0))
    assert montage(Video((frame,) * 8, (0.0,) * 8)).size == (20, 10)
