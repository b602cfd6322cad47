"""Runs the blocks of one page, in order, in a scratch copy of the repository."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from tests.doc_pages import ROOT, Block, Page, runs

TIMEOUT = 600
READY = 120


class BlockError(AssertionError):
    """A block did not do what its page says."""


def copy_repository(to: Path) -> None:
    """The files that git tracks or would track, as a clone has them."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    )  # fmt: skip
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, to / name)


class Runner:
    """A page's session: the working folder and the servers that its blocks leave behind."""

    def __init__(self, page: Page, folder: Path, server_lock: FileLock) -> None:
        self.page = page
        self.server_lock = server_lock
        self.folder = folder
        self.cwd = folder
        self.printed = ""
        self.servers: list[tuple[Block, subprocess.Popen[bytes]]] = []
        programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.environment = {
            **os.environ,
            "PATH": programs,
            "HF_HUB_OFFLINE": "1",
            "COLUMNS": "100",
        }

    def run(self, block: Block) -> None:
        """Run one block, or compare one of output.

        Raises:
            BlockError: an exit code other than 0, no answer in time, or other output.
        """
        if block.output:
            self._compare(block)
        elif block.background:
            self._serve(block, block.background)
        elif runs(block) == "run":
            self._command(block)

    def _command(self, block: Block) -> None:
        process = subprocess.Popen(
            self._shell(block),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            cwd=self.cwd, env=self.environment, text=True, start_new_session=True,
        )  # fmt: skip
        try:
            self.printed, _ = process.communicate(
                block.text if block.language == "python" else None, timeout=TIMEOUT
            )
        except subprocess.TimeoutExpired:
            # What the block started holds the pipe open, and goes with it.
            os.killpg(process.pid, signal.SIGKILL)
            self.printed, _ = process.communicate()
            raise self._error(block, f"not done in {TIMEOUT} s\n{self.printed[-3000:]}") from None
        print(f"--- {self.page.name}:{block.line}\n{block.text}\n{self.printed}", flush=True)
        if process.returncode:
            raise self._error(block, f"exit code {process.returncode}\n{self.printed[-3000:]}")
        note = self.folder / ".cwd"
        if note.exists():
            self.cwd = Path(note.read_text().strip())

    def _shell(self, block: Block) -> list[str]:
        if block.language == "python":
            return [sys.executable, "-"]
        note = self.folder / ".cwd"
        return ["bash", "-euo", "pipefail", "-c", f"trap 'pwd > {note}' EXIT\n{block.text}"]

    def _serve(self, block: Block, url: str) -> None:
        # Pages name the same port: of pages that run at once one has servers at a time.
        self.server_lock.acquire()
        if _answers(url):
            raise self._error(block, f"somebody else answers at {url} already")
        log = (self.folder / f".server-{block.line}").open("w+b")
        process = subprocess.Popen(
            ["bash", "-c", f"exec {block.text.strip()}"],
            cwd=self.cwd, env=self.environment, stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip
        self.servers.append((block, process))
        deadline = time.monotonic() + READY
        while not _answers(url):
            if process.poll() is not None or time.monotonic() > deadline:
                log.seek(0)
                raise self._error(block, f"no answer at {url}\n{log.read().decode()[-3000:]}")
            time.sleep(0.2)

    def _compare(self, block: Block) -> None:
        printed = [line.rstrip() for line in self.printed.splitlines()]
        for line in filter(None, map(str.rstrip, block.text.splitlines())):
            pattern = ".*".join(map(re.escape, line.split("…")))
            if not any(re.fullmatch(pattern, one) for one in printed):
                raise self._error(block, f"no line like {line!r} in\n{self.printed[-3000:]}")

    def _error(self, block: Block, what: str) -> BlockError:
        return BlockError(f"{self.page.name}:{block.line}: {what}\n$ {block.text}")

    def stop_servers(self) -> None:
        """End what was started, as Ctrl-C would; a server that then fails is a failure."""
        for block, process in self.servers:
            process.send_signal(signal.SIGINT)
            try:
                code = process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                raise self._error(block, "did not end within a minute of Ctrl-C") from None
            if code not in (0, 130):
                raise self._error(block, f"ended with {code} on Ctrl-C")
        self.servers = []

    def kill_servers(self) -> None:
        """For a page that has failed."""
        for _, process in self.servers:
            process.kill()
            process.wait()


@contextmanager
def session(page: Page, folder: Path, server_lock: Path) -> Iterator[Runner]:
    """A runner whose servers end with it."""
    lock = FileLock(server_lock)
    runner = Runner(page, folder, lock)
    try:
        yield runner
        runner.stop_servers()
    finally:
        runner.kill_servers()
        lock.release(force=True)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
