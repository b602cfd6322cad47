"""The command ``prepare`` as a person types it."""

from typing import get_args, get_type_hints

import pytest

import cli
from mmssl.data.dataset import Dataset
from mmssl.data.prepare_config import PrepareConfig


@pytest.fixture
def type_in(capsys):
    """Run a command line; returns exit code, standard output and standard error."""

    def run(*arguments):
        with pytest.raises(SystemExit) as left:
            cli.run(cli.app, ["prepare", *map(str, arguments)])
        return left.value.code, *capsys.readouterr()

    return run


def arguments(ready_split):
    parts = [text for name in ("train", "val", "test") for text in (f"--{name}", ready_split[name])]
    for modality, path in ready_split["features"].items():
        parts += ["--features", f"{modality}={path}"]
    return [*parts, "--out", ready_split["out"]]


def test_a_ready_split_with_two_modalities(type_in, ready_split):
    code, out, err = type_in(*arguments(ready_split))
    assert (code, err) == (0, "")
    assert "8 users, 12 items" in out
    assert "20 / 10 / 10 interactions (training / validation / test)" in out
    assert "image: 3 dimensions, 12 items, missing for 0 (0.0%)" in out
    assert list(Dataset.open(ready_split["out"]).features) == ["image", "audio"]
    code, out, _ = type_in(*arguments(ready_split))
    assert code == 0
    assert "already there, unchanged" in out


def test_every_option_reaches_the_configuration(type_in, tmp_path):
    path = tmp_path / "seen.tsv"
    path.write_text("".join(f"{u}\t{i}\t{(u + i) % 5}\t{i}\n" for u in range(6) for i in range(9)))
    code, out, err = type_in(
        *("--interactions", path, "--columns", "user=0,item=1,rating=2,timestamp=3"),
        *("--no-header", "--invalid-rows", "drop", "--min-rating", "1", "--duplicates", "first"),
        *("--user-core", "2", "--item-core", "3", "--split", "temporal-user"),
        *("--ratios", "0.6,0.2,0.2", "--seed", "5", "--out", tmp_path / "d"),
    )
    assert (code, err) == (0, "")
    assert "rating < 1: removed" in out
    assert Dataset.open(tmp_path / "d").manifest.settings == {
        "columns": {"user": 0, "item": 1, "rating": 2, "timestamp": 3},
        "header": False,
        "invalid_rows": "drop",
        "min_rating": 1.0,
        "duplicates": "first",
        "user_core": 2,
        "item_core": 3,
        "split": "temporal-user",
        "ratios": [0.6, 0.2, 0.2],
        "seed": 5,
        "unknown_items": None,
    }


def test_a_project_folder_is_enough(type_in, tmp_path):
    (tmp_path / "items.csv").write_text("item_id\na\nb\ncold\n")
    (tmp_path / "interactions.csv").write_text("user,item\nu,a\nu,b\nv,a\nv,gone\n")
    code, out, _ = type_in("--project", tmp_path)
    assert code == 0
    assert "2 users, 3 items" in out
    assert "row 4: item 'gone'" in out
    assert f"{tmp_path / 'data'}: written" in out


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--features", "image"], "not of the form NAME=PATH"),
        (["--features", "image=a.npy", "--features", "image=b.npy"], "'image' is given twice"),
        (["--split", "by-moon"], "Invalid value for '--split'"),
        (["--feature-ids", "image=x"], "there is no --features image="),
        (["--interactions", "gone.csv"], "gone.csv: no such file"),
        (["--no-such-option"], "No such option"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(type_in, tmp_path, extra, message):
    path = tmp_path / "seen.csv"
    path.write_text("user,item\na,x\n")
    code, out, err = type_in("--interactions", path, "--out", tmp_path / "d", *extra)
    assert code == 2
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert message in err


def test_the_choices_offered_are_those_of_the_configuration():
    offered = get_type_hints(cli.prepare)
    for option in ("invalid_rows", "duplicates", "split", "unknown_items"):
        choices = {value for kind in get_args(offered[option]) for value in get_args(kind)}
        field = PrepareConfig.model_fields[option].annotation
        valid = set(get_args(field)) | {v for kind in get_args(field) for v in get_args(kind)}
        assert choices
        assert choices <= valid
        assert {value for value in valid if isinstance(value, str)} == choices
