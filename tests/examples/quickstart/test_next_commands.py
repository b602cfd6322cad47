from pathlib import Path

import pytest

from examples.quickstart.__main__ import _next_commands
from mmssl.project import Project


@pytest.mark.parametrize(
    ("root", "another", "at"),
    [
        ("quickstart", False, ""),
        ("quickstart", True, " --project quickstart"),
        ("my folder", False, " --project 'my folder'"),
    ],
)
def test_the_commands_to_go_on_with_act_on_what_was_made(tmp_path, monkeypatch, root, another, at):
    monkeypatch.chdir(tmp_path)
    for folder in (root, *(["."] if another else [])):
        Path(folder).mkdir(exist_ok=True)
        Path(folder, "items.csv").touch()
    extract, train, *_ = _next_commands(Project(Path(root)), Path(root) / "runs" / "quickstart-1")
    assert extract == f"extract --modality image{at}"
    assert train == f"train{at} seed=2"
