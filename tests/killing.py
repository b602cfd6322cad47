"""Commands of ours, killed at random moments and started again until one of them ends."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
KILLS = int(os.environ.get("MMSSL_SEARCH_KILLS", "3"))
SEED = int(os.environ.get("MMSSL_KILL_SEED", "0"))


def kill_at_random(
    arguments: Sequence[str], out: Path, check: Callable[[], None], longest: float
) -> None:
    """Start ``cli.py``, SIGKILL it, and start it again, MMSSL_SEARCH_KILLS times in all.

    Whenever it ends first, and at last, ``check`` looks at what it left; then it begins anew.

    Args:
        arguments: of cli.py.
        out: the folder that it writes.
        check: asserts that ``out`` is as if nothing had happened.
        longest: seconds from its first line of progress to a kill, at most.
    """
    command = [sys.executable, "cli.py", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    draw, kills = random.Random(SEED), 0
    while kills < KILLS:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
        )
        assert process.stderr is not None
        # Its first line shows that there is something to lose: then, or a little later.
        process.stderr.readline()
        time.sleep(draw.random() * longest)
        ended = process.poll()
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stderr.close()
        if ended is None:
            kills += 1
        else:
            assert ended == 0
            check()
            shutil.rmtree(out)
    subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)
    check()
