"""A small trained run and an item table with pictures: for tests, never for claims."""

from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from extract.inspect.items import ItemSource
from mmssl.config import TrainingConfig
from mmssl.data.dataset import Dataset
from mmssl.models import preset_of
from mmssl.recommend.model_folder import SavedModel
from mmssl.report.report import ReportOptions, report
from mmssl.settings import shipped
from mmssl.training.trainer import train

SMALL = ("backbone.embedding_dim=8", "optimiser.batch_users=16", "optimiser.epochs=3")


@pytest.fixture(scope="session")
def run(dataset, tmp_path_factory) -> Path:
    """A run of MMSSL, whose score has the parts collaborative, image and audio."""
    out = tmp_path_factory.mktemp("report") / "run"
    config = TrainingConfig.load(None, [*SMALL, "optimiser.learning_rate=0.02"])
    # Whether its scores add up to more than 0 depends on what dropout leaves out.
    train(config, dataset, out, device="cpu")
    return out


@pytest.fixture(scope="session")
def saved(run) -> SavedModel:
    return SavedModel.load(run)


@pytest.fixture
def trained(tmp_path):
    """Trains a model by name on a dataset."""

    def make(model: str, dataset: Dataset | Path, *settings: str) -> Path:
        settings = (f"model={model}", *settings)
        out = tmp_path / f"run-{model}"
        train(TrainingConfig.load(shipped(preset_of(settings)), settings), dataset, out)
        return out

    return make


@pytest.fixture
def items(tmp_path, dataset) -> Path:
    """An item table of one's own."""
    return write_items(tmp_path / "shop", dataset)


def write_items(folder: Path, dataset: Dataset) -> Path:
    """An item table with a picture, a text and a kind of each item."""
    folder.mkdir()
    rows = ["item_id,image,text,kind"]
    for row, name in enumerate(dataset.item_ids.ids):
        pixels = np.full((20, 30, 3), (10 * row, 90, 200), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{name}.png")
        rows.append(f"{name},{name}.png,Item number {name},kind {row % 4}")
    (folder / "items.csv").write_text("\n".join(rows) + "\n")
    return folder / "items.csv"


@pytest.fixture(scope="session")
def page(run, dataset, tmp_path_factory) -> "Page":
    """The page on the run, with an item table."""
    folder = tmp_path_factory.mktemp("page")
    options = ReportOptions(
        model=run,
        out=folder / "page.html",
        source=ItemSource(write_items(folder / "shop", dataset)),
        colour="kind",
    )
    report(options)
    return Page.read(options.out)


class Page(HTMLParser):
    """A page taken apart; fails on tags that do not close."""

    VOID = frozenset({"meta", "link", "img", "br", "input", "wbr"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.rows: list[list[str]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    @classmethod
    def read(cls, path: Path) -> "Page":
        return cls(path.read_text(encoding="utf-8"))

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def row(self, first: str) -> list[str]:
        """The cells of the first table row that begins with a word."""
        return next(row for row in self.rows if row and row[0] == first)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if "style" in self._open:
            return
        self.words.append(data)
        if "td" in self._open or "th" in self._open:
            self.rows[-1][-1] = " ".join(f"{self.rows[-1][-1]} {data}".split())


@pytest.fixture(scope="session")
def read_page():
    return Page.read
