"""A catalogue in which bad rows stand beside good ones, run as a person would run it."""

import json
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import cli
import extract

ENCODERS = '''
from pathlib import Path
import numpy as np
import torch
from extract import Encoder

class Quarters(Encoder):
    """The mean colour of each quarter of a picture: it tells how a picture is turned."""
    modalities = ("image",)
    dim = 12
    space = "quarters"
    def preprocess(self, raw):
        pixels = np.asarray(raw, dtype=np.float32)
        height, width = pixels.shape[0] // 2, pixels.shape[1] // 2
        halves = pixels[:height], pixels[height:]
        quarters = [part for half in halves for part in (half[:, :width], half[:, width:])]
        return torch.from_numpy(np.concatenate([part.mean(axis=(0, 1)) for part in quarters]))
    def encode(self, batch):
        return torch.stack(batch)
    def fingerprint(self):
        return {}

class Deleting(Quarters):
    """Deletes vanishing.png when it is given the picture before it, which is black."""
    def preprocess(self, raw):
        if not np.asarray(raw).any():
            Path("vanishing.png").unlink(missing_ok=True)
        return super().preprocess(raw)

class Letters(Encoder):
    """How often each byte occurs."""
    modalities = ("text",)
    dim = 256
    space = "letters"
    def preprocess(self, raw):
        return torch.bincount(torch.tensor(list(raw.encode())), minlength=256).float()
    def encode(self, batch):
        return torch.stack(batch)
    def fingerprint(self):
        return {}
'''

MISSING = "no value in the table"

_FAILED = re.compile(r"  failed (\d+): (.*) \(([^()]*)\)")


@dataclass(frozen=True)
class Outcome:
    """What one run left behind."""

    out: str
    rows: dict[str, tuple[str, str | None]]
    """Status and reason by item id."""
    vectors: dict[str, np.ndarray]
    """Of the items that have one."""


@pytest.fixture
def shop(tmp_path, monkeypatch) -> Path:
    """The working folder, with the encoders above in ``shop_encoders``."""
    (tmp_path / "shop_encoders.py").write_text(ENCODERS)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("shop_encoders", None)


@pytest.fixture
def table(shop) -> Callable[..., Path]:
    """``table(name, column, media)`` writes a JSONL table of {id: path or text or None}."""

    def write(name: str, column: str, media: Mapping[str, str | None]) -> Path:
        rows = [json.dumps({"item_id": item, column: medium}) for item, medium in media.items()]
        (shop / name).write_text("\n".join(rows), encoding="utf-8")
        return shop / name

    return write


@pytest.fixture
def compare(shop, capsys) -> Callable[..., Outcome]:
    """Runs ``extract`` over a whole catalogue, then over its good rows alone, and compares.

    ``compare(everything, good, expected, *options)``: two item tables (or folders), and for each
    item of the first its reason, None if it is usable. Checked are exit codes, that nothing is
    printed but the summary, every row's status and reason, that just the usable rows have vectors,
    that the good rows' vectors are the same bytes without the others, and the summary's counts.
    """

    def run(items: Path, out: str, *options: str) -> Outcome:
        arguments = ["extract", "--items", str(items), "--out", out, *map(str, options)]
        with pytest.raises(SystemExit) as stop:
            cli.run(cli.app, arguments)
        printed = capsys.readouterr()
        assert (stop.value.code or 0, printed.err) == (0, "")
        return outcome(shop / out, printed.out)

    def compared(everything: Path, good: Path, expected: Mapping[str, str | None], *options):
        found = run(everything, "everything", *options)
        alone = run(good, "alone", *options)
        assert found.rows == {item: row(reason) for item, reason in expected.items()}
        assert found.vectors.keys() == {item for item in expected if expected[item] is None}
        assert alone.vectors
        assert alone.vectors.keys() == alone.rows.keys()
        for item, vector in alone.vectors.items():
            assert found.vectors[item].tobytes() == vector.tobytes(), item
        check_summary(found.out, expected)
        return found

    return compared


def outcome(store: Path, out: str) -> Outcome:
    opened = extract.FeatureStore.open(store)
    statuses = opened.statuses().select("id", "status", "reason")
    loaded = opened.load()
    return Outcome(
        out,
        {item: (status, reason) for item, status, reason in statuses.iter_rows()},
        {loaded.ids[at]: loaded.vectors[at] for at in np.flatnonzero(loaded.present)},
    )


def row(reason: str | None) -> tuple[str, str | None]:
    if reason is None:
        return "ok", None
    return ("missing" if reason == MISSING else "failed"), reason


def check_summary(out: str, expected: Mapping[str, str | None]) -> None:
    """Every reason has a line with its count and its first three items."""
    items: dict[str, list[str]] = {}
    for item, reason in expected.items():
        if reason not in (None, MISSING):
            items.setdefault(reason, []).append(item)
    lines = [_FAILED.fullmatch(line) for line in out.splitlines() if line.startswith("  failed")]
    listed = {line[2]: (int(line[1]), line[3].split(", ")) for line in lines}
    assert listed == {reason: (len(some), some[:3]) for reason, some in items.items()}
    reasons = list(expected.values())
    failed = sum(map(len, items.values()))
    counts = f"ok {reasons.count(None)}, failed {failed}, missing {reasons.count(MISSING)}"
    assert counts in out.splitlines()
