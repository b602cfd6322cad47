import numpy as np
import pytest
import torch

from mmssl.evaluation.beyond_accuracy import catalogue_coverage
from mmssl.report.measures import measure, resamples_for

CPU = torch.device("cpu")


def test_groups_are_the_means_of_their_users(saved, dataset):
    measured = measure(saved, dataset, CPU, 0)
    activity = np.diff(dataset.matrix("train").indptr)
    values = measured.evaluation.per_user["recall@20"]
    for row in measured.by_activity:
        low, _, high = row.name.rstrip("+").partition("-")
        most = np.inf if row.name.endswith("+") else int(high or low)
        within = (activity >= int(low)) & (activity <= most)
        of = within[measured.evaluation.users]
        assert (row.members, row.users) == (within.sum(), of.sum())
        if of.any():
            assert row.model == pytest.approx(values[of].mean(), abs=1e-12)
    assert sum(row.members for row in measured.by_activity) == len(dataset.user_ids)
    assert sum(row.members for row in measured.by_popularity) == len(dataset.item_ids)


def test_coverage_is_that_of_the_lists(saved, dataset):
    measured = measure(saved, dataset, CPU, 0)
    rows = {row.name: row for row in measured.beyond}
    assert rows["catalogue_coverage"].model == catalogue_coverage(measured.lists, 24)
    assert {"intra_list_diversity.image", "intra_list_diversity.audio"} <= rows.keys()


def test_difference_is_that_of_the_means(saved, dataset):
    for row in measure(saved, dataset, CPU, 0).rows:
        assert row.difference.mean == pytest.approx(row.model.mean - row.popularity.mean)


@pytest.mark.parametrize(
    ("users", "resamples"), [(708, 9_999), (20_000, 9_999), (100_000, 2_000), (10**7, 999)]
)
def test_of_very_many_users_fewer_resamples_are_drawn(users, resamples):
    assert resamples_for(users) == resamples
