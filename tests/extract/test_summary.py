"""The summary of a run: like failures are one line, whatever figures each row's reason holds."""

import io

import numpy as np
import pytest
import soundfile

import extract


@pytest.fixture
def sound() -> bytes:
    data = io.BytesIO()
    soundfile.write(data, np.full(16000, 0.1), 16000, format="WAV")
    return data.getvalue()


def run(items, out, encoder) -> extract.ExtractionSummary:
    config = extract.ExtractionConfig(items=items, modality="audio", out=out, rows_per_part=3)
    return extract.run(config, encoder=encoder)


def test_reasons_that_differ_in_a_figure_are_counted_as_one(tmp_path, write_items, loudness, sound):
    for n in range(12):
        (tmp_path / f"{n}.wav").write_bytes(sound[: 5000 + n])
    (tmp_path / "whole.wav").write_bytes(sound)
    rows = [(f"i{n}", f"{n}.wav") for n in range(12)] + [("w", "whole.wav"), ("l", "lost.wav")]
    items = write_items(("item_id", "audio"), rows)
    summary = run(items, tmp_path / "f", loudness())
    alike = f"sound cut short ({len(sound) - 5000} bytes are missing); of others with other figures"
    assert summary.reasons == {alike: 12, "file not found": 1}
    assert summary.examples == {alike: ["i0", "i1", "i2"], "file not found": ["l"]}
    assert f"  failed 12: {alike} (i0, i1, i2, ...)" in str(summary).splitlines()
    # Each row keeps its own.
    reasons = extract.FeatureStore.open(tmp_path / "f").statuses()["reason"].to_list()
    assert reasons[11] == f"sound cut short ({len(sound) - 5011} bytes are missing)"


def test_a_figure_that_all_share_is_shown(tmp_path, write_items, loudness, sound):
    for n in range(4):
        (tmp_path / f"{n}.wav").write_bytes(sound[:5000])
    items = write_items(("item_id", "audio"), [(f"i{n}", f"{n}.wav") for n in range(4)])
    summary = run(items, tmp_path / "f", loudness())
    assert summary.reasons == {f"sound cut short ({len(sound) - 5000} bytes are missing)": 4}


def test_of_many_endings_the_most_frequent_are_named(tmp_path, loudness, sound):
    folder = tmp_path / "sounds"
    folder.mkdir()
    (folder / "whole.wav").write_bytes(sound)
    for n in range(8):
        (folder / f"a.{n}").touch()
    (folder / "b.7").touch()
    (folder / "c.\x1b").touch()
    lines = str(run(folder, tmp_path / "f", loudness())).splitlines()
    named = ".7 2, .\\x1b 1, .0 1, .1 1, .2 1, .3 1, ..."
    assert f"not read: files of other kinds (10: {named})" in lines
