import numpy as np
import pytest
import torch
from PIL import Image

from extract.encoders.base import Encoder, Video
from extract.encoders.check import check_encoder, samples
from extract.encoders.describe import list_lines, show_lines
from extract.encoders.registry import load_encoder
from extract.encoders.video import MeanOfFrames, as_encoder_of
from extract.errors import InputError

CPU = {"device": torch.device("cpu"), "dtype": torch.float32}
TINY = "timm:test_vit?weights=random&seed=3"


class Watched(Encoder):
    """The mean of each channel; remembers how many pictures it was given."""

    modalities = ("image",)
    dim = 3
    space = "watched"

    def __init__(self):
        self.preprocessed, self.batches = 0, []
        self.weights = torch.nn.Linear(1, 1)

    def preprocess(self, raw):
        self.preprocessed += 1
        return torch.from_numpy(np.asarray(raw, dtype=np.float32).mean(axis=(0, 1)))

    def encode(self, batch):
        self.batches.append(len(batch))
        return torch.stack(list(batch)).to(torch.float16)

    def fingerprint(self):
        return {"kind": "watched"}

    def length(self, prepared):
        return int(prepared.max())


class OfVideos(Watched):
    """Takes pictures, and videos as they are."""

    modalities = ("image", "video")

    def preprocess(self, raw):
        assert isinstance(raw, Video)
        return torch.tensor([len(raw.frames), *raw.times[:2]])


def plain(*colour) -> Image.Image:
    return Image.new("RGB", (4, 4), colour)


def video(*frames) -> Video:
    return Video(tuple(frames), tuple(float(n) for n in range(len(frames))))


def test_a_video_is_the_mean_of_its_frames_however_they_are_batched():
    red, dark, grey = plain(240, 0, 0), plain(0, 0, 60), plain(90, 90, 90)
    videos = [video(red, red, dark, grey), video(grey), video(dark, red)]
    expected = [[142.5, 22.5, 37.5], [90, 90, 90], [120, 0, 30]]
    for at_once, batches in ((100, [6]), (4, [4, 2]), (1, [1] * 6)):
        image = Watched()
        encoder = MeanOfFrames(image, at_once)
        vectors = encoder.encode([encoder.preprocess(one) for one in videos])
        assert vectors.dtype == torch.float32
        np.testing.assert_allclose(vectors, expected)
        assert image.batches == batches
        # The frame that stands there twice was prepared and encoded once.
        assert image.preprocessed == 6


def test_the_mean_is_that_of_a_networks_vectors():
    rng = np.random.default_rng(0)
    frames = [Image.fromarray(rng.integers(0, 256, (50, 60, 3), np.uint8)) for _ in range(5)]
    pictures = load_encoder(TINY, "image", **CPU)
    encoder = load_encoder(TINY, "video", **CPU, frames_at_once=2)
    with torch.inference_mode():
        each = pictures.encode([pictures.preprocess(frame) for frame in frames]).double().numpy()
        [found] = encoder.encode([encoder.preprocess(video(*frames))]).numpy()
    np.testing.assert_allclose(found, each.mean(axis=0), rtol=1e-4, atol=1e-5)
    assert (encoder.dim, encoder.space) == (pictures.dim, pictures.space)
    assert encoder.modalities == ("video",)
    assert encoder.fingerprint() == pictures.fingerprint() | {"video": "mean over frames"}


def test_the_wrapped_encoder_keeps_the_contract():
    results = check_encoder(load_encoder(TINY, "video", **CPU))
    assert [result.line for result in results if not result.passed] == []
    assert "video: batch equals single" in [result.name for result in results]
    assert len(samples("video")) == 4


def test_it_moves_the_encoder_that_it_holds():
    image = Watched()
    MeanOfFrames(image, 8).to(torch.device("meta"), torch.float16)
    assert (image.weights.weight.device.type, image.weights.weight.dtype) == ("meta", torch.float16)


def test_the_length_is_that_of_the_longest_frame():
    encoder = MeanOfFrames(Watched(), 8)
    assert encoder.length(encoder.preprocess(video(plain(1, 1, 1), plain(9, 0, 200)))) == 200


def test_an_encoder_of_videos_gets_the_video_itself():
    encoder = OfVideos()
    assert as_encoder_of(encoder, "video", 8) is encoder
    assert as_encoder_of(encoder, "image", 8) is encoder
    found = encoder.preprocess(video(plain(0, 0, 0), plain(1, 1, 1)))
    assert found.tolist() == [2, 0, 1]
    assert as_encoder_of(Watched(), "image", 8).modalities == ("image",)


def test_an_encoder_that_takes_no_pictures_is_refused():
    for uri in ("packaged:minilm", "melstats:64"):
        with pytest.raises(InputError, match=r"not video, nor pictures, which a video's frames"):
            load_encoder(uri, "video", **CPU)


def test_encoders_of_pictures_are_listed_and_shown_for_videos():
    lines = "\n".join(list_lines("video", "*"))
    assert "packaged:efficientnet-lite0" in lines
    assert "hf:openai/clip-vit-base-patch32" in lines
    assert "melstats" not in lines
    shown = show_lines(TINY, "video", "cpu")
    assert "shown as an encoder of: video" in shown
    assert '"video": "mean over frames"' in "\n".join(shown)
