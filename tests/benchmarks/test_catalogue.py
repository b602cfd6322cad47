"""The benchmark of a large catalogue: what it makes, what it compares, when it fails."""

import json
import subprocess
import sys

import numpy as np
import polars as pl
import pytest

from benchmarks import catalogue
from benchmarks.catalogue import ByteHistogram, Run, report, texts, write_catalogue
from extract import ExtractionConfig, run


def test_the_catalogue_has_distinct_texts(tmp_path):
    table = pl.read_csv(write_catalogue(tmp_path / "items.csv", 2_000))
    assert table.columns == ["item_id", "text"]
    assert table["item_id"].n_unique() == table["text"].n_unique() == 2_000
    assert table["text"].to_list() == list(texts(2_000))


def test_the_encoder_counts_bytes():
    encoder = ByteHistogram()
    words = ["aab", "é", "zz top"]
    found = encoder.encode([encoder.preprocess(text) for text in words]).numpy()
    for vector, text in zip(found, words, strict=True):
        np.testing.assert_array_equal(
            vector, [text.encode().count(bytes([value])) for value in range(256)]
        )


def test_the_bars_are_those_that_were_set():
    few, slow, again = Run(10, 3, 1, 500), Run(100_000, 10, 1, 700), Run(100_000, 6, 1, 500)
    lines, missed = report(few, slow, again)
    assert "1.40 times" in lines[1]
    assert [line.split(",")[0] for line in missed] == [
        "peak memory 1.40 times that of few items",
        "10",
        "6.0 s again",
    ]
    fast = Run(100_000, 5, 1, 600)
    assert report(few, fast, Run(100_000, 5, 1, 500))[1] == []


@pytest.mark.parametrize("wrong", ["vector", "id"])
def test_a_store_with_another_items_vector_does_not_pass(tmp_path, monkeypatch, wrong):
    table = write_catalogue(tmp_path / "items.csv", 50)
    config = ExtractionConfig(items=table, modality="text", out=tmp_path / "store")
    run(config, encoder=ByteHistogram())
    catalogue.check(tmp_path / "store", 50, np.random.default_rng(0))
    shifted = table.read_text().splitlines()
    if wrong == "vector":
        shifted[1:] = [
            f"{line.split(',')[0]},{other.split(',', 1)[1]}"
            for line, other in zip(shifted[1:], shifted[2:] + shifted[1:2], strict=True)
        ]
    else:
        shifted[1:] = shifted[2:] + shifted[1:2]
    table.write_text("\n".join(shifted))
    run(config.model_copy(update={"out": tmp_path / "other"}), encoder=ByteHistogram())
    says = "vector of another text" if wrong == "vector" else "another item"
    with pytest.raises(SystemExit, match=says):
        catalogue.check(tmp_path / "other", 50, np.random.default_rng(0))


def test_a_run_prints_and_writes_its_figures(tmp_path):
    command = [
        *(sys.executable, "benchmarks/catalogue.py", "--items", "2000", "--few", "20"),
        *("--json", str(tmp_path / "figures.json"), "--folder", str(tmp_path), "--no-bars"),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert (figures["few"]["items"], figures["all"]["items"]) == (20, 2_000)
    assert 100 < figures["few"]["peak_mib"] < 4_000
    assert figures["again"]["cpu_seconds"] > 0
    # So few items are not worth the start of a process: the bar of the rate is missed.
    assert any("items/s, below 20,000" in line for line in figures["missed"])
    assert "2,000 items: peak" in done.stdout
    # The tables and stores are gone.
    assert [file.name for file in tmp_path.iterdir()] == ["figures.json"]
