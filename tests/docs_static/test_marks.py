"""What `make docs-test` makes of a page: marks are understood or refused, and failures are seen."""

import sys

import pytest

from tests import doc_pages
from tests.doc_pages import Block, MarkError, Page, read, runs
from tests.docs.runner import BlockError, session

FENCE = "```bash\ntrue\n```\n"


@pytest.fixture
def page_of(tmp_path, monkeypatch):
    monkeypatch.setattr(doc_pages, "ROOT", tmp_path)

    def make(text: str) -> Page:
        path = tmp_path / "page.md"
        path.write_text(text)
        return read(path)

    return make


def test_a_block_without_a_mark_is_run(page_of):
    (block,) = page_of(f"# A page\n\n{FENCE}").blocks
    assert (block.line, runs(block)) == (3, "run")


def test_a_marked_block_is_not_run_and_has_its_reason(page_of):
    page = page_of(f"<!-- docs-test: not run: needs a GPU -->\n{FENCE}\n{FENCE}")
    assert [(runs(b), b.not_run) for b in page.blocks] == [
        ("not run", "needs a GPU"),
        ("run", None),
    ]


def test_marks_within_a_list_belong_to_its_blocks(page_of):
    page = page_of(
        "1. First\n\n   <!-- docs-test: not run: installs -->\n   ```bash\n   pip\n   ```\n"
    )
    assert [(b.text, b.not_run) for b in page.blocks] == [("pip\n", "installs")]


def test_hidden_lines_and_the_page_before(page_of):
    page = page_of(
        f"<!-- docs-test: after: docs/a.md -->\n\n<!-- docs-test: setup\necho\n-->\n{FENCE}"
    )
    assert page.after == "docs/a.md"
    assert [(b.setup, b.text) for b in page.blocks] == [(True, "echo"), (False, "true\n")]


@pytest.mark.parametrize(
    "text",
    [
        f"<!-- docs-test: not run: I do not like it -->\n{FENCE}",
        f"<!-- docs-test: not run -->\n{FENCE}",
        f"<!-- docs-test: ignore -->\n{FENCE}",
        f"<!-- docs-test: not run: needs a GPU -->\n\nWords between.\n\n{FENCE}",
        "<!-- docs-test: not run: needs a GPU -->\n",
    ],
)
def test_a_mark_that_says_nothing_known_or_has_no_block_is_refused(page_of, text):
    with pytest.raises(MarkError):
        page_of(text)


@pytest.fixture
def run(tmp_path):
    def all_of(*blocks: Block) -> None:
        page = Page(doc_pages.ROOT / "README.md", "", list(blocks))
        with session(page, tmp_path, tmp_path / "lock") as runner:
            for block in blocks:
                runner.run(block)

    return all_of


def test_commands_share_a_working_folder_and_output_is_compared(run, tmp_path):
    run(
        Block(1, "bash", "mkdir sub && cd sub\n"),
        Block(2, "bash", "echo 'value: 0.57, good' && touch here\n"),
        Block(3, "text", "value: 0.…, good\n", output=True),
        Block(4, "python", "from pathlib import Path\nassert Path('here').exists()\n"),
    )
    assert (tmp_path / "sub/here").exists()


@pytest.mark.parametrize(
    ("blocks", "says"),
    [
        ([Block(7, "bash", "false | cat\n")], r"README.md:7: exit code 1"),
        ([Block(7, "bash", "false\ntrue\n")], "exit code 1"),
        ([Block(7, "python", "raise SystemExit(3)\n")], "exit code 3"),
        ([Block(6, "bash", "echo 1\n"), Block(7, "text", "2\n", output=True)], "no line like '2'"),
        (
            [Block(7, "bash", "false\n", background="http://127.0.0.1:9/none")],
            "no answer at http://127.0.0.1:9/none",
        ),
    ],
)
def test_a_block_that_fails_fails_the_page(run, blocks, says):
    with pytest.raises(BlockError, match=says):
        run(*blocks)


def test_a_server_is_asked_and_ended(run, tmp_path):
    server = (
        "import http.server, pathlib\n"
        "server = http.server.HTTPServer(('127.0.0.1', 0), http.server.SimpleHTTPRequestHandler)\n"
        "pathlib.Path('port').write_text(str(server.server_port))\n"
        "server.server_close()\n"
    )
    run(Block(1, "python", server))
    port = (tmp_path / "port").read_text()
    run(
        Block(
            2,
            "bash",
            f"{sys.executable} -m http.server --bind 127.0.0.1 {port}\n",
            background=f"http://127.0.0.1:{port}/port",
        ),
        Block(3, "bash", f"curl -fs http://127.0.0.1:{port}/port\n"),
        Block(4, "text", port, output=True),
    )
    with pytest.raises(BlockError, match="exit code 7"):
        run(Block(5, "bash", f"curl -fs http://127.0.0.1:{port}/port\n"))
