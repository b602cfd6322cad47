import os
from pathlib import Path

import pytest

from extract.errors import InputError
from mmssl.project import Project


def test_the_working_folder_comes_before_the_quickstart(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="no project here"):
        Project.find(None)
    (tmp_path / "quickstart").mkdir()
    (tmp_path / "quickstart" / "items.csv").touch()
    assert Project.find(None).data == Path("quickstart/data")
    (tmp_path / "items.csv").touch()
    assert Project.find(None).data == Path("data")


def test_a_named_project_must_exist(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        Project.find(tmp_path / "nowhere")
    assert Project.find(tmp_path).features("image") == tmp_path / "features" / "image"


def test_a_bare_train_takes_the_next_free_folder_and_evaluate_the_run_finished_last(tmp_path):
    project = Project(tmp_path)
    with pytest.raises(InputError, match="no finished run"):
        project.latest_run()
    for age, name in enumerate(("tiktok-1", "mine", "tiktok-2")):
        run = tmp_path / "runs" / name
        run.mkdir(parents=True)
        (run / "metrics.json").touch()
        os.utime(run / "metrics.json", ns=(age, age if name != "mine" else 99))
    (tmp_path / "runs" / "unfinished").mkdir()
    assert project.next_run("tiktok") == tmp_path / "runs" / "tiktok-3"
    assert project.latest_run() == tmp_path / "runs" / "mine"
