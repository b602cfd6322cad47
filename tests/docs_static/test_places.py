"""Every file, make target and page that a page, a docstring or a comment names is there."""

import re
from collections.abc import Iterator
from pathlib import Path

from tests.doc_pages import ROOT, Page, pages, read
from tests.docs_static.test_commands import SOURCES, docstrings, shell_and_spans

PAGES = pages()
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
FOLDERS = "docs|configs|benchmarks|examples|tests|mmssl|extract|shared"
A_PATH = re.compile(rf"(?<![\w./-])(?:{FOLDERS}|\.ci)/[\w./*-]*[\w*/]")
# Below mmssl/ or extract/, as pages about the code write them.
A_MODULE = re.compile(r"(?:[a-z_]+/)+[a-z_]+\.py")


def exists(path: str) -> bool:
    """Whether the repository has it; capitals stand for any name."""
    pattern = re.sub(r"\b[A-Z]{3,}\b", "*", path).rstrip("/")
    return any(True for _ in ROOT.glob(pattern))


def named(text: str) -> Iterator[str]:
    for path in A_PATH.findall(text):
        # `shared/taste` is a reader's own folder, `../shared` is not ours either.
        if not path.startswith("shared/"):
            yield path


def test_a_path_of_the_repository_that_a_page_names_is_there():
    seen = 0
    for page in PAGES:
        for line in shell_and_spans(page):
            if "pip install" in line or "://" in line:
                continue
            for path in named(line):
                seen += 1
                assert exists(path), f"{page.name}: {line}: {path} is not there"
            for path in A_MODULE.findall(line) if A_MODULE.fullmatch(line) else ():
                seen += 1
                found = [exists(place + path) for place in ("", "mmssl/", "extract/")]
                assert any(found), f"{page.name}: {path} is not there"
    assert seen > 60


def test_a_page_that_code_names_is_there():
    seen = 0
    for source in SOURCES:
        for line, text in docstrings(source):
            for path in re.findall(r"(?<![\w./-])docs/[\w./-]*\w", text):
                seen += 1
                assert exists(path), f"{source.relative_to(ROOT)}:{line}: {path} is not there"
    assert seen >= 8


def test_a_make_target_that_a_page_names_exists():
    seen = 0
    changelog = read(ROOT / "CHANGELOG.md")
    for page in (*PAGES, changelog):
        for line in shell_and_spans(page):
            for target in re.findall(r"(?:^|\s)make ([a-z][a-z-]*)", line):
                seen += 1
                assert target in TARGETS, f"{page.name}: {line}: no target {target}"
            if "make" in line.split():
                for variable in re.findall(r"\b([A-Z_]{4,})=", line):
                    known = f"{variable} ?=" in MAKEFILE or variable.startswith("MMSSL_")
                    assert known, f"{page.name}: {line}: no variable {variable}"
    assert seen > 10


def slug(heading: str) -> str:
    """The anchor of a heading, as GitHub and MyST make it."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def anchors(page: Page) -> set[str]:
    return {slug(heading) for heading in page.headings}


def test_a_link_within_the_repository_leads_somewhere():
    seen = 0
    for page in (*PAGES, read(ROOT / "CHANGELOG.md")):
        for link in page.links:
            if re.match(r"[a-z]+:", link.text):
                continue
            seen += 1
            where = f"{page.name}:{link.line}: {link.text}"
            path, _, anchor = link.text.partition("#")
            target = (page.path.parent / path).resolve() if path else page.path
            assert target.exists(), f"{where}: there is no such file"
            assert target.is_relative_to(ROOT), f"{where}: leads out of the repository"
            if anchor:
                assert anchor in anchors(read(target)), f"{where}: there is no such heading"
    assert seen > 80


def test_every_page_is_in_the_table_of_contents():
    listed = set()
    for page in PAGES:
        for tree in re.findall(r"```\{toctree\}\n(.*?)```", page.text, re.DOTALL):
            for entry in tree.splitlines():
                if entry and not entry.startswith(":"):
                    listed.add((page.path.parent / f"{entry}.md").resolve())
    there = {page.path for page in PAGES if Path("docs") in page.path.relative_to(ROOT).parents}
    assert there - listed == {ROOT / "docs/index.md"}


def test_what_is_not_there_is_found():
    assert not exists("configs/tiktok_minus.yaml")
    assert exists("configs/tune/MODEL.yaml")
    assert list(named("see docs/nowhere.md and mydocs/x")) == ["docs/nowhere.md"]
    assert slug("What each part is worth: `plus`") == "what-each-part-is-worth-plus"
