"""What benchmarks/stamps.py reads, which controls it names, and when it says yes."""

import json
import sys
from dataclasses import replace

import polars as pl
import pytest

from benchmarks.stamps import ROWS, Row, control_of, item_table, measure
from examples.quickstart.stamps import STAMPS
from extract.encoders.registry import load_encoder


def put(path, content="x"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")


def test_items_are_the_stamps_with_picture_words_and_french_speech(tmp_path):
    root = tmp_path / "media" / STAMPS
    for name in ("animals/dogs/pug", "animals/cat", "food/plum"):
        put(root / f"{name}.png")
        put(root / f"{name}.txt", f"A {name}.\nfr.utf8=Un autre.\n")
    put(root / "animals/dogs/pug_desc_fr.ogg")
    put(root / "animals/dogs/pug.wav")
    put(root / "animals/cat_desc.ogg")
    put(root / "food/plum_desc_fr.ogg")
    table = pl.read_csv(item_table(tmp_path))
    assert table["item_id"].to_list() == ["animals/dogs/pug", "food/plum"]
    assert table["folder"].to_list() == ["animals", "food"]
    assert [path and path.rpartition("/")[2] for path in table["effect"]] == ["pug.wav", None]
    assert table["speech"][1].endswith("food/plum_desc_fr.ogg")


def test_the_bounds():
    row = Row("image", "a", "b", 9, 0, 0.7, 0.35, 0.5, 9, 0.7, 0.5)
    assert row.reached
    assert not replace(row, accuracy=0.69).reached  # under twice the majority
    assert not replace(row, random_weights=0.51).reached


def test_controls_are_the_same_architectures_with_random_weights(tmp_path):
    import torch

    for modality, _, packaged in ROWS.values():
        pytest.importorskip("timm")
        uri = control_of(modality, tmp_path)
        control = load_encoder(uri, modality, device=torch.device("cpu"), dtype=torch.float32)
        trained = load_encoder(packaged, modality, device=torch.device("cpu"), dtype=torch.float32)
        assert "weights=random" in uri
        assert control.dim == trained.dim
        assert control.fingerprint()["weights"] != trained.fingerprint()["weights"]


def test_copies_are_left_out_of_the_distinct_items(tmp_path, monkeypatch):
    import benchmarks.stamps as module

    encoder = "tests.extract.conftest:ByteHistogram"
    monkeypatch.setitem(module.ROWS, "text", ("text", "text", encoder))
    # Each copy is its twin's nearest; distinct items have nobody of their own folder.
    rows = [f"{letter}{copy},{letter * 9}" for letter in "abcdefgh" for copy in range(2)]
    (tmp_path / "items.csv").write_text("item_id,text\n" + "\n".join(rows) + "\n")
    labels = {row.split(",")[0]: row[0] for row in rows}
    monkeypatch.setattr(module, "K", 1)
    found = measure(encoder, "text", tmp_path / "items.csv", labels)
    assert (found.items, found.failed, found.accuracy, found.majority) == (16, 0, 1.0, 1 / 8)
    assert (found.distinct_items, found.distinct_accuracy) == (8, 0.0)
    assert (tmp_path / "features" / "text-packaged" / "manifest.json").is_file()


@pytest.mark.parametrize(("text", "code"), [(0.8, 0), (0.6, 1)])
def test_the_exit_code_is_that_of_image_and_text(text, code, tmp_path, monkeypatch, capsys):
    import benchmarks.stamps as module

    test_items_are_the_stamps_with_picture_words_and_french_speech(tmp_path)
    monkeypatch.setattr(module, "control_of", lambda modality, folder: f"random {modality}")

    def measured(encoder, media, items, labels):
        assert labels == {"animals/dogs/pug": "animals", "food/plum": "food"}
        trained = {"image": 0.8, "text": text, "speech": 0.4, "effects": 0.4}[media]
        value = 0.5 if encoder.startswith("random") else trained
        return module.Measured(10, 1, value, 0.3, 8, value)

    monkeypatch.setattr(module, "measure", measured)
    figures = tmp_path / "figures.json"
    monkeypatch.setattr(sys, "argv", ["x", "--folder", str(tmp_path), "--json", str(figures)])
    with pytest.raises(SystemExit) as stop:
        module.main()
    assert stop.value.code == code
    values = json.loads(figures.read_text())
    assert values["reached"] is (code == 0)
    assert [row["media"] for row in values["results"]] == ["image", "text", "speech", "effects"]
    assert values["results"][1]["accuracy"] == text
    assert values["results"][1]["control"] == "random text"
    assert "0.800     0.300   0.500" in capsys.readouterr().out
