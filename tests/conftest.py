"""Hypothesis without deadlines, and a small synthetic dataset: for tests, never for claims."""

import os
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings

from extract.device import resolve_device
from mmssl.data.dataset import Dataset
from mmssl.data.prepare import prepare
from mmssl.data.prepare_config import PrepareConfig

# A busy machine is not a failure: no example is too slow.
settings.register_profile("offline", deadline=None)
settings.load_profile("offline")

N_USERS, N_ITEMS, GROUPS = 40, 24, 4


def write_sources(folder: Path) -> dict[str, object]:
    """Users of four tastes, items of four kinds; an item's features tell its kind."""
    draw = np.random.default_rng(0)
    kind = np.arange(N_ITEMS) % GROUPS
    rows = []
    for user in range(N_USERS):
        weights = np.where(kind == user % GROUPS, 1.0, 0.05)
        liked = draw.choice(N_ITEMS, size=5, replace=False, p=weights / weights.sum())
        rows += [f"u{user},{item}" for item in liked]
    (folder / "interactions.csv").write_text("user,item\n" + "\n".join(rows) + "\n")
    features = {}
    for modality, dim in (("image", 6), ("audio", 5)):
        centres = draw.normal(size=(GROUPS, dim))
        vectors = centres[kind] + 0.3 * draw.normal(size=(N_ITEMS, dim))
        if modality == "audio":
            vectors[3] = np.nan  # an item without this modality
        np.save(folder / f"{modality}.npy", vectors.astype(np.float32))
        features[modality] = folder / f"{modality}.npy"
    return {"interactions": folder / "interactions.csv", "features": features}


@pytest.fixture(scope="session")
def dataset_folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("dataset")
    out = folder / "data"
    prepare(PrepareConfig(out=out, ratios=(0.6, 0.2, 0.2), **write_sources(folder)))
    return out


@pytest.fixture(scope="session")
def dataset(dataset_folder: Path) -> Dataset:
    return Dataset.open(dataset_folder)


@pytest.fixture(scope="session")
def accelerator() -> torch.device:
    """This machine's GPU, or what MMSSL_ACCELERATOR names; without one the test is skipped."""
    device = resolve_device(os.environ.get("MMSSL_ACCELERATOR", "auto"))
    if device.type == "cpu" and "MMSSL_ACCELERATOR" not in os.environ:
        pytest.skip("no GPU here")
    return device


def write_clip(
    path: Path,
    frames=(),
    *,
    codec="ffv1",
    pix_fmt="bgr0",
    rate=10,
    shown=None,
    options=None,
    container=None,
    setup=None,
    sound=None,
    sound_rate=16000,
    sound_codec="pcm_s16le",
) -> Path:
    """Write a synthetic video with PyAV.

    ``frames``: (h, w, 3) uint8 pictures, or functions that give an av.VideoFrame; ``shown``: when
    each appears, in frames of ``rate`` a second; ``setup``: called with the video stream;
    ``sound``: (n,) or (channels, n) int16 or float32 samples.
    """
    import av

    with av.open(str(path), "w", options=container or {}) as file:
        if len(frames):
            video = file.add_stream(codec, rate=rate, options=options or {})
            first = _as_frame(frames[0])
            video.height, video.width = first.height, first.width
            video.pix_fmt = pix_fmt
            if setup is not None:
                setup(video)
        if sound is not None:
            sound = np.atleast_2d(sound)
            layout = {1: "mono", 2: "stereo", 6: "5.1"}[len(sound)]
            audio = file.add_stream(sound_codec, rate=sound_rate, layout=layout)
        for number, content in enumerate(frames):
            frame = _as_frame(content)
            frame.pts = number if shown is None else shown[number]
            frame.time_base, frame.duration = Fraction(1, rate), 1
            file.mux(video.encode(frame))
        if len(frames):
            file.mux(video.encode())
        if sound is not None:
            kind = "s16" if sound.dtype == np.int16 else "flt"
            block = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(sound.T).reshape(1, -1), format=kind, layout=layout
            )
            block.sample_rate = sound_rate
            # Encoders that take another kind of samples are given theirs by a resampler.
            resampler = av.AudioResampler(audio.codec_context.format, layout, sound_rate)
            fifo = av.AudioFifo()
            for piece in (*resampler.resample(block), *resampler.resample(None)):
                piece.pts = None
                fifo.write(piece)
            size, written = audio.codec_context.frame_size or 1024, 0
            while (piece := fifo.read(size, partial=True)) is not None:
                piece.pts, written = written, written + piece.samples
                file.mux(audio.encode(piece))
            file.mux(audio.encode())
    return path


def _as_frame(content):
    import av

    if callable(content):
        return content()
    return av.VideoFrame.from_ndarray(content, format="rgb24")


def numbered_frame(number: int, size=(48, 64)) -> np.ndarray:
    """A picture that tells its number: eight stripes, white for a bit that is set."""
    bits = np.repeat([(number >> bit & 1) * 255 for bit in range(8)], size[1] // 8)
    return np.broadcast_to(bits.astype(np.uint8)[None, :, None], (*size, 3)).copy()


def number_in(picture) -> int:
    """What ``numbered_frame`` wrote, after any codec."""
    row = np.asarray(picture.convert("L"), dtype=float).mean(axis=0)
    return sum(int(bit.mean() > 128) << place for place, bit in enumerate(np.split(row, 8)))


@pytest.fixture(scope="session")
def make_clip():
    return write_clip


@pytest.fixture(scope="session")
def numbered():
    return numbered_frame


@pytest.fixture(scope="session")
def number_of():
    return number_in
