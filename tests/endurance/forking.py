"""Runs command lines in forks of one warm process: each in its own process within a second.

Reads JSON lines {"arguments": [...], "stderr": FILE, "inside": FOLDER, "kill_at": n or null} and
answers each with two: the fork's process id at once, and at its end [exit code, accesses], that is
-9 if killed, and how often FOLDER was accessed. With ``kill_at`` it kills itself just before access
number n, counted from 0.
"""

import json
import os
import signal
import sys
import traceback

# What takes seconds is imported once.
import extract.engines.local
import extract.extraction  # noqa: F401
import mmssl.training.trainer  # noqa: F401
from cli import app, run

_CHANGES = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate", "os.chmod")


def work(task: dict, told: int) -> None:
    """The fork's part; ``told`` is a file descriptor for the number of accesses."""
    accesses, inside, kill_at = 0, task["inside"], task["kill_at"]

    def count(event: str, values: tuple) -> None:
        nonlocal accesses
        # Within rmtree names are relative to a folder: of those all count.
        if event in _CHANGES or (event == "open" and str(values[0]).startswith(inside)):
            if accesses == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            accesses += 1

    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(os.open(task["stderr"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    sys.addaudithook(count)
    try:
        run(app, task["arguments"])
    except SystemExit as end:
        sys.stderr.flush()
        os.write(told, str(accesses).encode())
        os._exit(end.code)


for line in sys.stdin:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            work(json.loads(line), writing)
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
        finally:
            os._exit(99)
    os.close(writing)
    print(child, flush=True)
    status = os.waitpid(child, 0)[1]
    with os.fdopen(reading) as told:
        accesses = int(told.read() or 0)
    print(json.dumps([os.waitstatus_to_exitcode(status), accesses]), flush=True)
