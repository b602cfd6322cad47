"""README and the pages of docs/, as the tests read them: blocks of code, and what is said of them.

What a test needs to know about a block stands in an HTML comment above it, which no reader sees:

- ``<!-- docs-test: not run: REASON -->``: the block cannot be run here; the reason begins with one
  of ``REASONS``.
- ``<!-- docs-test: background: URL -->``: the block starts a server, which the blocks below ask.
- ``<!-- docs-test: output -->``: the lines of this block of text stand in what the block above it
  printed; ``…`` stands for anything in a line.
- ``<!-- docs-test: after: PAGE -->``: the page goes on from the files that another one made.
- ``<!-- docs-test: setup`` and lines of shell: they are run where the comment stands.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[1]
REASONS = (
    "installs",
    "needs a model hub",
    "needs a network",
    "needs a GPU",
    "needs several machines",
    "needs hours",
    "needs minutes",
    "needs TikTok's files",
    "needs Docker",
    "a form",
)
COMMANDS = ("bash", "python")
SHOWN = ("text", "yaml", "json", "csv", "toml")
_COMMENT = re.compile(r"<!--\s*docs-test:\s*(.*?)-->", re.DOTALL)


@dataclass
class Block:
    """A fenced block, or the hidden lines of a set-up."""

    line: int
    language: str
    text: str
    setup: bool = False
    not_run: str | None = None
    background: str | None = None
    output: bool = False


@dataclass(frozen=True)
class Span:
    """Code within a line, or where a link or picture leads."""

    line: int
    text: str


@dataclass
class Page:
    """One Markdown file."""

    path: Path
    text: str
    blocks: list[Block] = field(default_factory=list)
    after: str | None = None
    spans: list[Span] = field(default_factory=list)
    """Code within lines."""
    links: list[Span] = field(default_factory=list)
    headings: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Where it is in the repository."""
        return self.path.relative_to(ROOT).as_posix()


class MarkError(ValueError):
    """A comment of ours that says nothing that we know."""


def pages() -> list[Page]:
    """README, then docs/ without the tables below docs/results, by name."""
    found = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [read(path) for path in found if (ROOT / "docs/results") not in path.parents]


def read(path: Path) -> Page:
    """A page with its blocks in order.

    Raises:
        MarkError: an unknown mark, or one without a block to belong to.
    """
    page = Page(path, path.read_text(encoding="utf-8"))
    pending: Block | None = None
    line = 0
    before = None
    for token in MarkdownIt("commonmark").enable("table").parse(page.text):
        line = token.map[0] + 1 if token.map else line
        if token.type == "inline":
            _note(page, token, line, heading=before == "heading_open")
        before = token.type
        if token.type == "html_block":
            for said in _COMMENT.findall(token.content):
                if pending is not None:
                    raise MarkError(f"{page.name}:{line}: the mark above has no block")
                pending = _marked(page, said.strip(), line)
        elif token.type == "fence" and not token.info.startswith("{"):
            page.blocks.append(_block(token, line, pending))
            pending = None
        elif pending is not None and token.type == "inline":
            raise MarkError(f"{page.name}:{line}: the mark above this line has no block")
    if pending is not None:
        raise MarkError(f"{page.name}: the last mark has no block")
    return page


def _note(page: Page, token: Token, line: int, *, heading: bool) -> None:
    """Keep what a line of prose names."""
    if heading:
        page.headings.append("".join(child.content for child in token.children or ()))
    for child in token.children or ():
        if child.type == "code_inline":
            page.spans.append(Span(line, child.content))
        elif child.type in ("link_open", "image"):
            page.links.append(Span(line, str(child.attrs.get("href") or child.attrs.get("src"))))


def _marked(page: Page, said: str, line: int) -> Block | None:
    """What a comment says of the block below it; a set-up and ``after`` are of the page."""
    kind, _, rest = said.partition(":")
    if said.startswith("setup\n"):
        page.blocks.append(Block(line, "bash", said.removeprefix("setup\n"), setup=True))
        return None
    if kind == "after":
        page.after = rest.strip()
        return None
    block = Block(line, "", "")
    if kind == "not run" and rest.strip().startswith(REASONS):
        block.not_run = rest.strip()
    elif kind == "background":
        block.background = rest.strip()
    elif kind == "output":
        block.output = True
    else:
        raise MarkError(f"{page.name}:{line}: no mark {said!r}; a reason begins with {REASONS}")
    return block


def _block(token: Token, line: int, marked: Block | None) -> Block:
    block = marked or Block(line, "", "")
    block.line, block.language, block.text = line, token.info.strip(), token.content
    return block


def runs(block: Block) -> Literal["run", "not run", "shown"]:
    """What becomes of a block."""
    if block.language in COMMANDS:
        return "not run" if block.not_run else "run"
    return "shown"
