"""How many lists a second one core serves, how late the last hundredth come, and whether they hold.

A model is drawn (--items), or a run's is taken (--model); `serve` starts on core 0, and wrk asks it
from core 1 for the lists of random users. From 200,000 items on lists are looked up in an HNSW
index, and 200 of them are compared with the full ranking. Exit code 1 where a bar is missed:
{rate} lists a second up to {small:,} items, p99 of {p99} ms, recall@20 of {recall}, and no error.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import quote
from urllib.request import urlopen

# Python looks for modules beside this file first, where `extract` would be a benchmark.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array

from extract.files import write_text
from mmssl.recommend.index import VectorIndex
from mmssl.recommend.model_folder import SavedModel
from mmssl.recommend.model_info import ModelInfo
from mmssl.recommend.recommender import Recommender

ROOT = Path(__file__).resolve().parent.parent
RATE, P99, RECALL = 300, 100, 0.95
SMALL, INDEXED = 10_000, 200_000
K, SAMPLE = 20, 200
USERS, SEEN = 9319, 7
__doc__ = (__doc__ or "").format(rate=RATE, small=SMALL, p99=P99, recall=RECALL)

SCRIPT = """
local users = {}
for line in io.lines(USERS_FILE) do users[#users + 1] = line end
request = function()
  return wrk.format("GET", "/api/recommend?k=20&user=" .. users[math.random(#users)])
end
done = function(summary, latency)
  local e = summary.errors
  io.write(string.format('FIGURES {"requests": %d, "seconds": %f, "p50": %f, "p99": %f,' ..
    ' "errors": %d}\\n', summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3,
    latency:percentile(99) / 1e3, e.connect + e.read + e.write + e.status + e.timeout))
end
"""


def drawn(count: int, dim: int, spread: float, seed: int) -> NDArray[np.float32]:
    """(count, dim) directions about 200 centres; log-normal lengths, as popularity gives."""
    centres = np.random.default_rng(0).normal(size=(200, dim)).astype(np.float32)
    draw = np.random.default_rng(seed)
    vectors = draw.standard_normal((count, dim), dtype=np.float32)
    vectors += centres[draw.integers(0, 200, count)]
    vectors *= draw.lognormal(0, spread, (count, 1)) / np.linalg.norm(vectors, axis=1)[:, None]
    return vectors


def make_model(folder: Path, items: int, dim: int) -> None:
    """A model of drawn vectors, its item table, and from ``INDEXED`` items on an index."""
    draw = np.random.default_rng(3)
    seen = draw.integers(0, items, (USERS, SEEN))
    rows = np.repeat(np.arange(USERS), SEEN)
    ones = np.ones(USERS * SEEN, np.float32)
    train = csr_array((ones, (rows, seen.ravel())), shape=(USERS, items))
    train.data[:] = 1
    vectors = drawn(items, dim, 0.5, seed=1)
    model = SavedModel(
        info=ModelInfo(
            name="drawn",
            variant=f"{items} x {dim}",
            encoders={},
            data="drawn",
            data_digest="0" * 64,
            seed=0,
            best_epoch=1,
            training={},
            metrics={},
            popularity={},
            protocol={},
        ),
        user_ids=[f"user {n}" for n in range(USERS)],
        item_ids=[f"item/{n}" for n in range(items)],
        parameters={},
        user_vectors=torch.from_numpy(drawn(USERS, dim, 0.3, seed=2)),
        item_vectors=torch.from_numpy(vectors),
        graphs={},
        train=train,
        val=csr_array((USERS, items), dtype=np.float32),
    )
    words = [f"A thing that is number {n} of its kind." for n in range(items)]
    pl.DataFrame({"item_id": model.item_ids, "text": words}).write_csv(folder / "items.csv")
    if items >= INDEXED:
        print(f"building the index of {items:,} items", flush=True)
        index = VectorIndex.build(vectors, "hnsw", len(os.sched_getaffinity(0)), model.item_ids)
        index.save(folder / "index")
    model.save(folder / "model")


def pinned(core: int) -> list[str]:
    """What makes a command run on one core, where there are several."""
    several = len(os.sched_getaffinity(0)) > 1 and shutil.which("taskset")
    return ["taskset", "-c", str(core)] if several else []


def start(model: Path, items: Path, index: Path | None) -> tuple[subprocess.Popen[str], str]:
    """The server and its URL, once it answers."""
    command = [*pinned(0), sys.executable, str(ROOT / "cli.py"), "serve", "--model", str(model)]
    command += ["--items", str(items), "--port", "0", "--device", "cpu"]
    command += ["--index", str(index)] if index else []
    process = subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    assert process.stderr is not None
    for line in process.stderr:
        print(line, end="", flush=True)
        if found := re.match(r"answers at (\S+)", line):
            return process, found[1]
    raise SystemExit("error: the server did not start")


def recall(url: str, model: Path) -> float:
    """The share of the full ranking's lists that the server's hold."""
    recommender = Recommender.load(model, "cpu")
    users = recommender.user_ids.ids
    some = np.random.default_rng(4).choice(len(users), min(SAMPLE, len(users)), replace=False)
    names = [users[row] for row in some]
    exact = recommender.recommend(names, K, block=8)
    shares = []
    for (user,), listed in exact.group_by("user_id", maintain_order=True):
        with urlopen(f"{url}/api/recommend?k={K}&user={quote(str(user), safe='')}") as answer:
            found = {entry["item"]["id"] for entry in json.load(answer)["items"]}
        shares.append(len(found & set(listed["item_id"])) / len(listed))
    return float(np.mean(shares))


def main() -> int:
    """Print the figures; 1 where a bar is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--items", type=int, default=6710, help="of a drawn model; 6,710")
    parser.add_argument("--dim", type=int, default=128, help="length of drawn vectors; 128")
    parser.add_argument("--model", type=Path, help="a run, in place of a drawn model")
    parser.add_argument("--item-table", type=Path, help="the run's items.csv")
    parser.add_argument("--index", type=Path, help="the run's index")
    parser.add_argument("--folder", type=Path, help="keep the drawn model here, and take it again")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--connections", type=int, default=16)
    given = parser.parse_args()
    if shutil.which("wrk") is None:
        print("error: wrk is not installed: apt-get install wrk", file=sys.stderr)
        return 2
    if (given.model is None) != (given.item_table is None):
        parser.error("--model and --item-table go together")
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        model, table, index = given.model, given.item_table, given.index
        if model is None:
            folder = given.folder or scratch
            folder.mkdir(parents=True, exist_ok=True)
            if not (folder / "model").is_dir():
                make_model(folder, given.items, given.dim)
            model, table = folder / "model", folder / "items.csv"
            index = folder / "index" if (folder / "index").is_dir() else None
        saved = SavedModel.load(model)
        items, users = len(saved.item_ids), saved.user_ids
        write_text(scratch / "users.txt", "".join(f"{quote(user, safe='')}\n" for user in users))
        script = SCRIPT.replace("USERS_FILE", json.dumps(str(scratch / "users.txt")))
        write_text(scratch / "ask.lua", script)
        del saved
        process, url = start(model, table, index)
        stack.callback(process.wait)
        stack.callback(process.terminate)
        wrk = [*pinned(1), "wrk", "-t1", f"-c{given.connections}", f"-d{given.seconds}s"]
        asked = [*wrk, "--timeout", "10s", "-s", str(scratch / "ask.lua"), url]
        out = subprocess.run(asked, check=True, capture_output=True, text=True).stdout
        figures = json.loads(out.partition("FIGURES ")[2])
        rate = figures["requests"] / figures["seconds"]
        print(
            f"items {items:,}, users {len(users):,}, connections {given.connections},"
            f" {figures['seconds']:.0f} s: {rate:.0f} lists a second,"
            f" p50 {figures['p50']:.1f} ms, p99 {figures['p99']:.1f} ms,"
            f" errors {figures['errors']}; load of this machine {os.getloadavg()[0]:.1f}"
        )
        missed = [f"errors {figures['errors']}"] if figures["errors"] else []
        missed += [f"p99 over {P99} ms"] if figures["p99"] > P99 else []
        missed += [f"under {RATE} lists a second"] if items <= SMALL and rate < RATE else []
        if index is not None:
            share = recall(url, model)
            print(f"recall@{K} {share:.4f} against the full ranking, {SAMPLE} users")
            missed += [f"recall under {RECALL}"] if share < RECALL else []
    print(f"missed: {'; '.join(missed)}" if missed else "all bars are met")
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
