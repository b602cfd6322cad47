"""How well nearest neighbours foretell an item's label, and whether two encoders differ in it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from extract.inspect.neighbours import Neighbours

RESAMPLES = 10_000


@dataclass(frozen=True)
class Difference:
    """Accuracy of A less that of B on the same items."""

    value: float
    low: float
    high: float
    """95% percentile interval of a paired bootstrap over the items."""
    p_value: float
    """McNemar's exact test, two-sided: are the items on which only one is right shared evenly?"""


def vote(found: Neighbours, labels: Sequence[str]) -> list[str]:
    """The label that most of a query's neighbours bear; of equally frequent ones the nearest's.

    Args:
        found: neighbours of q queries.
        labels: of all items, by number.

    Returns:
        q labels.
    """
    predicted = []
    for row in found.numbers:
        # Counter keeps the order of first occurrence, and max takes the first of the greatest.
        votes = Counter(labels[number] for number in row)
        predicted.append(max(votes, key=votes.__getitem__))
    return predicted


def majority(labels: Sequence[str]) -> tuple[str, float]:
    """The most frequent label (of equally frequent ones the first in sorted order), its share."""
    counts = Counter(labels)
    name = min(counts, key=lambda label: (-counts[label], label))
    return name, counts[name] / len(labels)


def difference(a: NDArray[np.bool_], b: NDArray[np.bool_], seed: int) -> Difference:
    """Compare two vectors of right and wrong, (n,) each, item by item.

    The bootstrap draws n items with replacement ``RESAMPLES`` times; since only the numbers of
    items on which A alone, B alone or neither is right count, they are drawn as a multinomial. The
    test: McNemar, Psychometrika 12 (1947), in its exact (binomial) form.
    """
    from scipy.stats import binomtest

    only_a, only_b, n = int((a & ~b).sum()), int((b & ~a).sum()), len(a)
    shares = np.array([only_a, only_b, n - only_a - only_b]) / n
    drawn = np.random.default_rng(seed).multinomial(n, shares, size=RESAMPLES)
    low, high = np.quantile((drawn[:, 0] - drawn[:, 1]) / n, [0.025, 0.975])
    unlike = only_a + only_b
    p_value = float(binomtest(only_a, unlike).pvalue) if unlike else 1.0
    return Difference((only_a - only_b) / n, float(low), float(high), p_value)
