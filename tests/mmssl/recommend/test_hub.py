import json
import os
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from huggingface_hub import ModelCard, constants
from scipy.sparse import csr_array

import cli
from extract.errors import InputError
from mmssl.recommend.hub import from_pretrained, pull, push
from mmssl.recommend.recommender import Recommender
from tests.mmssl.recommend.fake_hub import FakeHub, serving


@pytest.fixture
def run(saved, tmp_path) -> Path:
    saved.save(tmp_path / "run" / "model")
    (tmp_path / "run" / "log.jsonl").write_text("{}")
    return tmp_path / "run"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_pushed_and_pulled_model_recommends_the_same_to_the_bit(run, saved, tmp_path):
    push(run, str(tmp_path / "shared"))
    pull(str(tmp_path / "shared"), tmp_path / "here")
    expected = Recommender(saved, "cpu").recommend(k=5)
    assert Recommender.load(tmp_path / "here", "cpu").recommend(k=5).equals(expected)
    assert contents(tmp_path / "here") == contents(run / "model")
    loaded = from_pretrained(str(tmp_path / "shared"))
    assert Recommender(loaded, "cpu").recommend(k=5).equals(expected)


def test_a_transfer_says_what_it_carried(run, tmp_path):
    shared, here = tmp_path / "shared", tmp_path / "here"
    counted = "mmssl, variant paper, users 4, items 5"
    assert push(run, str(shared)).lines()[0] == f"{shared}: {counted}; from {run}"
    lines = pull(str(shared), here).lines()
    assert lines[0] == f"{here}: {counted}; from {shared}"
    assert "users' ids" in lines[1]


def test_the_card_is_one_that_a_hub_reads(run, tmp_path):
    push(run, str(tmp_path / "shared"), license="apache-2.0")
    card = ModelCard.load(tmp_path / "shared" / "README.md")
    assert card.data.license == "apache-2.0"
    assert card.data.library_name == "mmssl-toolkit"
    assert {"recommendation", "mmssl", "image", "audio"} <= set(card.data.tags)
    figures = {each.metric_type: each.metric_value for each in card.data.eval_results}
    assert figures == {"recall@20": 0.25, "ndcg@20": 0.125}
    result = card.data.eval_results[0]
    assert (result.dataset_name, result.dataset_split) == ("small", "validation")
    assert result.dataset_revision == "0" * 64
    for section in ("## Intended use", "## Personal data", "## Limits"):
        assert section in card.text
    assert "`seen.safetensors` what each of them interacted with" in card.text


def test_without_a_licence_or_figures_the_card_names_none(saved, tmp_path):
    info = saved.info.model_copy(update={"metrics": {}, "name": "a: b\n---"})
    replace(saved, info=info).save(tmp_path / "model")
    text = (tmp_path / "model" / "README.md").read_text()
    data = yaml.safe_load(text.split("\n---\n")[0].removeprefix("---\n"))
    assert "license" not in data
    assert "model-index" not in data
    assert "a: b\n---" in data["tags"]


def add(name: str, data: bytes):
    return lambda folder: (folder / name).write_bytes(data)


def as_link(folder: Path) -> None:
    (folder.parent / "elsewhere").write_bytes((folder / "users.parquet").read_bytes())
    (folder / "users.parquet").unlink()
    (folder / "users.parquet").symlink_to(folder.parent / "elsewhere")


def naming(name: str):
    def harm(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        config["files"][name] = "0" * 64
        (folder / "config.json").write_text(json.dumps(config))

    return harm


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (add("weights.pkl", pickle.dumps({})), "holds 'weights.pkl'"),
        (add("modeling.py", b"import os"), "holds 'modeling.py'"),
        (lambda folder: (folder / "more").mkdir(), "holds 'more'"),
        (as_link, "a link"),
        (naming("../../secret"), "expected the digests of"),
        (naming("/etc/passwd"), "expected the digests of"),
        (naming("more.safetensors"), "expected the digests of"),
        (add("vectors.safetensors", b"damaged"), "changed or damaged"),
        (lambda folder: (folder / "seen.safetensors").unlink(), "missing"),
        (add("config.json", b"{"), "not readable as JSON"),
        (lambda folder: (folder / "config.json").unlink(), "no model folder"),
    ],
)
def test_a_folder_that_is_no_model_is_refused_and_nothing_taken(run, tmp_path, harm, says):
    push(run, str(tmp_path / "shared"))
    harm(tmp_path / "shared")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(InputError, match=says) as refusal:
        pull(str(tmp_path / "shared"), tmp_path / "here")
    assert str(tmp_path / "shared") in str(refusal.value)
    assert ".tmp" not in str(refusal.value)
    assert sorted(tmp_path.iterdir()) == before
    with pytest.raises(InputError, match=says):
        from_pretrained(str(tmp_path / "shared"))


def test_hidden_files_are_a_hub_s_own_and_stay_behind(run, tmp_path):
    push(run, str(tmp_path / "shared"))
    (tmp_path / "shared" / ".gitattributes").write_text("*.safetensors filter=lfs")
    (tmp_path / "shared" / ".git").mkdir()
    pull(str(tmp_path / "shared"), tmp_path / "here")
    assert not [path for path in (tmp_path / "here").iterdir() if path.name.startswith(".")]


def test_only_a_model_folder_is_replaced(run, saved, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    for carry in (lambda: push(run, str(mine)), lambda: pull(str(run), mine)):
        with pytest.raises(InputError, match="left as it is"):
            carry()
    assert (mine / "thesis.txt").read_text() == "years of work"
    with pytest.raises(InputError, match="a file stands"):
        push(run, str(mine / "thesis.txt"))
    graph = csr_array(np.eye(5, dtype=np.float32))
    replace(saved, item_graph=graph).save(tmp_path / "other")
    push(tmp_path / "other", str(tmp_path / "shared"))
    assert (tmp_path / "shared" / "item_graph.safetensors").exists()
    push(run, str(tmp_path / "shared"))
    assert not (tmp_path / "shared" / "item_graph.safetensors").exists()


@pytest.mark.parametrize("place", ["hub:name", "hub:a/b/c", "hub:../..", "hub:a/b@", "hub:"])
def test_a_place_on_the_hub_has_an_owner_and_a_name(run, tmp_path, place):
    with pytest.raises(InputError, match="hub"):
        push(run, place)
    with pytest.raises(InputError, match="hub"):
        pull(place, tmp_path / "here")
    assert not (tmp_path / "here").exists()


def test_what_does_not_apply_is_said(run, tmp_path):
    with pytest.raises(InputError, match="--public does not apply"):
        push(run, str(tmp_path / "shared"), public=True)
    with pytest.raises(InputError, match="a revision is made by pushing"):
        push(run, "hub:a/b@main")
    with pytest.raises(InputError, match="no trained model here"):
        push(tmp_path / "nothing", str(tmp_path / "shared"))
    with pytest.raises(InputError, match="no model folder"):
        pull(str(tmp_path / "nothing"), tmp_path / "here")


PROGRAM = """
import contextlib, io, json, sys
import cli
for arguments in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try: cli.run(cli.app, arguments)
        except SystemExit as stop: code = stop.code
    print(json.dumps([code, out.getvalue(), err.getvalue()]))
"""


def at_hub(address: str, folder: Path, *commands: list[str]) -> list[tuple[int, str, str]]:
    """What each of the commands printed, in a process whose hub is at the address."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(commands)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[3],
        env=os.environ
        | {"HF_ENDPOINT": address, "HF_HUB_OFFLINE": "0", "HF_HOME": str(folder / "home")}
        | {"HF_TOKEN": "hf_none", "HF_HUB_DISABLE_XET": "1"},
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_model_goes_to_a_hub_and_comes_back_and_a_public_place_is_asked_for(run, saved, tmp_path):
    hub = FakeHub()
    hub.private |= {"me/open": False, "me/strange": True}
    first = hub.commit("me/open", {".gitattributes": b"", "item_graph.safetensors": b"old"})
    hub.commit("me/strange", {"config.json": b"{}", "pytorch_model.bin": b"", "run.py": b""})
    model, out = str(run), tmp_path / "pulled"
    with serving(hub) as address:
        told = at_hub(
            address,
            tmp_path,
            ["push", "--model", model, "--to", "hub:me/taste"],
            ["pull", "--from", "hub:me/taste", "--out", str(out)],
            ["push", "--model", model, "--to", "hub:me/open"],
            ["push", "--model", model, "--to", "hub:me/open", "--public"],
            ["pull", "--from", f"hub:me/open@{first}", "--out", str(tmp_path / "first")],
            ["pull", "--from", "hub:me/strange", "--out", str(tmp_path / "strange")],
            ["pull", "--from", "hub:me/nothing", "--out", str(tmp_path / "nothing")],
            ["pull", "--from", "hub:me/taste@v9", "--out", str(tmp_path / "v9")],
            ["push", "--model", model, "--to", "hub:others/forbidden"],
        )
    codes = [code for code, _, _ in told]
    assert codes == [0, 0, 2, 0, 2, 2, 2, 2, 2], told
    assert hub.private["me/taste"]
    ((sha, files),) = hub.commits["me/taste"]
    assert files == contents(run / "model")
    assert told[0][1].startswith(f"hub:me/taste@{sha}: mmssl, variant paper, users 4, items 5")
    assert f"from hub:me/taste@{sha}" in told[1][1]
    assert contents(out) == contents(run / "model")
    expected = Recommender(saved, "cpu").recommend(k=5)
    assert Recommender.load(out, "cpu").recommend(k=5).equals(expected)
    assert "everybody can read" in told[2][2]
    # What an earlier model left is gone, the hub's own file is not.
    assert set(hub.commits["me/open"][-1][1]) == {".gitattributes", *contents(run / "model")}
    assert len(hub.commits["me/open"]) == 2
    says = ["", "", "--public", "", "config.json: missing", "'pytorch_model.bin'"]
    says += [
        "no such repository",
        "no such revision",
        "hub:others/forbidden: a remote store cannot",
    ]
    for (_, _, err), words in zip(told, says, strict=True):
        assert words in err
        assert err.count("\n") == (1 if words else 0), err
    assert not [
        name for name in ("first", "strange", "nothing", "v9") if (tmp_path / name).exists()
    ]


@pytest.mark.parametrize(
    ("arguments"),
    [["push", "--model", "run", "--to", "hub:me/taste"], ["pull", "--from", "hub:me/taste"]],
)
def test_a_hub_that_is_switched_off_is_one_line(run, tmp_path, monkeypatch, capsys, arguments):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)
    more = ["--out", "here"] if arguments[0] == "pull" else []
    with pytest.raises(SystemExit) as stop:
        cli.run(cli.app, arguments + more)
    out, err = capsys.readouterr()
    assert (stop.value.code, out) == (2, "")
    assert err.startswith("error: hub:me/taste: the model hub is switched off (HF_HUB_OFFLINE)")
    assert err.count("\n") == 1
    assert not (tmp_path / "here").exists()
