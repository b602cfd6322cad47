"""The benchmark of the index: its other way to the largest inner products is a right one."""

import subprocess
import sys

import numpy as np

from benchmarks.index import by_distance, drawn, equally_long, with_zero


def test_the_nearest_of_equally_long_items_are_those_of_largest_inner_product():
    items, queries = drawn(300, dim=6), drawn(20, dim=6, seed=1)
    longer, wider = equally_long(items), with_zero(queries)
    lengths = np.linalg.norm(longer, axis=1)
    np.testing.assert_allclose(lengths, lengths.max(), rtol=1e-5)
    distances = ((wider[:, None].astype(float) - longer[None]) ** 2).sum(axis=2)
    products = queries.astype(float) @ items.T.astype(float)
    assert (distances.argmin(axis=1) == products.argmax(axis=1)).all()
    shared = [
        len(set(found) & set(np.argsort(-row)[:20])) / 20
        for found, row in zip(by_distance(items)(queries), products, strict=True)
    ]
    assert np.mean(shared) > 0.95


def test_it_prints_a_line_a_kind():
    done = subprocess.run(
        [sys.executable, "benchmarks/index.py", "--items", "500"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "items 500, dimensions 64, queries 1,000"
    assert [line[:18].strip() for line in lines[1:]] == ["flat", "hnsw", "hnsw by distance", "ivf"]
    assert "recall@20 1.0000" in lines[1]
