"""Ranking metrics of each user, from which of the ranked items were relevant."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from extract.errors import InputError

METRICS = ("recall", "ndcg", "legacy_ndcg", "map", "mrr", "precision", "hit_rate")
DEFAULT_KS = (10, 20, 50)


def check_ks(ks: Sequence[int]) -> tuple[int, ...]:
    """The cut-offs in ascending order, each once.

    Raises:
        InputError: there is none, or one is below 1.
    """
    if not ks or min(ks) < 1:
        raise InputError(f"the cut-offs K must be whole numbers of at least 1, not {list(ks)}")
    return tuple(sorted(set(ks)))


def per_user_metrics(
    hits: NDArray[np.bool_], relevant: NDArray[np.int64], ks: Sequence[int] = DEFAULT_KS
) -> dict[str, NDArray[np.float64]]:
    """Every metric at every cut-off, for each user by itself.

    With h_r = 1 where the item at rank r (from 1) is relevant and n the user's relevant items:

    - ``recall``: sum_{r<=K} h_r / n; ``precision``: the same sum / K; ``hit_rate``: whether it is
      positive; ``mrr``: 1 / (rank of the first hit), 0 where there is none up to K.
    - ``ndcg``: DCG = sum_{r<=K} h_r / log2(r + 1), divided by its ideal, min(n, K) hits in front
      (Jarvelin and Kekalainen, 2002, with binary gains).
    - ``legacy_ndcg``: the ideal made of the hits up to K alone, as published multi-modal
      recommenders compute it. It forgets every relevant item that was not found, is never below
      ``ndcg``, and serves to compare with such figures only.
    - ``map``: sum_{r<=K} h_r (hits up to r) / r, divided by min(n, K).

    Args:
        hits: (users, ranks) bool, ranks in order; False where a user's list is shorter. A cut-off
            beyond the last rank finds nothing there: so long are no lists of a small catalogue.
        relevant: (users,) int64, how many relevant items each user has, at least 1.
        ks: cut-offs.

    Returns:
        ``{"recall@10": (users,) float64, ...}``, metric after metric, cut-offs ascending.

    Raises:
        InputError: a cut-off below 1.
        ValueError: lists without a rank, or a user without a relevant item.
    """
    cutoffs = check_ks(ks)
    longest = min(cutoffs[-1], hits.shape[1])
    if not longest:
        raise ValueError("lists without a rank cannot be measured")
    if relevant.size and relevant.min() < 1:
        raise ValueError("every user needs a relevant item")
    found = hits[:, :longest].astype(np.float64)
    ranks = np.arange(1, longest + 1, dtype=np.float64)
    discounts = 1.0 / np.log2(ranks + 1.0)
    # (users, longest): the running value at every rank, of which the cut-offs are columns.
    count = np.cumsum(found, axis=1)
    dcg = np.cumsum(found * discounts, axis=1)
    average = np.cumsum(found * count / ranks, axis=1)
    reciprocal = np.maximum.accumulate(found / ranks, axis=1)
    # ideal[n] is the DCG of n hits in front; a user may have more relevant items than there are
    # ranks.
    most = max(longest, min(int(relevant.max(initial=0)), cutoffs[-1]))
    ideal = np.concatenate(([0.0], np.cumsum(1.0 / np.log2(np.arange(2.0, most + 2.0)))))
    arrays: dict[str, NDArray[np.float64]] = {}
    for k in cutoffs:
        last = min(k, longest) - 1
        hit_count = count[:, last]
        reachable = np.minimum(relevant, min(k, most))
        # One in place of zero hits: the DCG above it is zero as well.
        legacy_ideal = ideal[np.maximum(hit_count, 1.0).astype(np.int64)]
        arrays[f"recall@{k}"] = hit_count / relevant
        arrays[f"ndcg@{k}"] = dcg[:, last] / ideal[reachable]
        arrays[f"legacy_ndcg@{k}"] = dcg[:, last] / legacy_ideal
        arrays[f"map@{k}"] = average[:, last] / reachable
        arrays[f"mrr@{k}"] = reciprocal[:, last]
        arrays[f"precision@{k}"] = hit_count / k
        arrays[f"hit_rate@{k}"] = (hit_count > 0).astype(np.float64)
    return {f"{name}@{k}": arrays[f"{name}@{k}"] for name in METRICS for k in cutoffs}
