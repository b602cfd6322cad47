import numpy as np
import pytest
from scipy.stats import binom
from sklearn.neighbors import KNeighborsClassifier

from extract.inspect.accuracy import difference, majority, vote
from extract.inspect.neighbours import Neighbours, nearest
from extract.inspect.vectors import ok_items


@pytest.mark.parametrize("k", [1, 2, 5, 9])
def test_leave_one_out_predictions_are_those_of_scikit_learn(make_store, k):
    rng = np.random.default_rng(k)
    truth = rng.integers(0, 3, size=90)
    values = rng.normal(size=(90, 8)) + 1.2 * np.eye(8)[truth] + 3
    labels = [f"kind {label}" for label in truth]
    vectors = ok_items(make_store(values, rows_per_part=32))
    found = nearest(vectors, np.arange(90), k)
    predicted = vote(found, labels)
    centred = values.astype(np.float32) - values.astype(np.float32).mean(axis=0)
    compared = 0
    for item in range(90):
        others = np.delete(np.arange(90), item)
        model = KNeighborsClassifier(k, metric="cosine", algorithm="brute")
        model.fit(centred[others], np.array(labels)[others])
        shares = model.predict_proba(centred[[item]])[0]
        best = model.classes_[shares == shares.max()]
        # Where labels tie, scikit-learn takes the first in sorted order, we the nearest's.
        if len(best) > 1:
            assert predicted[item] in best
            nearest_of = next(n for n in found.numbers[item] if labels[n] in best)
            assert predicted[item] == labels[nearest_of]
        else:
            compared += 1
            assert predicted[item] == model.predict(centred[[item]])[0]
    assert compared > 40


def test_of_equally_frequent_labels_the_nearests_wins():
    numbers = np.array([[0, 1, 2, 3], [1, 0, 2, 3], [2, 1, 0, 3]])
    found = Neighbours(numbers, np.zeros((3, 4), dtype=np.float32))
    assert vote(found, ["b", "a", "a", "b"]) == ["b", "a", "a"]
    assert vote(found, ["b", "a", "c", "d"]) == ["b", "a", "c"]


def test_majority():
    assert majority(["x", "y", "y", "z"]) == ("y", 0.5)
    assert majority(["z", "y", "z", "y"])[0] == "y"


def test_difference_has_the_interval_of_a_paired_bootstrap_and_mcnemars_p():
    rng = np.random.default_rng(0)
    a, b = rng.random(400) < 0.7, rng.random(400) < 0.6
    found = difference(a, b, seed=1)
    assert found.value == pytest.approx(a.mean() - b.mean())
    # The same by drawing items one by one.
    drawn = rng.integers(0, 400, size=(4000, 400))
    direct = (a[drawn].astype(float) - b[drawn]).mean(axis=1)
    np.testing.assert_allclose(
        [found.low, found.high], np.quantile(direct, [0.025, 0.975]), atol=0.006
    )
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    tail = binom.cdf(min(only_a, only_b), only_a + only_b, 0.5)
    assert found.p_value == pytest.approx(min(1, 2 * tail))
    assert difference(a, b, seed=1) == found != difference(a, b, seed=2)


def test_no_difference_at_all():
    right = np.array([True, False, True])
    found = difference(right, right, seed=0)
    assert (found.value, found.low, found.high, found.p_value) == (0, 0, 0, 1)
