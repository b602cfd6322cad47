"""The figures of a report: a model beside popularity on the validation split, never on test."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array

from mmssl.baselines.popularity import popularity_score
from mmssl.data.dataset import Dataset
from mmssl.evaluation.beyond_accuracy import beyond_accuracy
from mmssl.evaluation.evaluate import Evaluation, evaluate_scores
from mmssl.evaluation.groups import (
    activity_groups,
    hits_by_group,
    popularity_groups,
    quantile_bounds,
    user_group_means,
)
from mmssl.evaluation.metrics import DEFAULT_KS
from mmssl.evaluation.ranking import top_k
from mmssl.evaluation.significance import RESAMPLES, bootstrap_intervals
from mmssl.recommend.model_folder import SavedModel

LIST_LENGTH = 20
HEADLINE = f"recall@{LIST_LENGTH}"
METRICS = ("recall", "ndcg", "map", "mrr", "precision", "hit_rate")

# Users times resamples of all intervals together: about ten seconds on one core.
_MOST_DRAWS = 2 * 10**8


@dataclass(frozen=True)
class Interval:
    """A mean over users and its bootstrap interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class MetricRow:
    """A metric of the model, of popularity, and of the model less popularity, user by user."""

    name: str
    model: Interval
    popularity: Interval
    difference: Interval


@dataclass(frozen=True)
class GroupRow:
    """Recall@20 in a group of users, or on a group of items; None where it is not defined."""

    name: str
    members: int
    """Users or items in the group."""
    users: int
    """Users over whom it is averaged."""
    model: float | None
    popularity: float | None


@dataclass(frozen=True)
class BeyondRow:
    """A figure that knows nothing of hits; None where it is defined for no user."""

    name: str
    model: float | None
    popularity: float | None


@dataclass(frozen=True, eq=False)
class Measured:
    """All that is measured on validation."""

    rows: tuple[MetricRow, ...]
    evaluation: Evaluation
    popularity: Evaluation
    lists: NDArray[np.int64]
    """(n, 20) item rows, the model's for ``evaluation.users``."""
    by_activity: tuple[GroupRow, ...]
    by_popularity: tuple[GroupRow, ...]
    beyond: tuple[BeyondRow, ...]
    resamples: int

    @property
    def headline(self) -> MetricRow:
        """The row of Recall@20."""
        return next(row for row in self.rows if row.name == HEADLINE)


def resamples_for(users: int) -> int:
    """How often users are drawn: as in a comparison, less often where there are very many."""
    return min(RESAMPLES, max(999, _MOST_DRAWS // max(users, 1)))


def intervals(
    values: Mapping[str, NDArray[np.float64]], resamples: int, seed: int
) -> dict[str, Interval]:
    """95 % intervals of (n,) per-user values, by the names given."""
    bounds = bootstrap_intervals(np.stack(list(values.values())), 0.95, resamples, seed)
    return {
        name: Interval(float(each.mean()), float(low), float(high))
        for (name, each), (low, high) in zip(values.items(), bounds, strict=True)
    }


def measure(saved: SavedModel, dataset: Dataset, device: torch.device, seed: int) -> Measured:
    """Full ranking of the validation split, training items left out, as ``evaluate`` does it.

    Args:
        saved: a model of this dataset.
        dataset: its dataset; the test split is not read.
        device: where scores are computed.
        seed: of the bootstrap.

    Raises:
        InputError: the validation split is empty.
    """
    train = dataset.matrix("train")
    score, popular = saved.score(device), popularity_score(train, device)
    evaluation, popularity = (
        evaluate_scores(each, dataset.val, train, DEFAULT_KS) for each in (score, popular)
    )
    users = evaluation.users
    lists, popular_lists = (top_k(each, users, train, LIST_LENGTH)[0] for each in (score, popular))
    resamples = resamples_for(len(users))
    return Measured(
        rows=_metric_rows(evaluation, popularity, resamples, seed),
        evaluation=evaluation,
        popularity=popularity,
        lists=lists,
        by_activity=_by_activity(evaluation, popularity, train),
        by_popularity=_by_popularity(dataset, users, lists, popular_lists, train),
        beyond=_beyond(dataset, lists, popular_lists, train),
        resamples=resamples,
    )


def _metric_rows(
    evaluation: Evaluation, popularity: Evaluation, resamples: int, seed: int
) -> tuple[MetricRow, ...]:
    rows = []
    for name in (f"{metric}@{k}" for metric in METRICS for k in DEFAULT_KS):
        ours, theirs = evaluation.per_user[name], popularity.per_user[name]
        each = {"model": ours, "popularity": theirs, "difference": ours - theirs}
        rows.append(MetricRow(name, **intervals(each, resamples, seed)))
    return tuple(rows)


def _by_activity(
    evaluation: Evaluation, popularity: Evaluation, train: csr_array
) -> tuple[GroupRow, ...]:
    activity = np.diff(train.indptr)
    groups = activity_groups(activity, quantile_bounds(activity))
    ours, theirs = (
        user_group_means(each.per_user[HEADLINE], each.users, groups)
        for each in (evaluation, popularity)
    )
    return tuple(
        GroupRow(name, int(size), ours[name].users, ours[name].mean, theirs[name].mean)
        for name, size in zip(groups.names, groups.sizes, strict=True)
        if size
    )


def _by_popularity(
    dataset: Dataset,
    users: NDArray[np.int64],
    lists: NDArray[np.int64],
    popular_lists: NDArray[np.int64],
    train: csr_array,
) -> tuple[GroupRow, ...]:
    groups = popularity_groups(_training_users(train))
    ours, theirs = (
        hits_by_group(each, users, dataset.val, groups).summary() for each in (lists, popular_lists)
    )
    return tuple(
        GroupRow(name, int(size), ours[name].users, ours[name].recall, theirs[name].recall)
        for name, size in zip(groups.names, groups.sizes, strict=True)
        if size
    )


def _beyond(
    dataset: Dataset,
    lists: NDArray[np.int64],
    popular_lists: NDArray[np.int64],
    train: csr_array,
) -> tuple[BeyondRow, ...]:
    active = int((np.diff(train.indptr) > 0).sum())
    ours, theirs = (
        beyond_accuracy(each, _training_users(train), active, dataset.features)
        for each in (lists, popular_lists)
    )
    return tuple(BeyondRow(name, ours[name], theirs[name]) for name in ours)


def _training_users(train: csr_array) -> NDArray[np.int64]:
    return np.bincount(train.indices, minlength=train.shape[1])
