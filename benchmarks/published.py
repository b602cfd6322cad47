"""How the published code draws a batch and ranks: per user, in Python. To be timed, not to be used.

Written from its description alone (METHOD section 3, fault 15); the figures of its evaluation must
be ours (tests/benchmarks/test_published.py).
"""

import heapq
import math
import multiprocessing
import random
from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmssl.data.dataset import Interactions
from mmssl.data.sampling import Batch
from mmssl.evaluation.metrics import DEFAULT_KS

RANKED_AT_A_TIME = 2048


def item_lists(matrix: sp.csr_array) -> list[list[int]]:
    """Every user's items, ascending."""
    return [part.tolist() for part in np.split(matrix.indices, matrix.indptr[1:-1])]


def dense_graphs(interactions: sp.csr_array) -> list[Tensor]:
    """The training matrix as (U, I) and as (I, U), zeros included: held from first to last step."""
    return [torch.tensor(side.todense()) for side in (interactions, interactions.T)]


class PublishedSampler:
    """A batch, user by user: draws a positive from a list and negatives until one is not in it."""

    def __init__(self, interactions: sp.csr_array, batch_users: int) -> None:
        """Prepare to draw.

        Args:
            interactions: (U, I) training interactions.
            batch_users: users a step, at most those with training items.
        """
        self._items = item_lists(interactions)
        self._n_items = interactions.shape[1]
        self._users = [user for user, items in enumerate(self._items) if items]
        self._batch_users = min(batch_users, len(self._users))

    def draw(self) -> Batch:
        """The next batch."""
        users = random.sample(self._users, self._batch_users)
        positives, negatives = [], []
        for user in users:
            items = self._items[user]
            positives.append(items[np.random.randint(0, len(items))])  # noqa: NPY002
            while True:
                drawn = int(np.random.randint(0, self._n_items))  # noqa: NPY002
                if drawn not in items:
                    negatives.append(drawn)
                    break
        return Batch(torch.tensor(users), torch.tensor(positives), torch.tensor(negatives))


def evaluate(
    user_vectors: Tensor,
    item_vectors: Tensor,
    seen: sp.csr_array,
    relevant: Interactions,
    ks: Sequence[int] = DEFAULT_KS,
) -> dict[str, float]:
    """Rank all items but the training ones for each user, in a pool of processes.

    Args:
        user_vectors: (U, d) final vectors.
        item_vectors: (I, d).
        seen: (U, I) training interactions.
        relevant: the split's interactions.
        ks: cut-offs K.

    Returns:
        ``recall``, ``precision``, ``legacy_ndcg`` and ``hit_rate`` at each K, means over users.
    """
    wanted: dict[int, list[int]] = {}
    for user, item in zip(relevant.users.tolist(), relevant.items.tolist(), strict=True):
        wanted.setdefault(user, []).append(item)
    users = list(wanted)
    sums = {f"{name}@{k}": 0.0 for name in MEASURES for k in ks}
    # As published: a fifth of the processors, each process forked with everything it needs.
    pool = multiprocessing.get_context("fork").Pool(
        max(1, multiprocessing.cpu_count() // 5),
        _remember,
        (item_lists(seen), wanted, item_vectors.shape[0], tuple(ks)),
    )
    with pool:
        for start in range(0, len(users), RANKED_AT_A_TIME):
            some = users[start : start + RANKED_AT_A_TIME]
            scores = (user_vectors[torch.tensor(some)] @ item_vectors.T).numpy()
            for values in pool.map(_measure_user, zip(scores, some, strict=True)):
                for name, value in values.items():
                    sums[name] += value / len(users)
    return sums


MEASURES = ("recall", "precision", "legacy_ndcg", "hit_rate")
_known: tuple[list[list[int]], dict[int, list[int]], int, tuple[int, ...]]


def _remember(*known: object) -> None:
    global _known
    _known = known  # type: ignore[assignment]


def _measure_user(given: tuple[NDArray[np.float32], int]) -> dict[str, float]:
    scores, user = given
    seen, wanted, n_items, ks = _known
    candidates = list(set(range(n_items)) - set(seen[user]))
    item_score = {}
    for item in candidates:
        item_score[item] = scores[item]
    best = heapq.nlargest(max(ks), item_score, key=item_score.__getitem__)
    hits = [1 if item in wanted[user] else 0 for item in best]
    values = {}
    for k in ks:
        found = sum(hits[:k])
        values[f"recall@{k}"] = found / len(wanted[user])
        values[f"precision@{k}"] = found / k
        values[f"hit_rate@{k}"] = float(found > 0)
        # The ideal order of what was retrieved (fault 12).
        ideal = _dcg(sorted(hits[:k], reverse=True))
        values[f"legacy_ndcg@{k}"] = _dcg(hits[:k]) / ideal if ideal else 0.0
    return values


def _dcg(hits: Sequence[int]) -> float:
    return sum(hit / math.log2(rank + 1) for rank, hit in enumerate(hits, start=1))
