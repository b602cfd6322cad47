import numpy as np
import pytest
import torch

from mmssl.objectives.cross_view import cross_view


def slow_cross_view(anchors: np.ndarray, others: np.ndarray, places: list, tau: float) -> float:
    """The paper's fraction, a loop a sum."""

    def cosine(x, y):
        return x @ y / (np.linalg.norm(x) * np.linalg.norm(y))

    losses = []
    for anchor, place in zip(anchors, places, strict=True):
        own = np.exp(cosine(anchor, others[place]) / tau)
        losses.append(-np.log(own / sum(np.exp(cosine(anchor, other) / tau) for other in others)))
    return float(np.mean(losses))


@pytest.mark.parametrize("tau", [0.05, 0.5, 2.0])
def test_equals_the_loops_of_the_paper(tau):
    anchors, others = np.random.default_rng(0).normal(size=(2, 6, 4))
    ours = cross_view(torch.as_tensor(anchors), torch.as_tensor(others), tau)
    assert ours.item() == pytest.approx(slow_cross_view(anchors, others, range(6), tau), rel=1e-9)


def test_anchors_may_be_some_of_the_nodes_of_the_other_view():
    anchors, others = np.random.default_rng(1).normal(size=(2, 6, 4))
    places = [4, 0, 5]
    ours = cross_view(
        torch.as_tensor(anchors[places]), torch.as_tensor(others), 0.3, torch.tensor(places)
    )
    wanted = slow_cross_view(anchors[places], others, places, 0.3)
    assert ours.item() == pytest.approx(wanted, rel=1e-9)


def test_both_views_learn_and_a_small_temperature_stays_finite():
    draw = torch.Generator().manual_seed(0)
    views = [torch.randn(8, 4, generator=draw, requires_grad=True) for _ in range(2)]
    loss = cross_view(*views, 0.005)
    loss.backward()
    assert torch.isfinite(loss)
    for view in views:
        assert torch.isfinite(view.grad).all()
        assert view.grad.abs().sum() > 0
