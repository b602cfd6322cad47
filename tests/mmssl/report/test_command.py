"""The command `report`: its defaults, what it prints, what it refuses."""

import sys

import pytest

import cli


@pytest.fixture
def project(tmp_path, items, run, dataset_folder, monkeypatch):
    """A project folder with a table, a dataset and a finished run; it is the working folder."""
    home = items.parent
    (home / "data").symlink_to(dataset_folder)
    (home / "runs").mkdir()
    (home / "runs" / "first").symlink_to(run)
    monkeypatch.chdir(home)
    return home


def call(capsys, *arguments):
    with pytest.raises(SystemExit) as end:
        cli.run(cli.app, ["report", *map(str, arguments)])
    out, err = capsys.readouterr()
    return end.value.code, out, err


def test_bare_it_takes_the_latest_run_and_the_projects_table(project, capsys, read_page):
    code, out, err = call(capsys, "--out", "page.html", "--colour", "kind", "--users", "u3,u1")
    assert (code, err) == (0, "")
    assert "report: page.html (" in out
    page = read_page(project / "page.html")
    assert "Picture of" in " ".join(image["alt"] for image in page.all("img"))
    assert "named in the command" in page.text
    assert "--items items.csv --colour kind --users u3,u1" in page.text
    assert "kind 0" in page.text


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "--out"),
        (
            ["--out", "p.html", "--model", "runs/first", "--column", "image=x"],
            "it is about --items",
        ),
        (["--out", "p.html", "--column", "image=photo"], "no column 'photo'"),
        (["--out", "p.html", "--users", ""], "an empty user id"),
        (["--out", "items.csv"], "name a file ending in .html"),
        (["--out", "data/page.html/x.html", "--model", "no"], "no trained model here"),
        (
            ["--out", "p.html", "--model", "runs/first", "--items", "items.csv", "--project", "."],
            "nothing is left for it",
        ),
    ],
)
def test_what_is_wrong_is_one_line_and_exit_code_2(project, capsys, arguments, says):
    code, out, err = call(capsys, *arguments)
    assert (code, out) == (2, "")
    assert says in err
    assert err.startswith("error: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize("library", ["jinja2", "matplotlib"])
def test_without_the_extra_it_says_what_to_install(project, capsys, monkeypatch, library):
    monkeypatch.setitem(sys.modules, library, None)
    code, _, err = call(capsys, "--out", "page.html")
    assert code == 2
    assert "report needs the extra 'report': run pip install 'mmssl-toolkit[report]'" in err
    assert not (project / "page.html").exists()
