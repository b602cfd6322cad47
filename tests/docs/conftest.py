"""`make docs-test` runs these; `make test` does not."""

import pytest

from tests.doc_pages import pages, runs


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The list of the blocks that no test here runs."""
    terminalreporter.section("blocks that were not run, and why")
    for page in pages():
        for block in page.blocks:
            if runs(block) == "not run":
                terminalreporter.write_line(f"{page.name}:{block.line}: {block.not_run}")
