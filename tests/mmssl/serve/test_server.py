"""The command as a process: it starts, answers alike each time, changes models, and ends."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote
from urllib.request import urlopen

import pytest

from tests.mmssl.serve.shop import USERS, saved_model

ROOT = Path(__file__).parents[3]


BODY = b"--b\r\nContent-Disposition: form-data; name=modality\r\n\r\naudio\r\n--b--\r\n"
REQUEST = (
    b"POST /api/search HTTP/1.1\r\nHost: localhost\r\n"
    b"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: %d\r\n\r\n" % len(BODY)
)


def start(shop):
    options = ["--model", shop / "run", "--items", shop / "items.csv", "--port", "0"]
    return subprocess.Popen(
        [sys.executable, ROOT / "cli.py", "serve", *options, "--device", "cpu"],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )


def address(process):
    """Where it answers, once it does; and what it said before."""
    said = []
    for line in process.stderr:
        said.append(line)
        if line.startswith("answers at "):
            return line.split()[2], said
    raise AssertionError(said)


def get(url):
    with urlopen(url, timeout=30) as answer:
        return answer.read()


def lists(url):
    return [get(f"{url}/api/recommend?user={quote(user, safe='')}&k=8") for user in USERS]


@pytest.fixture
def two(shop, settings):
    processes = [start(shop), start(shop)]
    yield processes
    for process in processes:
        process.kill()
        process.wait()
        process.stderr.close()


def test_two_processes_answer_alike_change_models_under_load_and_end_when_told(two, shop):
    (url, said), (other, _) = (address(process) for process in two)
    assert said[0] == f"model {shop / 'run'} (mmssl, seed-0): users 6, items 10\n"
    assert url.startswith("http://127.0.0.1:")
    before = lists(url)
    assert lists(other) == before

    stop = threading.Event()

    def ask():
        answers = set()
        while not stop.is_set():
            answers.add(get(f"{url}/api/recommend?user=u1&k=8"))
        return answers

    with ThreadPoolExecutor(4) as threads:
        asking = [threads.submit(ask) for _ in range(4)]
        try:
            saved_model(seed=1).save(shop / "run" / "model")
            two[0].send_signal(signal.SIGHUP)
            until = time.monotonic() + 60
            while lists(url) == before and time.monotonic() < until:
                time.sleep(0.05)
        finally:
            stop.set()
        answers = set().union(*(each.result() for each in asking))
    after = lists(url)
    # Every request was answered, by one model or by the other.
    assert answers <= {before[0], after[0]}
    assert before[0] != after[0]
    assert lists(other) == before

    # A request that has begun is finished; then the processes end as the signals say.
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(REQUEST)
        time.sleep(0.3)
        two[0].send_signal(signal.SIGTERM)
        two[1].send_signal(signal.SIGINT)
        time.sleep(0.5)
        connection.sendall(BODY)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 422")
    assert b"neither a file nor a text" in answer
    assert two[0].wait(60) in (0, 143, -signal.SIGTERM)
    assert two[1].wait(60) == 0
    assert two[1].stderr.read().endswith("stopped\n")
    rest = two[0].stderr.read()
    assert "Traceback" not in rest
    assert "answers now" in rest
