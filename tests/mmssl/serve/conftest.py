"""The small model in a folder, its item table with good and bad media, and an application."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from PIL import Image
from starlette.testclient import TestClient

from extract.inspect.items import ItemSource
from mmssl.serve.app import create_app
from mmssl.serve.engine import Engine
from mmssl.serve.service import Service
from mmssl.serve.settings import ServeSettings
from tests.mmssl.serve.shop import png_header, saved_model, tone


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
