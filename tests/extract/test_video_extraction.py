"""Folders and tables of synthetic videos, through ``extract.run``."""

import sys

import numpy as np
import pytest
import torch

import extract
from extract.encoders.base import Encoder
from extract.errors import InputError


class FramesAsTheyAre(Encoder):
    """Takes the video itself: number of frames, and the time of the first and the last."""

    modalities = ("video",)
    dim = 3
    space = "frames"

    def preprocess(self, raw):
        assert isinstance(raw, extract.Video)
        return torch.tensor([len(raw.frames), raw.times[0], raw.times[-1]])

    def encode(self, batch):
        return torch.stack(list(batch))

    def fingerprint(self):
        return {}


@pytest.fixture
def folder(tmp_path, make_clip):
    """Five clips that get brighter, with tones that get louder; one that is none."""
    videos = tmp_path / "videos"
    videos.mkdir()
    for item in range(5):
        frames = [np.full((24, 32, 3), 20 * item + n, np.uint8) for n in range(40)]
        tone = 3000 * (item + 1) * np.sin(np.arange(16000) / 8)
        make_clip(videos / f"clip {item}.mkv", frames, sound=tone.astype(np.int16))
    (videos / "broken.mp4").write_bytes(b"\0\0\0\x18ftypisom" + bytes(40))
    make_clip(
        videos / "mute.mov", [np.full((24, 32, 3), 7, np.uint8)] * 9, codec="png", pix_fmt="rgb24"
    )
    return videos


@pytest.fixture
def run(folder, tmp_path, mean_colour):
    def call(using=None, **options):
        values = {"items": folder, "modality": "video", "out": tmp_path / "store"} | options
        config = extract.ExtractionConfig.parse(values)
        return extract.run(config, encoder=using or mean_colour())

    return call


def test_a_folder_of_videos_becomes_the_means_of_their_frames(run, tmp_path):
    summary = run()
    assert (summary.items, summary.ok, summary.failed) == (7, 6, 1)
    [reason] = summary.reasons
    assert reason.startswith("damaged video, or cut short (")
    store = extract.FeatureStore.open(tmp_path / "store")
    found = dict(zip(store.ids(), store.load().vectors, strict=True))
    # 40 frames in 8 pieces: 2, 7, 12, ..., 37, whose mean is 19.5.
    for item in range(5):
        np.testing.assert_allclose(found[f"clip {item}"], 20 * item + 19.5)
    np.testing.assert_allclose(found["mute"], 7)
    assert np.isnan(found["broken"]).all()
    assert store.manifest.modality == "video"
    assert store.manifest.space == "mean-colour"
    assert store.manifest.decoding == {
        "max_seconds": 600.0,
        "frames": 8,
        "frame_sampling": "uniform",
    }
    assert "av" in store.manifest.libraries


def test_their_sound_tracks_become_sounds(run, tmp_path, loudness):
    summary = run(loudness(), modality="audio")
    assert summary.ok == 5
    assert summary.reasons["no sound track"] == 1
    store = extract.FeatureStore.open(tmp_path / "store")
    found = dict(zip(store.ids(), store.load().vectors, strict=True))
    for item in range(5):
        rms = 3000 * (item + 1) / 32768 / np.sqrt(2)
        np.testing.assert_allclose(found[f"clip {item}"], [rms, 1.0], rtol=1e-2)


def test_frames_and_sampling_act_and_are_part_of_the_store(run, tmp_path, make_clip, folder):
    for path in folder.iterdir():
        path.unlink()
    dark, bright = np.zeros((24, 32, 3), np.uint8), np.full((24, 32, 3), 200, np.uint8)
    make_clip(folder / "a.mkv", [dark] * 30 + [bright] * 10)

    def vector():
        [found] = extract.FeatureStore.open(tmp_path / "store").load().vectors
        return found.tolist()

    run()
    assert vector() == [50] * 3
    with pytest.raises(InputError, match=r"decoding\.frame_sampling 'uniform' there, 'scene' now"):
        run(frame_sampling="scene")
    run(frame_sampling="scene", overwrite=True)
    assert vector() == [100] * 3
    with pytest.raises(InputError, match=r"decoding\.frames 8 there, 1 now"):
        run(frame_sampling="scene", frames=1)
    run(frames=1, overwrite=True)
    assert vector() == [0] * 3
    run(FramesAsTheyAre(), frames=4, overwrite=True)
    np.testing.assert_allclose(vector(), [4, 0.5, 3.5])


def test_the_longest_video_is_the_configurations(run):
    summary = run(max_seconds=3)
    assert summary.reasons["video too long (more than 3 seconds)"] == 5


@pytest.mark.parametrize("sampling", ["uniform", "scene"])
def test_the_number_of_threads_changes_no_byte(run, tmp_path, sampling):
    stores = []
    for workers in (1, 4):
        out = tmp_path / f"store-{workers}"
        run(out=out, workers=workers, frame_sampling=sampling, batch_size=3, rows_per_part=4)
        stores.append({path.name: path.read_bytes() for path in out.glob("part-*")})
    assert stores[0] == stores[1]
    assert len(stores[0]) == 6


def test_without_pyav_no_item_is_touched(run, tmp_path, monkeypatch, loudness):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(InputError, match=r"the modality video needs the extra 'video'"):
        run()
    assert not (tmp_path / "store").exists()
    # Sounds alone do not need it, until one is in a video.
    with pytest.raises(InputError, match=r"a sound in a video file needs the extra 'video'"):
        run(loudness(), modality="audio")


def test_an_object_that_takes_no_pictures_is_refused(run, loudness):
    with pytest.raises(InputError, match="takes audio, not video"):
        run(loudness())
