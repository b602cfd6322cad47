"""The published way, as benchmarked: the same figures as ours, draws by the same rules."""

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from benchmarks import published
from mmssl.data.dataset import Interactions
from mmssl.evaluation.evaluate import evaluate_scores
from mmssl.evaluation.ranking import InnerProduct

USERS, ITEMS = 30, 60


@pytest.fixture
def observed() -> sp.csr_array:
    draw = np.random.default_rng(0)
    matrix = (draw.random((USERS, ITEMS)) < 0.2).astype(np.float32)
    matrix[3] = 0
    return sp.csr_array(matrix)


def test_its_ranking_gives_our_figures_ties_included(observed):
    draw = np.random.default_rng(1)
    # Small integers: scores are exact, and many are equal.
    user, item = (torch.from_numpy(draw.integers(-2, 3, (n, 3))).float() for n in (USERS, ITEMS))
    relevant = (draw.random((USERS, ITEMS)) < 0.1) & (observed.toarray() == 0)
    relevant[5] = False
    split = Interactions(*(rows.astype(np.int64) for rows in relevant.nonzero()))
    theirs = published.evaluate(user, item, observed, split, ks=(5, 20))
    ours = evaluate_scores(InnerProduct(user, item), split, observed, ks=(5, 20)).metrics
    assert set(theirs) == {f"{name}@{k}" for name in published.MEASURES for k in (5, 20)}
    assert theirs == pytest.approx({name: ours[name] for name in theirs}, abs=1e-9)
    assert 0.05 < theirs["recall@20"] < 0.95


def test_it_draws_distinct_users_with_an_observed_and_an_unobserved_item(observed):
    sampler = published.PublishedSampler(observed, 20)
    dense = observed.toarray()
    for _ in range(5):
        batch = sampler.draw()
        users = batch.users.tolist()
        assert len(users) == len(set(users)) == 20
        assert 3 not in users
        assert (dense[batch.users, batch.positives] == 1).all()
        assert (dense[batch.users, batch.negatives] == 0).all()
    assert len(published.PublishedSampler(observed, 1024).draw().users) == USERS - 1
