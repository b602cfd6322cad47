"""What the kinds of index find, and how fast: flat, HNSW by inner product or by distance, IVF.

On the vectors of a model (--model), or on drawn ones whose lengths differ as those of popular and
rare items do (--items). One thread throughout.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

# Python looks for modules beside this file first, where `extract` would be a benchmark.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import faiss
import numpy as np
from numpy.typing import NDArray

from mmssl.recommend.index import VectorIndex
from mmssl.recommend.model_folder import SavedModel
from mmssl.recommend.vectors import model_vectors, sample_queries

Vectors = NDArray[np.float32]
K = 20


def equally_long(items: Vectors) -> Vectors:
    """(I, d + 1): a coordinate added, so that the nearest is the one of largest inner product.

    |q - x|^2 = |q|^2 + M^2 - 2 q.x where every x has length M and q a 0 in the last place.
    """
    squares = (items.astype(np.float64) ** 2).sum(axis=1)
    added = np.sqrt(squares.max() - squares)
    return np.concatenate((items, added[:, None]), axis=1).astype(np.float32)


def with_zero(queries: Vectors) -> Vectors:
    """(n, d + 1): queries for ``equally_long`` items."""
    return np.pad(queries, ((0, 0), (0, 1)))


def drawn(count: int, dim: int = 64, spread: float = 0.5, seed: int = 0) -> Vectors:
    """(count, dim) directions about 200 centres; log-normal lengths."""
    centres = np.random.default_rng(0).normal(size=(200, dim))
    draw = np.random.default_rng(seed)
    vectors = centres[draw.integers(0, 200, count)] + draw.normal(size=(count, dim))
    lengths = draw.lognormal(0, spread, (count, 1)) / np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors * lengths, dtype=np.float32)


def by_distance(items: Vectors) -> Callable[[Vectors], NDArray[np.int64]]:
    """The same HNSW as ours, but over ``equally_long`` items and distances."""
    index = faiss.IndexHNSWFlat(items.shape[1] + 1, 32)
    index.hnsw.efConstruction = 200
    index.add(equally_long(items))
    index.hnsw.efSearch = 256
    return lambda queries: index.search(with_zero(queries), K)[1]


def by_product(items: Vectors, kind: str) -> Callable[[Vectors], NDArray[np.int64]]:
    """Our own index."""
    index = VectorIndex.build(items, kind)
    return lambda queries: index.search(queries, K)[1]


def main() -> None:
    """Print a line a kind."""
    parser = argparse.ArgumentParser(description=__doc__)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--model", type=Path, help="a run whose model has vectors")
    source.add_argument("--items", type=int, help="draw so many")
    arguments = parser.parse_args()
    faiss.omp_set_num_threads(1)
    if arguments.model:
        model = SavedModel.load(arguments.model)
        items, queries = model_vectors(model)[1], sample_queries(model)
    else:
        items, queries = drawn(arguments.items, seed=1), drawn(1000, spread=0.3, seed=2)
    print(f"items {len(items):,}, dimensions {items.shape[1]}, queries {len(queries):,}")
    best = None
    for name, build in (
        ("flat", lambda: by_product(items, "flat")),
        ("hnsw", lambda: by_product(items, "hnsw")),
        ("hnsw by distance", lambda: by_distance(items)),
        ("ivf", lambda: by_product(items, "ivf")),
    ):
        start = time.perf_counter()
        search = build()
        built = time.perf_counter() - start
        start = time.perf_counter()
        found = search(queries)
        each = (time.perf_counter() - start) / len(queries) * 1000
        best = found if best is None else best
        pairs = zip(found, best, strict=True)
        recall = np.mean([len(set(mine) & set(exact)) / len(exact) for mine, exact in pairs])
        print(f"{name:18} recall@{K} {recall:.4f}  {each:.3f} ms a query  built in {built:.1f} s")


if __name__ == "__main__":
    main()
