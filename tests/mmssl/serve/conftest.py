"""A small model whose ids are odd, an item table with good and bad media, and an application."""

import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import soundfile
import torch
from PIL import Image
from scipy.sparse import csr_array
from starlette.testclient import TestClient

from extract.inspect.items import ItemSource
from mmssl.recommend.model_folder import SavedModel
from mmssl.recommend.model_info import ModelInfo
from mmssl.serve.app import create_app
from mmssl.serve.engine import Engine
from mmssl.serve.service import Service
from mmssl.serve.settings import ServeSettings

USERS = ["u1", "u2", "a/b c", "ü?&=#%2F", "..", "cold"]
ITEMS = ["plain", "a/b c", "ü?&=#%2F", "..", "outside", "link", "bomb", "wrong", "gone", "bare"]


def saved_model(seed: int = 0) -> SavedModel:
    """Random vectors; every user but ``cold`` has seen two items, one of them in validation."""
    draw = np.random.default_rng(seed)
    users, items = len(USERS), len(ITEMS)
    train, val = np.zeros((users, items), np.float32), np.zeros((users, items), np.float32)
    for user in range(users - 1):
        train[user, user], val[user, user + 1] = 1, 1
    encoders: dict[str, str | None] = {"audio": "melstats:64", "image": None}
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
        user_vectors=torch.from_numpy(draw.normal(size=(users, 4)).astype(np.float32)),
        item_vectors=torch.from_numpy(draw.normal(size=(items, 4)).astype(np.float32)),
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


def tone(path: Path, hertz: float = 440.0) -> Path:
    """A second of a tone, 16 kHz."""
    samples = 0.5 * np.sin(2 * np.pi * hertz * np.arange(16_000) / 16_000)
    soundfile.write(path, samples.astype(np.float32), 16_000)
    return path


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A folder with ``items.csv`` and media; ``secret.png`` lies beside it."""
    folder = tmp_path / "shop"
    folder.mkdir()
    Image.new("RGB", (400, 300), "red").save(folder / "red.png")
    Image.new("RGB", (9, 9), "blue").save(tmp_path / "secret.png")
    tone(folder / "tone.wav")
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    (folder / "bomb.png").write_bytes(png_header(100_000, 100_000))
    (folder / "wrong.png").write_text("<html>no picture</html>")
    (folder / "wrong.wav").write_text("<html>no sound</html>")
    rows = {
        "plain": ("Red square", "A red square. It hums.", "red.png", "tone.wav"),
        "a/b c": ("", "Straße, with a tone", "red.png", "tone.wav"),
        "ü?&=#%2F": ("Odd", "odd", "red.png", "tone.wav"),
        "..": ("Dots", None, "red.png", "film.mp4"),
        "outside": ("Outside", None, "../secret.png", "/etc/hostname.wav"),
        "link": ("Link", None, "link.png", None),
        "bomb": ("Bomb", None, "bomb.png", None),
        "wrong": ("Wrong", None, "wrong.png", "wrong.wav"),
        "gone": ("Gone", None, "gone.png", "gone.wav"),
        "unknown": ("Not in the model", "square", None, None),
    }
    frame = pl.DataFrame(
        [(id_, *row) for id_, row in rows.items()],
        schema=["item_id", "title", "text", "image", "audio"],
        orient="row",
    )
    frame.write_csv(folder / "items.csv")
    return folder


@pytest.fixture
def settings(shop: Path) -> ServeSettings:
    saved_model().save(shop / "run" / "model")
    source = ItemSource(items=shop / "items.csv")
    return ServeSettings(model=shop / "run", source=source, device="cpu")


@pytest.fixture
def engine(settings: ServeSettings) -> Engine:
    return Engine.load(settings)


@pytest.fixture
def client_of(settings: ServeSettings, engine: Engine) -> Iterator[Callable[..., TestClient]]:
    """Makes a client of an application whose settings are changed; it stops with the test."""
    opened: list[TestClient] = []

    def make(**changes: object) -> TestClient:
        service = Service(replace(settings, **changes), engine)  # type: ignore[arg-type]
        client = TestClient(create_app(service), base_url="http://127.0.0.1:8000")
        client.__enter__()
        opened.append(client)
        return client

    yield make
    for client in opened:
        client.__exit__(None, None, None)


@pytest.fixture
def client(client_of: Callable[..., TestClient]) -> TestClient:
    return client_of()
