"""What the files here have in common: commands in processes of their own, to be killed."""

import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CLI = HERE.parents[1] / "cli.py"


class Commands:
    """Runs command lines of ours, each in a process of its own, one at a time.

    Their working folder is this one, so that they find the encoders here.
    """

    def __init__(self, folder: Path) -> None:
        self.said = folder / "said"
        self.server = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("forking.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=HERE,
            env={**os.environ, "PYTHONPATH": str(CLI.parent)},
        )
        self.real: subprocess.Popen | None = None

    def start(
        self, command: list[str], out: Path, kill_at: int | None = None, *, real: bool = False
    ) -> int:
        """Start one, as a fork or, much slower, as ``python cli.py``; its process id."""
        self.said.unlink(missing_ok=True)
        self.real = None
        if real:
            with self.said.open("w") as stderr:
                self.real = subprocess.Popen(
                    [sys.executable, str(CLI), *command],
                    stdout=subprocess.DEVNULL,
                    stderr=stderr,
                    cwd=HERE,
                )
            return self.real.pid
        task = {"arguments": command, "inside": str(out), "kill_at": kill_at}
        self.server.stdin.write(json.dumps({**task, "stderr": str(self.said)}) + "\n")
        self.server.stdin.flush()
        return int(self.server.stdout.readline())

    def is_alive(self) -> bool:
        """Whether the command started last has not ended."""
        if self.real:
            return self.real.poll() is None
        return not select.select([self.server.stdout], [], [], 0)[0]

    def end(self) -> tuple[int, int]:
        """Wait for its end: exit code (-9: killed) and accesses to its folder."""
        code, accesses = (
            (self.real.wait(), 0) if self.real else json.loads(self.server.stdout.readline())
        )
        assert code in (0, -signal.SIGKILL), self.said.read_text()
        return code, accesses

    def stop(self) -> None:
        self.server.stdin.close()
        self.server.wait()
        self.server.stdout.close()


@pytest.fixture(scope="module")
def new_commands(tmp_path_factory):
    """Makes a ``Commands``, with the environment of the moment; all are stopped in the end."""
    made = []

    def make() -> Commands:
        made.append(Commands(tmp_path_factory.mktemp("commands")))
        return made[-1]

    yield make
    for commands in made:
        commands.stop()
