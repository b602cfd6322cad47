"""A small model whose ids are odd, and media good and bad: for tests, never for claims."""

import struct
import zlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array

from extract.encoders.base import Waveform
from extract.encoders.registry import load_encoder
from mmssl.recommend.model_files import ItemFeatures
from mmssl.recommend.model_folder import SavedModel
from mmssl.recommend.model_info import ModelInfo
from mmssl.vectors import TwoSided

USERS = ["u1", "u2", "a/b c", "ü?&=#%2F", "..", "cold"]
ITEMS = ["plain", "a/b c", "ü?&=#%2F", "..", "outside", "link", "bomb", "wrong", "gone", "bare"]


SHARES = (np.float32(0.5), np.float32(0.125), np.float32(0.25))
"""What of the vectors the modalities brought; what is left is collaborative."""

LETTERS = """
import torch
from extract import Encoder

class Letters(Encoder):
    modalities, dim, space = ("text",), 26, "letters"

    def preprocess(self, raw):
        if raw == "unspeakable":
            raise ValueError("no such word")
        if raw == "infinite":
            return torch.full((26,), torch.inf)
        counted = [raw.lower().count(chr(97 + n)) for n in range(26)]
        return torch.tensor(counted, dtype=torch.float32)

    def encode(self, batch):
        return torch.stack(list(batch))

    def fingerprint(self):
        return {}
"""


def letters(texts: Sequence[str]) -> NDArray[np.float32]:
    """How often each letter stands in each text: what the encoder ``letters:Letters`` says."""
    counts = [[text.lower().count(chr(97 + n)) for n in range(26)] for text in texts]
    return np.array(counts, dtype=np.float32)


def hertz(row: int) -> float:
    """The pitch of an item's sound."""
    return 200.0 * 1.4**row


@cache
def melstats(pitch: float) -> NDArray[np.float32]:
    """What ``melstats:64`` says of a tone."""
    encoder = load_encoder("melstats:64", "audio", device=torch.device("cpu"), dtype=torch.float32)
    made = encoder.encode([encoder.preprocess(Waveform(samples(pitch), 16_000))])
    return made[0].numpy()


def samples(pitch: float) -> NDArray[np.float32]:
    """A second of a tone, 16 kHz."""
    return (0.5 * np.sin(2 * np.pi * pitch * np.arange(16_000) / 16_000)).astype(np.float32)


def saved_model(seed: int = 0) -> SavedModel:
    """Random vectors; every user but ``cold`` has seen two items, one of them in validation."""
    draw = np.random.default_rng(seed)
    users, items = len(USERS), len(ITEMS)
    train, val = np.zeros((users, items), np.float32), np.zeros((users, items), np.float32)
    for user in range(users - 1):
        train[user, user], val[user, user + 1] = 1, 1
    encoders = {"audio": "melstats:64", "image": None, "text": "letters:Letters"}
    vectors = [draw.normal(size=(n, 4)).astype(np.float32) for n in (users, items)]
    pitch = np.stack([melstats(hertz(row)) for row in range(items - 1)])
    features = {
        "audio": ItemFeatures(
            np.vstack([pitch, np.zeros_like(pitch[:1])]), np.arange(items) < items - 1
        ),
        "image": ItemFeatures(
            draw.normal(size=(items, 3)).astype(np.float32), np.ones(items, dtype=bool)
        ),
        "text": ItemFeatures(letters(ITEMS), np.ones(items, dtype=bool)),
    }
    return SavedModel(
        info=ModelInfo(
            name="mmssl",
            variant=f"seed-{seed}",
            encoders=encoders,
            data="data/small",
            data_digest="0" * 64,
            seed=seed,
            best_epoch=1,
            training={},
            metrics={"recall@20": 0.25},
            popularity={"recall@20": 0.125},
            protocol={},
        ),
        user_ids=USERS,
        item_ids=ITEMS,
        parameters={},
        user_vectors=torch.from_numpy(vectors[0]),
        item_vectors=torch.from_numpy(vectors[1]),
        modality_parts={
            name: TwoSided(*(torch.from_numpy(part * share) for part in vectors))
            for name, share in zip(encoders, SHARES, strict=True)
        },
        features=features,
        graphs={},
        train=csr_array(train),
        val=csr_array(val),
    )


def png_header(width: int, height: int) -> bytes:
    """A PNG that promises so many pixels, and has hardly any."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b"")


def tone(path: Path, pitch: float = 440.0) -> Path:
    """A second of a tone as a file."""
    # As floating-point numbers: rounded to 16 bits, silence between tones would be heard.
    soundfile.write(path, samples(pitch), 16_000, subtype="FLOAT")
    return path
