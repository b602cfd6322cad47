"""The learning rate by step, beside torch's own schedules and by hand."""

import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR

from extract.errors import InputError
from mmssl.config import OptimiserConfig
from mmssl.training.schedule import make_schedule

EPOCHS, STEPS = 3, 4


def optimiser() -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.8)


def rates(schedule) -> list[float]:
    """Of every step of the run."""
    found = []
    for _ in range(EPOCHS * STEPS):
        found.append(schedule.optimizer.param_groups[0]["lr"])
        schedule.optimizer.step()
        schedule.step()
    return found


def ours(**settings) -> list[float]:
    config = OptimiserConfig(epochs=EPOCHS, **settings)
    return rates(make_schedule(optimiser(), config, STEPS))


def test_without_a_warm_up_they_are_torchs():
    total = EPOCHS * STEPS
    assert ours() == [0.8] * total
    linear = LinearLR(optimiser(), 1.0, 0.0, total_iters=total)
    assert ours(schedule="linear") == pytest.approx(rates(linear))
    assert ours(schedule="cosine") == pytest.approx(rates(CosineAnnealingLR(optimiser(), total)))


def test_the_warm_up_rises_to_the_rate_and_the_fall_begins_there():
    warm = [0.2, 0.4, 0.6, 0.8]
    assert ours(warm_up_steps=4) == pytest.approx([*warm, *[0.8] * 8])
    falling = [0.8 * left / 8 for left in (8, 7, 6, 5, 4, 3, 2, 1)]
    assert ours(warm_up_steps=4, schedule="linear") == pytest.approx([*warm, *falling])
    halfway = ours(warm_up_steps=4, schedule="cosine")[8]
    assert halfway == pytest.approx(0.4)


def test_a_warm_up_as_long_as_the_run_is_refused():
    with pytest.raises(InputError, match=r"warm_up_steps: 12, but the whole run has 12 steps"):
        ours(warm_up_steps=12)
