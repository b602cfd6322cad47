"""Every block of commands on every page is run, in order, and ends with exit code 0.

A page that says it comes after another one finds the files that the other one made. What a page
cannot run here is marked with its reason; the list of these is printed at the end.
"""

import shutil
from pathlib import Path

import pytest
from filelock import FileLock

from tests.doc_pages import Page, pages, runs
from tests.docs.runner import copy_repository, session

ALL = {page.name: page for page in pages()}
WITH_COMMANDS = [page for page in ALL.values() if any(runs(b) == "run" for b in page.blocks)]


def ordered() -> list[Page]:
    """Pages in an order in which those come first whose files others need."""
    first = {page.after for page in WITH_COMMANDS} - {None}
    return sorted(WITH_COMMANDS, key=lambda page: (page.name not in first, page.name))


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """Where the pages' folders are; the workers of pytest-xdist share it."""
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "pages"
    folder.mkdir(exist_ok=True)
    return folder


def finished(page: Page, made: Path) -> Path:
    """The folder of a page whose blocks have all been run, each once in a session."""
    folder = made / page.name.replace("/", "-")
    done = folder / ".done"
    with FileLock(made / f"{folder.name}.lock"):
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            _prepare(page, made, folder)
            with session(page, folder, made / "server.lock") as runner:
                for block in page.blocks:
                    runner.run(block)
            done.touch()
    return folder


def _prepare(page: Page, made: Path, folder: Path) -> None:
    if page.after is None:
        copy_repository(folder)
    else:
        before = finished(ALL[page.after], made)
        notes = shutil.ignore_patterns(".cwd", ".done", ".server-*")
        shutil.copytree(before, folder, symlinks=True, ignore=notes)


@pytest.mark.parametrize("page", ordered(), ids=lambda page: page.name)
def test_every_command_of_the_page_runs(page, made):
    finished(page, made)
