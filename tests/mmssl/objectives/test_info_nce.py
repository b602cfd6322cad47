import numpy as np
import pytest
import torch

from mmssl.objectives.info_nce import info_nce


def slow_info_nce(anchors: np.ndarray, positives: np.ndarray, tau: float) -> float:
    """Equation 12 of METHOD, a loop a sum."""

    def cosine(x, y):
        return x @ y / (max(np.linalg.norm(x), 1e-12) * max(np.linalg.norm(y), 1e-12))

    losses = []
    for i, anchor in enumerate(anchors):
        own = np.exp(cosine(anchor, positives[i]) / tau)
        within = sum(np.exp(cosine(anchor, other) / tau) for other in anchors)
        across = sum(np.exp(cosine(anchor, other) / tau) for other in positives)
        self_term = np.exp(cosine(anchor, anchor) / tau)
        losses.append(-np.log(own / (within + across - self_term) + 1e-8))
    return float(np.mean(losses))


@pytest.mark.parametrize("tau", [0.05, 0.5, 2.0])
def test_equals_the_loops_of_the_paper(tau):
    draw = np.random.default_rng(0)
    anchors, positives = draw.normal(size=(2, 6, 4))
    anchors[2] = 0  # a user whose relation graph is empty
    ours = info_nce(torch.as_tensor(anchors), torch.as_tensor(positives), tau)
    np.testing.assert_allclose(ours.item(), slow_info_nce(anchors, positives, tau), rtol=1e-9)


def test_a_small_temperature_stays_finite_in_single_precision():
    draw = torch.Generator().manual_seed(0)
    anchors = torch.randn(8, 4, generator=draw, requires_grad=True)
    loss = info_nce(anchors, torch.randn(8, 4, generator=draw), 0.005)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(anchors.grad).all()


def test_agreeing_views_cost_less_than_shuffled_ones():
    views = torch.randn(16, 8, generator=torch.Generator().manual_seed(1))
    assert info_nce(views, views, 0.2) < info_nce(views, views.roll(1, 0), 0.2)


def test_one_user_alone_has_no_negatives_and_no_broken_derivative():
    anchor, positive = (torch.randn(1, 4, requires_grad=True) for _ in range(2))
    with torch.autograd.detect_anomaly(check_nan=True):
        loss = info_nce(anchor, positive, 0.5)
        loss.backward()
    # Told from nobody: -log(1 + 1e-8).
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert anchor.grad.abs().max() < 1e-6
