import numpy as np
import pytest
import torch

from mmssl.objectives.softmax import sampled_softmax

USERS = torch.tensor([[1.0, 2.0], [0.5, -1.0]])
POSITIVES = torch.tensor([[3.0, 1.0], [1.0, 1.0]])
SHARED = torch.tensor([[1.0, 1.0], [2.0, 0.0], [0.0, 1.0]])
NOTHING = torch.zeros(2, 3, dtype=torch.bool)


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_it_is_the_cross_entropy_of_the_positive_among_all(temperature):
    # User 0: own 5, others 3, 2, 2; user 1: own -.5, others -.5, 1, -1.
    rows = np.array([[5, 3, 2, 2], [-0.5, -0.5, 1, -1]]) / temperature
    by_hand = np.mean(np.log(np.exp(rows).sum(axis=1)) - rows[:, 0])
    found = sampled_softmax(USERS, POSITIVES, SHARED, NOTHING, temperature)
    np.testing.assert_allclose(found, by_hand, rtol=1e-6)
    logits = torch.tensor(rows)
    theirs = torch.nn.functional.cross_entropy(logits, torch.zeros(2, dtype=torch.int64))
    np.testing.assert_allclose(found, theirs, rtol=1e-6)


def test_what_is_left_out_is_no_negative():
    left_out = torch.tensor([[True, False, True], [True, True, True]])
    by_hand = (np.log(np.exp(5) + np.exp(2)) - 5) / 2  # user 1 has nothing to lose against
    found = sampled_softmax(USERS, POSITIVES, SHARED, left_out, 1.0)
    np.testing.assert_allclose(found, by_hand, rtol=1e-5)


def test_large_scores_neither_overflow_nor_lose_their_gradient():
    users = torch.tensor([[1000.0]], requires_grad=True)
    shared = torch.tensor([[1.0]])
    loss = sampled_softmax(users, torch.tensor([[-1.0]]), shared, NOTHING[:1, :1], 1.0)
    loss.backward()
    assert (loss.item(), users.grad.item()) == (2000.0, 2.0)
