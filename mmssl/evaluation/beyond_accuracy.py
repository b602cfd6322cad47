"""What lists are like, whatever they hit: coverage, concentration, novelty, diversity.

Lists are (n, K) int64 item rows as ``ranking.top_k`` gives them: best first, each item once a list,
-1 behind a short one.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from mmssl.data.dataset import ModalityFeatures

# Numbers of feature vectors gathered at once: 32 MiB of float64.
_CELLS_PER_BLOCK = 2**22


def beyond_accuracy(
    lists: NDArray[np.int64],
    training_users: NDArray[np.int64],
    n_users: int,
    features: Mapping[str, ModalityFeatures],
) -> dict[str, float | None]:
    """All figures of a model's lists, the users' averaged.

    Args:
        lists: (n, K) item rows, -1 behind a short list.
        training_users: (I,) int64, the users of each item in training.
        n_users: users with a training interaction.
        features: modality -> its vectors, a space for ``intra_list_diversity`` each.

    Returns:
        ``catalogue_coverage``, ``gini``, ``novelty`` and, for each modality,
        ``intra_list_diversity.<modality>``; None where it is defined for no user.

    Raises:
        ValueError: as the single functions, and where no list holds an item.
    """
    n_items = len(training_users)
    per_user = {"novelty": novelty(lists, training_users, n_users)}
    for name, modality in features.items():
        key = f"intra_list_diversity.{name}"
        per_user[key] = intra_list_diversity(lists, modality.vectors, modality.present)
    figures: dict[str, float | None] = {
        "catalogue_coverage": catalogue_coverage(lists, n_items),
        "gini": gini(recommendation_counts(lists, n_items)),
    }
    for name, values in per_user.items():
        defined = values[~np.isnan(values)]
        figures[name] = float(defined.mean()) if len(defined) else None
    return figures


def recommendation_counts(lists: NDArray[np.int64], n_items: int) -> NDArray[np.int64]:
    """(I,) int64: in how many lists each item of the catalogue stands.

    Raises:
        ValueError: lists of another shape or type, or with a row that the catalogue does not have.
    """
    _check(lists, n_items)
    return np.bincount(lists[lists >= 0], minlength=n_items)


def catalogue_coverage(lists: NDArray[np.int64], n_items: int) -> float:
    """Share of the catalogue's items that stand in any list (Ge et al., RecSys 2010).

    Args:
        lists: (n, K) item rows, -1 behind a short list.
        n_items: I, cold items included.

    Raises:
        ValueError: as ``recommendation_counts``, or an empty catalogue.
    """
    if n_items < 1:
        raise ValueError("an empty catalogue has no coverage")
    return int((recommendation_counts(lists, n_items) > 0).sum()) / n_items


def gini(counts: NDArray[np.int64]) -> float:
    """Gini index of how unequally items are recommended, over the whole catalogue.

    G = sum_j (2 j - I - 1) p_j / (I - 1), with p_1 <= ... <= p_I each item's share of all
    recommendations (Shani and Gunawardana, Recommender Systems Handbook, 2011; Castells, Hurley and
    Vargas, 2015). 0: all items equally often; 1: always the same single item. The economists'
    index, with divisor I, is (I - 1) / I times this. Items never recommended count, or a model that
    recommends two items alike would seem as fair as one that recommends all.

    Args:
        counts: (I,) as ``recommendation_counts`` gives them.

    Raises:
        ValueError: nothing is recommended, or a count is negative.
    """
    total = int(counts.sum())
    if total < 1 or counts.min() < 0:
        raise ValueError("no list holds an item, or a count is negative")
    n_items = len(counts)
    if n_items == 1:
        return 0.0
    weights = 2 * np.arange(1, n_items + 1) - n_items - 1
    # Whole numbers up to the division: exactly 0 when all are equal.
    return int((weights * np.sort(counts)).sum()) / ((n_items - 1) * total)


def novelty(
    lists: NDArray[np.int64], training_users: NDArray[np.int64], n_users: int
) -> NDArray[np.float64]:
    """Mean self-information of each user's list, in bits (Zhou et al., PNAS 2010).

    An item's is -log2 p(i), with p(i) the share of training users who have it: 0 for an item that
    everybody has, log2(n_users) at most. An item without a training interaction would be infinitely
    novel, so it counts as one that a single user has.

    Args:
        lists: (n, K) item rows, -1 behind a short list.
        training_users: (I,) int64, the users of each item in training.
        n_users: users with a training interaction.

    Returns:
        (n,) float64; NaN for an empty list.

    Raises:
        ValueError: as ``recommendation_counts``, or an item with more users than there are.
    """
    _check(lists, len(training_users))
    if n_users < max(1, int(training_users.max(initial=0))):
        raise ValueError(f"{n_users} users, but an item has {training_users.max(initial=0)}")
    information = np.log2(n_users) - np.log2(np.maximum(training_users, 1))
    listed = lists >= 0
    lengths = listed.sum(axis=1)
    sums = np.where(listed, information[lists], 0.0).sum(axis=1)
    means = np.full(len(lists), np.nan)
    np.divide(sums, lengths, out=means, where=lengths > 0)
    return means


def intra_list_diversity(
    lists: NDArray[np.int64],
    vectors: NDArray[np.floating],
    present: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """Mean distance 1 - cosine over the pairs of each user's list (Zhang and Hurley, RecSys 2008).

    ILD = 2 / (n (n - 1)) sum_{i<j} (1 - cos(x_i, x_j)), over the n items of the list that have a
    vector; an item without one, or with one of zeros, which has no direction, is left out. With
    unit vectors, ``sum_{i<j} cos = (|sum_i x_i|^2 - n) / 2``, so no pair is ever formed; users are
    taken in blocks.

    Args:
        lists: (n, K) item rows, -1 behind a short list.
        vectors: (I, d) floating.
        present: (I,) bool, which items have a vector.

    Returns:
        (n,) float64 between 0 (all alike) and 2; NaN for a list with fewer than two such items.

    Raises:
        ValueError: as ``recommendation_counts``, or a vector of a listed item is not finite.
    """
    _check(lists, len(vectors))
    directed = present & vectors.any(axis=1)
    diversity = np.full(len(lists), np.nan)
    step = max(1, _CELLS_PER_BLOCK // max(1, lists.shape[1] * vectors.shape[1]))
    for start in range(0, len(lists), step):
        block = lists[start : start + step]
        # A -1 looks the last item up, and is left out by its sign.
        kept = (block >= 0) & directed[block]
        rows, at = np.unique(block[kept], return_inverse=True)
        counts = kept.sum(axis=1)
        ends = np.concatenate(([0], np.cumsum(counts)))
        members = csr_array((np.ones(len(at)), at, ends), shape=(len(block), len(rows)))
        sums = members @ _unit_rows(vectors[rows])
        cosines = (sums**2).sum(axis=1) - counts
        mean = np.divide(cosines, counts * (counts - 1), out=np.zeros(len(block)), where=counts > 1)
        # Rounding alone leads out of the bounds.
        diversity[start : start + step] = np.where(counts > 1, (1 - mean).clip(0, 2), np.nan)
    return diversity


def _unit_rows(vectors: NDArray[np.floating]) -> NDArray[np.float64]:
    """x / |x| of vectors other than zero, in float64."""
    rows = vectors.astype(np.float64)
    if not np.isfinite(rows).all():
        raise ValueError("a feature vector is not finite")
    # First by the largest number, so that no square underflows.
    rows /= np.abs(rows).max(axis=1, initial=0.0, keepdims=True)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


def _check(lists: NDArray[np.int64], n_items: int) -> None:
    if lists.ndim != 2 or lists.dtype.kind != "i":
        raise ValueError(f"lists are (n, K) item rows, not {lists.shape} of {lists.dtype}")
    if lists.size and not -1 <= lists.min() <= lists.max() < n_items:
        raise ValueError(f"a list holds an item row outside 0..{n_items - 1}")
