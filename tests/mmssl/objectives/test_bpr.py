import numpy as np
import torch

from mmssl.objectives.bpr import batch_l2, bpr

USERS = torch.tensor([[1.0, 2.0], [0.5, -1.0]])
POSITIVES = torch.tensor([[3.0, 1.0], [1.0, 1.0]])
NEGATIVES = torch.tensor([[1.0, 1.0], [2.0, 0.0]])


def test_bpr_is_the_mean_negative_log_sigmoid_of_the_margin():
    # margins: (5 - 3) = 2 and (-.5 - 1) = -1.5
    by_hand = np.mean([-np.log(1 / (1 + np.exp(-2.0))), -np.log(1 / (1 + np.exp(1.5)))])
    np.testing.assert_allclose(bpr(USERS, POSITIVES, NEGATIVES), by_hand, rtol=1e-6)


def test_a_huge_margin_neither_overflows_nor_loses_its_gradient():
    users = torch.tensor([[1000.0]], requires_grad=True)
    loss = bpr(users, torch.tensor([[-1.0]]), torch.tensor([[1.0]]))
    loss.backward()
    assert loss.item() == 2000.0
    assert users.grad.item() == 2.0


def test_batch_l2_is_half_the_squares_over_the_batch_size():
    # 5 + 1.25 + 10 + 2 + 2 + 4 = 24.25
    np.testing.assert_allclose(batch_l2(USERS, POSITIVES, NEGATIVES), 0.5 * 24.25 / 2)
