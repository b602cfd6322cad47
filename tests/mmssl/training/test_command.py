"""The command `train`: what it prints, where it writes, what it refuses."""

import signal
import subprocess
import sys
from functools import partial
from inspect import signature
from pathlib import Path

import pytest
import yaml

import cli
from mmssl.data.dataset import Dataset
from mmssl.models import MODELS, config_class
from mmssl.training import trainer
from mmssl.training.signals import TrainingInterrupted

SMALL = ("backbone.embedding_dim=8", "optimiser.batch_users=16", "optimiser.epochs=1")


@pytest.fixture
def project(tmp_path, dataset_folder, monkeypatch):
    """A project folder with a prepared dataset; it is the working folder."""
    (tmp_path / "items.csv").write_text("item_id\n0\n")
    (tmp_path / "data").symlink_to(dataset_folder)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(capsys, *arguments):
    with pytest.raises(SystemExit) as end:
        cli.run(cli.app, ["train", *map(str, arguments)])
    out, err = capsys.readouterr()
    return end.value.code, out, err


def test_bare_it_takes_the_project_and_a_new_folder_each_time(project, capsys):
    for n in (1, 2):
        code, out, err = call(capsys, *SMALL)
        assert code == 0, err
        assert "dataset: data" in out
        assert f"run: runs/quickstart-{n}" in out
        assert "epoch 1: loss " in err
    assert Dataset.open(project / "data").test_reads() == 0


def test_bare_it_goes_on_with_an_unfinished_run_of_the_same_settings(project, capsys):
    """Stopped after its first epoch by the process's own signal, as Ctrl-C would."""
    train = "mmssl.training.trainer.train"
    whole = call(capsys, *SMALL, "optimiser.epochs=3")
    assert whole[0] == 0

    def stopped_after(epoch, _):
        if epoch == 1:
            raise TrainingInterrupted(signal.SIGINT, "in the test")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, partial(trainer.train, on_epoch=stopped_after))
        assert call(capsys, *SMALL, "optimiser.epochs=3")[0] == 130
    code, out, err = call(capsys, *SMALL, "optimiser.epochs=3")
    assert (code, "going on after epoch 1" in err, "epoch 1:" in err) == (0, True, False)
    assert "run: runs/quickstart-2" in out
    # Other settings are another run, and so is the same one once it is finished.
    for more in (["seed=5"], []):
        code, out, err = call(capsys, *SMALL, "optimiser.epochs=3", *more)
        assert (code, "going on" in err) == (0, False)


@pytest.mark.parametrize("name", [name for name in MODELS if name != "mmssl"])
def test_a_model_that_is_named_alone_has_its_preset(project, capsys, name):
    code, out, err = call(capsys, "--print-config", f"model={name}", "seed=7")
    assert (code, err) == (0, "")
    shown = yaml.safe_load(out)
    assert (shown["model"], shown["seed"]) == (name, 7)


def test_print_config_shows_every_setting_and_trains_nothing(project, capsys):
    code, out, _ = call(capsys, "--print-config", "seed=7", "contrast.weight=1e-3")
    shown = yaml.safe_load(out)
    assert code == 0
    assert (shown["seed"], shown["contrast"]["weight"]) == (7, 0.001)
    assert shown["relations"]["refresh"] == 1
    assert not (project / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--data", "nowhere"], "nowhere"),
        (["--config", "nowhere.yaml"], "nowhere.yaml: no such configuration file"),
        (["--device", "tpu"], "unknown device"),
        (["--project", ".", "--data", "data", "--out", "x"], "nothing is left for it"),
        (["seeed=1"], "did you mean 'seed'?"),
        (
            ["--epochs", "3"],
            "No such option: --epochs; settings are written KEY=VALUE, without dashes;"
            " did you mean 'optimiser.epochs'?",
        ),
        (["--embedding-dim=3"], "did you mean 'backbone.embedding_dim'?"),
        (["model=mgcn", "--nieghbours", "3"], "did you mean 'neighbours'?"),
        (["--zzz"], "without dashes; --print-config shows all settings"),
        (["--confg", "a.yaml"], "(Possible options: --config, --print-config); settings are"),
        (["device=cuda"], "'device=cuda': no setting but the option --device; write --device cuda"),
        (["save-minutes=3"], "the option --save-minutes; write --save-minutes 3"),
        (["overwrite=true"], "the option --overwrite; write --overwrite\n"),
        (["--out", "items.csv"], "a file stands where the run folder should be"),
        (["--out", "."], "not empty and not a training run"),
        (["--tracker", "tensorbord"], "did you mean 'tensorboard'?"),
        (["--save-minutes", "0"], "save_minutes 0.0: the time between checkpoints is above 0"),
    ],
)
def test_what_is_wrong_is_one_line_and_exit_code_2(project, capsys, arguments, says):
    code, _, err = call(capsys, *arguments, *SMALL)
    assert code == 2
    assert says in err
    assert err.count("\n") == 1


def test_no_setting_is_called_as_an_option():
    options = set(signature(cli.train).parameters) - {"settings"}
    assert "save_minutes" in options
    for name in MODELS:
        assert options.isdisjoint(config_class(name, "the test").model_fields)


def test_of_several_processes_the_first_of_a_machine_says_what_is_wrong(
    project, capsys, monkeypatch
):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    for local, lines in (("0", 1), ("1", 0)):
        monkeypatch.setenv("LOCAL_RANK", local)
        code, out, err = call(capsys, "seeed=1")
        assert (code, out, err.count("\n")) == (2, "", lines)


@pytest.mark.parametrize(
    "arguments",
    [
        ["evaluate", "--model", "popularity", "--data", "data", "--project", "."],
        ["recommend", "--model", "runs/x", "--out", "recs.csv", "--project", "."],
    ],
)
def test_a_project_that_would_be_ignored_is_refused(project, capsys, arguments):
    with pytest.raises(SystemExit) as end:
        cli.run(cli.app, arguments)
    assert end.value.code == 2
    assert "nothing is left for it" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["INT", "TERM"]
)
def test_a_signal_saves_and_exits_with_its_code(project, capsys, number, exit_code):
    command = [
        *(sys.executable, Path(cli.__file__), "train", "--data", "data", "--out", "run"),
        *("backbone.embedding_dim=8", "optimiser.batch_users=1", "optimiser.patience=1000"),
    ]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr.readline().startswith("epoch 1: ")
    code, _, err = call(capsys, *command[3:])
    assert (code, err.count("\n")) == (2, 1)
    assert "run: another training is writing this run" in err
    process.send_signal(number)
    *epochs, last = process.stderr.read().splitlines()
    assert process.wait() == exit_code
    assert all(line.startswith("epoch ") for line in epochs)
    assert last.startswith(f"error: stopped by {number.name}: all is saved up to ")
    assert "give the same command with --out run and" in last

    going_on = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    saved = last.partition("up to ")[2].partition(";")[0]
    assert going_on.stderr.readline() == f"going on after {saved}\n"
    going_on.kill()
    going_on.wait()
    going_on.stderr.close()
    process.stderr.close()
