"""`cli.py features`, as a person would run it, on stores that `cli.py extract` made."""

import json

import numpy as np
import pytest
from PIL import Image

import cli
from tests.extract.conftest import MeanColour


@pytest.fixture
def features(capsys):
    """Runs ``features`` and gives exit code, standard output and standard error."""

    def run(*arguments):
        with pytest.raises(SystemExit) as stop:
            cli.run(cli.app, ["features", *map(str, arguments)])
        printed = capsys.readouterr()
        return int(stop.value.code or 0), printed.out, printed.err

    return run


@pytest.fixture
def catalogue(tmp_path, monkeypatch):
    """Twelve pictures in three colours, one broken; two stores of them, by different encoders."""
    colours = {"red": (200, 20, 20), "green": (20, 200, 20), "blue": (20, 20, 200)}
    rng = np.random.default_rng(0)
    rows = []
    for row in range(12):
        name = list(colours)[row % 3]
        pixels = np.clip(np.array(colours[name]) + rng.integers(-15, 15, (8, 8, 3)), 0, 255)
        Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / f"{row}.png")
        rows.append(f"p{row},{row}.png,a {name} picture,{name}")
    (tmp_path / "11.png").write_text("<html>")
    (tmp_path / "items.csv").write_text("item_id,image,text,kind\n" + "\n".join(rows) + "\n")
    from extract import ExtractionConfig, run

    for name, encoder in (("colour", MeanColour()), ("letters", None)):
        run(
            ExtractionConfig(
                items=tmp_path / "items.csv",
                modality="image",
                out=tmp_path / name,
                encoder=None if encoder else "examples.custom_encoder:ColourHistogram?bins=2",
                rows_per_part=5,
            ),
            encoder=encoder,
        )
    return tmp_path


def test_show_with_a_sheet(features, catalogue):
    sheet, figures = catalogue / "sheet.html", catalogue / "figures.json"
    code, out, err = features(
        *("show", catalogue / "colour", "--items", catalogue / "items.csv", "--label", "kind"),
        *("--sheet", sheet, "--queries", 4, "--neighbours", 2, "--json", figures),
    )
    assert (code, err) == (0, "")
    assert "items 12: ok 11, failed 1, missing 0" in out
    assert "  failed 1: an HTML page, not a picture (p11)" in out
    assert out.endswith(f"sheet: {sheet}\n")
    html = sheet.read_text(encoding="utf-8")
    assert html.count("<img ") == 4 * (1 + 2)
    assert html.count("data:image/jpeg;base64,") == 4 * (1 + 2)
    assert "8 of 8 bear the label" in html  # colours are what this encoder sees
    assert json.loads(figures.read_text())["ok"] == 11


def test_show_without_a_sheet_writes_nothing(features, catalogue):
    before = sorted(catalogue.rglob("*"))
    code, out, _ = features("show", catalogue / "colour", "--threshold", "0.5")
    assert code == 0
    assert "cosine at least 0.5" in out
    assert sorted(catalogue.rglob("*")) == before


def test_compare(features, catalogue):
    code, out, err = features(
        *("compare", catalogue / "colour", catalogue / "letters", "--k", 2, "--cka"),
        *("--items", catalogue / "items.csv", "--label", "kind", "--label-k", 1),
        *("--json", catalogue / "c.json"),
    )
    assert (code, err) == (0, "")
    assert "items with a vector in both: 11 (in A alone 0, in B alone 0)" in out
    assert "leave-one-out 1-NN of 'kind': A 1.000" in out
    values = json.loads((catalogue / "c.json").read_text())
    assert values["overlap"]["k"] == 2
    assert values["labelled"]["majority"] == pytest.approx(4 / 11)
    assert -1 <= values["cka"] <= 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["show", "no"], "no feature store here"),
        (["show", "colour", "--items", "items.csv"], "--items acts on the sheet of neighbours"),
        (["show", "colour", "--queries", "3"], "--queries acts on the sheet of neighbours"),
        (["show", "colour", "--sheet", "s.html", "--label", "kind"], "--label acts on the sheet"),
        (["show", "colour", "--sheet", "s.html", "--neighbours", "11"], "too few to show 11"),
        (["show", "colour", "--sheet", "s.html", "--items", "no.csv"], "no such file"),
        (["show", "colour", "--sheet", "colour"], "a folder stands where the file should be"),
        (["show", "colour", "--threshold", "2"], "--threshold 2.0"),
        (["show", "colour", "--json", "colour"], "a folder stands where the file should be"),
        (["compare", "colour", "no"], "no feature store here"),
        (["compare", "colour", "letters"], "11 items have a vector in both, too few"),
        (["compare", "colour", "letters", "--label", "kind"], "--label acts on a label: add"),
        (["compare", "colour", "letters", "--items", "items.csv"], "add --label COLUMN"),
        (["compare", "colour", "letters", "--label-k", "3"], "--label-k acts on a label"),
        (["compare", "colour", "letters", "--id-column", "x"], "--id-column acts on a label"),
        (
            ["compare", "colour", "letters", "--items", "items.csv", "--label", "knd"],
            "no column 'knd', named by --label (did you mean 'kind'?)",
        ),
    ],
)
def test_what_is_wrong_is_one_line_and_exit_code_two(
    arguments, words, features, catalogue, monkeypatch
):
    monkeypatch.chdir(catalogue)
    code, out, err = features(*arguments)
    assert (code, out) == (2, "")
    assert words in err
    assert err.count("\n") == 1


def test_an_incomplete_store_is_refused(features, catalogue):
    (catalogue / "colour" / "part-1.json").unlink()
    for arguments in (["show", catalogue / "colour"], ["compare", *[catalogue / "colour"] * 2]):
        code, _, err = features(*arguments)
        assert code == 2
        assert "run the same extraction again" in err
