import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss

from mmssl.objectives.reconstruction import reconstruction


def sides(scale: float = 1.0) -> np.ndarray:
    """Users, positives and negatives, two modalities each: (3, 2, B, d)."""
    return scale * np.random.default_rng(0).normal(size=(3, 2, 5, 4))


@pytest.mark.parametrize("scale", [0.1, 1.0])
def test_equals_the_log_loss_of_sklearn_summed_over_modalities(scale):
    users, positives, negatives = sides(scale)
    expected = 0.0
    for m in range(2):
        products = [(users[m] * other[m]).sum(axis=1) for other in (positives, negatives)]
        chance = 1 / (1 + np.exp(-np.concatenate(products)))
        expected += log_loss([1] * 5 + [0] * 5, chance)
    ours = reconstruction(*([torch.as_tensor(x) for x in side] for side in sides(scale)))
    np.testing.assert_allclose(ours.item(), expected, rtol=1e-9)


def test_large_products_stay_finite():
    """log(sigma(-1000)) is -1000, not minus infinity."""
    user = [torch.tensor([[1.0]])]
    loss = reconstruction(user, [torch.tensor([[-1000.0]])], [torch.tensor([[-1000.0]])])
    assert loss.item() == pytest.approx(500)


def test_gradients_pull_positives_closer_and_push_negatives_away():
    """d/dp of -log sigma(u p) is -(1 - sigma(u p)) u, halved by the mean over two pairs."""
    user, positive, negative = (
        torch.tensor([[value]], dtype=torch.float64, requires_grad=True)
        for value in (2.0, 0.5, 0.5)
    )
    reconstruction([user], [positive], [negative]).backward()
    sigma = 1 / (1 + np.exp(-1.0))
    np.testing.assert_allclose(positive.grad.item(), -(1 - sigma) * 2 / 2, rtol=1e-12)
    np.testing.assert_allclose(negative.grad.item(), sigma * 2 / 2, rtol=1e-12)
    assert user.grad.abs() > 0


def test_unequal_numbers_of_modalities_are_refused():
    one, two = [torch.ones(2, 3)], [torch.ones(2, 3)] * 2
    with pytest.raises(ValueError, match="zip"):
        reconstruction(one, two, one)
