"""The quickstart on a small drawn sample, with the packaged encoders and short training."""

import contextlib
import io
import json
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

import cli
import mmssl
from examples.quickstart.__main__ import quickstart
from extract import FeatureStore
from extract.tables import read_table

ROOT = Path(__file__).parents[2]
MODALITIES = ("image", "text", "audio")
ITEMS, USERS = 40, 60


def written(folder):
    """Every file below a folder, with its content and time."""
    return {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in folder.rglob("*") if p.is_file()}


def run_bare(*arguments: str) -> str:
    """A command as one types it in the working folder; returns what it printed."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), pytest.raises(SystemExit) as stop:
        cli.run(cli.app, list(arguments))
    assert stop.value.code == 0
    return printed.getvalue()


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A folder in which the quickstart was run once, as at the root of a clone."""
    folder = tmp_path_factory.mktemp("clone")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            quickstart(["optimiser.epochs=3"], sample="drawn", items=ITEMS, users=USERS)
        (folder / "printed.txt").write_text(printed.getvalue(), encoding="utf-8")
        yield folder


def test_it_extracts_trains_recommends_and_writes_the_page(root):
    project = root / "quickstart"
    ids = read_table(project / "items.csv")["item_id"].to_list()
    for modality in MODALITIES:
        store = FeatureStore.open(project / "features" / modality)
        assert store.is_complete
        assert store.ids() == ids
    # Every twentieth drawn item has no sound.
    assert FeatureStore.open(project / "features" / "audio").load().present.sum() == ITEMS - 2

    dataset = mmssl.Dataset.open(project / "data")
    assert sorted(dataset.item_ids.ids) == sorted(ids)
    assert len(dataset.user_ids) == USERS
    assert set(dataset.features) == set(MODALITIES)
    assert dataset.test_reads() == 0

    run = project / "runs" / "quickstart-1"
    recommended = read_table(run / "recommendations.csv")
    assert set(recommended["item_id"]) <= set(ids)
    assert set(recommended["user_id"]) == set(dataset.user_ids.ids)
    seen = set(zip(dataset.train.users.tolist(), dataset.train.items.tolist(), strict=True))
    pairs = zip(
        dataset.user_ids.rows(recommended["user_id"].to_list()).tolist(),
        dataset.item_ids.rows(recommended["item_id"].to_list()).tolist(),
        strict=True,
    )
    assert not seen & set(pairs)

    page = (project / "index.html").read_text(encoding="utf-8")
    validation = json.loads((run / "validation.json").read_text())
    assert f"{validation['metrics']['recall@20']:.4f}" in page
    assert f"{validation['popularity']['recall@20']:.4f}" in page
    assert "The users are simulated." in page


def test_it_prints_the_commands_and_that_users_are_simulated(root):
    printed = (root / "printed.txt").read_text(encoding="utf-8")
    for command in ("extract", "prepare", "train", "evaluate", "recommend"):
        assert f"cli.py {command} " in printed
    assert "users and their" in printed
    assert "simulated" in printed
    assert "drawn by the quickstart itself" in printed


def test_the_bare_commands_find_the_quickstart(root):
    before = written(root / "quickstart" / "features")
    said = run_bare("extract", "--modality", "image")
    assert "project: quickstart" in said
    assert written(root / "quickstart" / "features") == before

    runs = set((root / "quickstart" / "runs").iterdir())
    said = run_bare("train")
    assert "quickstart/data" in said
    (new,) = set((root / "quickstart" / "runs").iterdir()) - runs
    assert json.loads((new / "metrics.json").read_text())["epochs"] > 3
    # The newest run is the one that is asked.
    assert str(new.relative_to(root)) in run_bare("evaluate")


def test_a_second_run_keeps_media_and_features_and_trains_anew(root):
    project = root / "quickstart"
    kept = [written(project / part) for part in ("media", "features")]
    runs = set((project / "runs").iterdir())
    quickstart(["optimiser.epochs=1"], sample="drawn", items=ITEMS, users=USERS)
    assert [written(project / part) for part in ("media", "features")] == kept
    assert len(set((project / "runs").iterdir()) - runs) == 1


def test_the_notebook_runs_on_it_and_names_the_public_api(root, monkeypatch):
    notebook = nbformat.read(ROOT / "examples" / "python_api.ipynb", as_version=4)
    source = "\n".join(cell.source for cell in notebook.cells)
    for name in (
        "extract.run",
        "extract.FeatureStore.open",
        "mmssl.Dataset",
        "mmssl.train",
        "mmssl.evaluate",
        "mmssl.Recommender",
    ):
        assert name in source
    (parameters,) = (c for c in notebook.cells if "parameters" in c.metadata.get("tags", []))
    parameters.source += f"\nproject = Path({str(root / 'quickstart')!r})\nepochs = 2"
    # The kernel is a process of its own.
    monkeypatch.setenv("PYTHONPATH", str(ROOT))

    NotebookClient(notebook, timeout=300, kernel_name="python3").execute()

    printed = "".join(o.get("text", "") for c in notebook.cells for o in c.get("outputs", []))
    assert f"packaged:whisper-tiny-en ({ITEMS}, 384) {ITEMS - 2} present" in printed
    run = json.loads((root / "quickstart" / "runs" / "notebook" / "metrics.json").read_text())
    assert f"validation Recall@20 {run['metrics']['recall@20']:.4f}" in printed
    assert f"popularity           {run['popularity']['recall@20']:.4f}" in printed
