"""The benchmark of extraction: its media are what it says, its figures are those of its rounds."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image

from benchmarks import extract, extract_media, extract_rates
from benchmarks.catalogue import ByteHistogram
from benchmarks.extract_rates import Measurement, Seconds, Times

BENCHMARKS = Path("benchmarks").resolve()


def test_the_texts_are_distinct_and_of_log_normal_length(tmp_path):
    media = extract_media.texts(tmp_path)
    table = pl.read_csv(media.table)
    lengths = table["text"].str.split(" ").list.len().to_numpy()
    assert len(lengths) == 5_000
    assert 19 <= np.median(lengths) <= 21
    # Within one sigma of the median lies what is between a factor of e below and e above it.
    assert 20 / np.e - 1 <= np.quantile(lengths, 0.1587) <= 20 / np.e + 1
    assert 20 * np.e - 4 <= np.quantile(lengths, 0.8413) <= 20 * np.e + 4
    assert table["text"].n_unique() > 4_900
    (tmp_path / "again").mkdir()
    again = extract_media.texts(tmp_path / "again", 50)
    assert pl.read_csv(again.table)["text"].to_list() == table["text"].to_list()[:50]


def test_the_photographs_are_jpegs_that_differ_and_stay_where_they_are_kept(tmp_path):
    media = extract_media.photos(tmp_path, 3, (320, 240))
    files = [tmp_path / path for path in pl.read_csv(media.table)["image"]]
    pictures = []
    for file in files:
        with Image.open(file) as picture:
            assert (picture.format, picture.mode, picture.size) == ("JPEG", "RGB", (320, 240))
            pictures.append(np.asarray(picture).astype(float))
    assert np.abs(pictures[0] - pictures[1]).mean() > 5
    # Not noise alone: neighbours are alike, and yet there is much to decode.
    assert np.abs(np.diff(pictures[0], axis=1)).mean() < pictures[0].std() / 2
    assert files[0].stat().st_size > 320 * 240 / 20
    before = [file.stat().st_mtime_ns for file in files]
    extract_media.photos(tmp_path, 3, (320, 240))
    assert [file.stat().st_mtime_ns for file in files] == before
    assert extract_media.PHOTO_SIZE[0] * extract_media.PHOTO_SIZE[1] == 12_000_000


def test_figures_come_from_the_medians():
    times = Times(
        decode=[Seconds(1.0, 3.0), Seconds(9.0, 1.0), Seconds(2.0, 2.0)],
        encode=[Seconds(4.0, 7.0), Seconds(6.0, 8.0), Seconds(5.0, 6.0)],
        pipeline=[Seconds(8.0, 10.0), Seconds(7.0, 10.0), Seconds(10.0, 12.0)],
        unsorted=[Seconds(12.0, 1.0), Seconds(16.0, 1.0), Seconds(20.0, 1.0)],
    )
    result = times.result(100)
    assert result["t_decode"] == pytest.approx(0.02)
    assert result["t_encode"] == pytest.approx(0.05)
    assert result["ideal_items_per_s"] == pytest.approx(1 / (0.02 + 0.05))
    assert result["pipeline_items_per_s"] == pytest.approx(100 / 8)
    assert result["ratio"] == pytest.approx(7 / 8)
    assert result["ratio"] == pytest.approx(
        result["pipeline_items_per_s"] / result["ideal_items_per_s"]
    )
    assert result["cpu_ratio"] == pytest.approx((2 + 7) / 10)
    assert result["unsorted_items_per_s"] == pytest.approx(100 / 16)
    assert result["sorted_over_unsorted"] == pytest.approx(2)
    named = {"encoder": "st:x", "media": "texts", **result}
    assert extract.bars_missed(named) == ["st:x on texts: ratio 0.875, below 0.95"]
    assert extract.bars_missed(named | {"ratio": 0.95}) == []
    assert len(extract.bars_missed(named | {"sorted_over_unsorted": 1.4})) == 2


class Noting(ByteHistogram):
    """Notes which texts it gets, in which order."""

    def __init__(self):
        self.batches = []

    def encode(self, batch):
        self.batches.append([bytes(text) for text in batch])
        return super().encode(batch)

    def length(self, prepared):
        return len(prepared)


def test_the_encoder_alone_gets_the_batches_of_the_pipeline(tmp_path):
    encoder = Noting()
    media = extract_media.texts(tmp_path, 50)
    measurement = Measurement(
        media, "benchmarks.catalogue:ByteHistogram", encoder, tmp_path, batch_size=8
    )
    times = measurement.measure(1, unsorted=True)
    assert measurement.items == 50
    counts = {name: len(values) for name, values in vars(times).items()}
    assert counts == {"decode": 1, "encode": 1, "pipeline": 1, "unsorted": 1}
    assert all(seconds.clock > 0 for values in vars(times).values() for seconds in values)
    warm, rest = encoder.batches[0], encoder.batches[1:]
    alone, pipeline, unsorted = rest[:7], rest[7:14], rest[14:]
    assert warm == alone[0]
    assert alone == pipeline
    texts = [text.encode() for text in pl.read_csv(media.table)["text"]]
    assert sum(alone, []) == sorted(texts, key=len)  # noqa: RUF017
    assert sum(unsorted, []) == texts  # noqa: RUF017


def test_media_are_chosen_by_the_encoders_modality():
    assert extract.plan(["packaged:minilm", "melstats"], []) == [
        ("packaged:minilm", "texts", "text"),
        ("melstats", "speech", "audio"),
    ]
    uri = "packaged:efficientnet-lite0"
    assert extract.plan([uri], []) == [(uri, "stamps", "image"), (uri, "photos", "image")]
    assert extract.plan([uri], ["photos", "my/items.csv"]) == [
        (uri, "photos", "image"),
        (uri, "my/items.csv", "image"),
    ]
    with pytest.raises(extract.InputError, match="--media texts: none of the encoders takes text"):
        extract.plan([uri], ["texts"])


def test_a_run_prints_and_writes_one_result_a_pair(tmp_path):
    (tmp_path / "own.csv").write_text(
        "id,text\n" + "\n".join(f"{n},{'word ' * n}" for n in range(1, 40))
    )
    command = [
        *(
            sys.executable,
            "benchmarks/extract.py",
            "--encoder",
            "benchmarks.catalogue:ByteHistogram",
        ),
        *("--media", "texts", str(tmp_path / "own.csv"), "--limit", "40", "--rounds", "2"),
        *("--json", str(tmp_path / "rates.json"), "--folder", str(tmp_path / "media"), "--no-bars"),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "rates.json").read_text())["results"]
    assert [result["media"] for result in results] == ["texts", str(tmp_path / "own.csv")]
    assert [result["items"] for result in results] == [40, 39]
    for result in results:
        assert result["encoder"] == "benchmarks.catalogue:ByteHistogram"
        ideal = 1 / (result["t_decode"] + result["t_encode"])
        assert result["ideal_items_per_s"] == pytest.approx(ideal)
        rate = result["pipeline_items_per_s"]
        assert result["ratio"] == pytest.approx(rate / ideal)
        assert f"pipeline {rate:.1f} items/s" in done.stdout
        assert len(result["rounds"]["pipeline"]) == 2
        assert len(result["load"]) == 2
    # So few texts take no time beside what every run begins with: the bar is missed, and it shows.
    assert "below 0.95" in done.stdout
    command.remove("--no-bars")
    assert subprocess.run(command, capture_output=True).returncode == 1


def test_a_wrong_encoder_is_one_line():
    command = [sys.executable, "benchmarks/extract.py", "--encoder", "packaged:nothing"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("error: encoder packaged:nothing: there is no such packaged")
    assert len(done.stderr.splitlines()) == 1


def test_constant_lengths_are_all_that_the_unsorted_encoder_changes():
    inner = Noting()
    other = extract_rates._Unsorted(inner)
    assert (other.dim, other.space, other.modalities) == (inner.dim, inner.space, inner.modalities)
    assert other.fingerprint() == inner.fingerprint()
    batch = [other.preprocess("aab"), other.preprocess("c")]
    assert [other.length(text) for text in batch] == [0, 0]
    assert torch.equal(other.encode(batch), inner.encode(batch))


def test_every_benchmark_finds_the_package_extract_and_not_the_benchmark_of_that_name():
    code = f"""
import runpy, sys
from importlib.machinery import PathFinder
from pathlib import Path
folder, before = Path({str(BENCHMARKS)!r}), list(sys.path)
for script in sorted(folder.glob("*.py")):
    # The excepted one runs where only RecBole is installed, and imports nothing of ours.
    if script.name != "recbole_agrees.py" and '__name__ == "__main__"' in script.read_text():
        sys.path[:] = [str(folder), *before]
        runpy.run_path(str(script), run_name="imported")
        print(script.name, PathFinder.find_spec("extract").origin)
"""
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    assert {"extract.py", "train.py", "method.py"} <= found.keys()
    assert set(found.values()) == {str(BENCHMARKS.parent / "extract" / "__init__.py")}
