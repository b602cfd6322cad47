"""Every command that a page, a docstring or a help text shows exists, with its options."""

import ast
import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
import typer.main

import cli
from examples.pictures import pictures
from examples.quickstart.__main__ import quickstart
from tests.doc_pages import COMMANDS, ROOT, SHOWN, Page, pages

PAGES = pages()
PROGRAM = typer.main.get_command(cli.app)
SOURCES = sorted(
    path for folder in ("extract", "mmssl", "examples", "benchmarks", "configs")
    for path in (ROOT / folder).rglob("*") if path.suffix in (".py", ".yaml")
)  # fmt: skip
# What torch's and accelerate's launchers take, as the pages show them.
LAUNCHERS = {"--nproc_per_node", "--multi_gpu", "--num_processes", "--cpu"}
EXAMPLES = {"examples.pictures": pictures, "examples.quickstart": quickstart}


def program_of(function) -> object:
    app = typer.Typer(add_completion=False)
    app.command()(function)
    return typer.main.get_command(app)


def options_of(command: object) -> set[str]:
    return {name for p in command.params for name in (*p.opts, *p.secondary_opts)} | {"--help"}


def all_commands(command: object = PROGRAM, path: tuple[str, ...] = ()) -> Iterator[tuple]:
    below = getattr(command, "commands", None)
    if below is None:
        yield path, command
    for name, child in (below or {}).items():
        yield from all_commands(child, (*path, name))


EVERY_OPTION = set().union(*(options_of(command) for _, command in all_commands()))


def check(words: list[str], *, whole: bool) -> None:
    """Raise where ``words`` (behind the program's name) name what does not exist.

    ``whole``: the line is one to be typed as it stands, so that the program itself has to take it.
    """
    command, rest = PROGRAM, list(words)
    while getattr(command, "commands", None) and rest and not rest[0].startswith("-"):
        if not whole and rest[0].isupper():
            return  # A name for any of them.
        assert rest[0] in command.commands, f"no command {rest[0]!r}"
        command = command.commands[rest.pop(0)]
    known = options_of(command)
    for word in rest:
        if word.startswith("--"):
            assert word.partition("=")[0] in known, f"no option {word}"
    if whole and "--help" not in rest:
        command, arguments = PROGRAM, list(words)
        context = command.make_context("mmssl", list(arguments))
        while getattr(command, "commands", None):
            name, command, arguments = command.resolve_command(context, arguments)
            context = command.make_context(name, list(arguments), parent=context)


def behind_program(line: str) -> list[str] | None:
    """The words behind ``python cli.py``, ``mmssl`` or a launcher's ``cli.py``; None without."""
    try:
        words = shlex.split(line, comments=True)
    except ValueError:
        return None
    for n, word in enumerate(words):
        if word == "cli.py" or (word == "mmssl" and n == 0):
            end = next((k for k, w in enumerate(words) if w in ("|", ">", "&&", ";")), len(words))
            return words[n + 1 : end]
    return None


def lines_of(text: str) -> Iterator[str]:
    """Lines of shell, continued ones joined, without what a here-document holds."""
    end = None
    for line in text.replace("\\\n", " ").splitlines():
        if end is not None:
            end = None if line.strip() == end else end
            continue
        if found := re.search(r"<<'?(\w+)'?", line):
            end = found[1]
        yield line.strip()


def typed() -> list:
    return [
        pytest.param(words, id=f"{page.name}:{block.line}: {' '.join(words)[:60]}")
        for page in PAGES
        for block in page.blocks
        if block.language == "bash"
        for line in lines_of(block.text)
        if (words := behind_program(line)) is not None
    ]


@pytest.mark.parametrize("words", typed())
def test_a_command_to_be_typed_is_understood_by_the_program(words):
    check(words, whole=True)


NAMES = {path[0] for path, _ in all_commands()}


def mentioned(text: str) -> list[str] | None:
    """A command mentioned in a line: with the program's name, or by its own and more words."""
    words = behind_program(text)
    if words is not None:
        return words
    first, _, rest = text.partition(" ")
    return shlex.split(text) if first in NAMES and rest and "`" not in text else None


def test_a_command_that_a_line_mentions_exists_with_its_options():
    seen = 0
    for page in PAGES:
        for span in page.spans:
            words = mentioned(span.text)
            if words is not None:
                seen += 1
                try:
                    check(words, whole=False)
                except AssertionError as error:
                    pytest.fail(f"{page.name}:{span.line}: `{span.text}`: {error}")
    assert seen > 40


def test_an_option_that_a_line_mentions_exists():
    seen = 0
    for page in PAGES:
        for span in page.spans:
            if span.text.startswith("--"):
                seen += 1
                option = re.split(r"[ =]", span.text)[0]
                known = EVERY_OPTION | LAUNCHERS
                assert option in known, f"{page.name}:{span.line}: no command has {option}"
    assert seen > 60


def shell_and_spans(page: Page) -> Iterator[str]:
    yield from (span.text for span in page.spans)
    for block in page.blocks:
        if block.language == "bash":
            yield from lines_of(block.text)


def test_the_options_of_examples_and_benchmarks_exist():
    seen = 0
    for page in PAGES:
        for line in shell_and_spans(page):
            if found := re.search(r"python (benchmarks/\w+\.py)", line):
                source = (ROOT / found[1]).read_text(encoding="utf-8")
                known = set(re.findall(r"\"(--[\w-]+)\"", source))
                if "typer.run(main)" in source:
                    module = found[1].removesuffix(".py").replace("/", ".")
                    known = options_of(program_of(importlib.import_module(module).main))
            elif found := re.search(r"python -m (examples\.\w+)", line):
                known = options_of(program_of(EXAMPLES[found[1]]))
            else:
                continue
            seen += 1
            for option in re.findall(r"--[\w-]+", line):
                assert option in known, f"{page.name}: {line}: {found[1]} has no {option}"
    assert seen > 15


def docstrings(path: Path) -> Iterator[tuple[int, str]]:
    """Strings of a source that stand for themselves, and comments; of YAML, comments."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                yield node.lineno, str(node.value.value)
    for n, line in enumerate(text.splitlines(), start=1):
        if found := re.search(r"(?:^|\s)#(.*)", line):
            yield n, found[1]


def helps() -> Iterator[tuple[str, str]]:
    for path, command in all_commands():
        yield " ".join(path), command.help or ""
        for parameter in command.params:
            yield f"{' '.join(path)} {parameter.opts[0]}", parameter.help or ""


def prose() -> Iterator[tuple[str, str]]:
    yield from helps()
    yield "CHANGELOG.md", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    for path in SOURCES:
        for line, text in docstrings(path):
            yield f"{path.relative_to(ROOT)}:{line}", text


def test_a_command_that_code_or_the_changelog_mentions_exists():
    seen = 0
    for where, text in prose():
        for span in re.findall(r"`+([^`]+)`+", text):
            words = mentioned(" ".join(span.split()))
            if words is not None:
                seen += 1
                try:
                    check(words, whole=False)
                except AssertionError as error:
                    pytest.fail(f"{where}: `{span}`: {error}")
    assert seen > 15


def test_an_option_that_a_help_text_mentions_exists():
    seen = 0
    for where, text in helps():
        for option in re.findall(r"(?<![\w-])--[a-z][\w-]+", text):
            seen += 1
            assert option in EVERY_OPTION, f"{where}: no command has {option}"
    assert seen > 15


def test_the_readme_names_every_command():
    readme = next(page for page in PAGES if page.name == "README.md")
    rows = [line for line in readme.text.splitlines() if line.startswith("| `")]
    named = {name for row in rows for name in re.findall(r"`([a-z ]+)`", row.split("|")[1])}
    assert named == {" ".join(path) for path, _ in all_commands()}


def test_the_reference_has_a_heading_for_every_command():
    reference = next(page for page in PAGES if page.name == "docs/reference/commands.md")
    assert set(reference.headings[1:]) == {" ".join(path) for path, _ in all_commands()}


def test_every_block_says_its_language():
    for page in PAGES:
        for block in page.blocks:
            known = (*COMMANDS, *SHOWN)
            assert block.language in known, f"{page.name}:{block.line}: {block.language!r}"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("python cli.py trian --data data", "no command 'trian'"),
        ("mmssl train --date data", "no option --date"),
        ("torchrun --nproc_per_node 2 cli.py train --devise cpu", "no option --devise"),
        ("python cli.py features shew features/image", "no command 'shew'"),
    ],
)
def test_what_does_not_exist_is_found(line, says):
    with pytest.raises(AssertionError, match=says):
        check(behind_program(line), whole=False)
