"""How far a step goes: the learning rate from step to step, and the bound of the gradients."""

import math
from collections.abc import Callable, Iterable

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from extract.errors import InputError
from mmssl.config import OptimiserConfig
from mmssl.training.diagnostics import total_norm


def make_schedule(optimiser: Optimizer, config: OptimiserConfig, steps: int) -> LambdaLR:
    """The schedule of the model's optimiser; to be stepped after each of its steps.

    Args:
        optimiser: its rates become those of the first step.
        config: ``schedule``, ``warm_up_steps`` and ``epochs``.
        steps: of an epoch.

    Raises:
        InputError: the warm-up is as long as the whole run.
    """
    total = config.epochs * steps
    if config.warm_up_steps >= total:
        raise InputError(
            f"optimiser.warm_up_steps: {config.warm_up_steps}, but the whole run has {total} steps"
            f" ({config.epochs} epochs of {steps}); take fewer"
        )
    return LambdaLR(optimiser, _factor(config.schedule, config.warm_up_steps, total))


def _factor(schedule: str, warm_up: int, total: int) -> Callable[[int], float]:
    """The share of the learning rate that step s (from 0) of a run of ``total`` steps has."""

    def factor(step: int) -> float:
        if step < warm_up:
            return (step + 1) / warm_up
        # 0 at the first step after the warm-up, 1 after the last step of the run.
        done = (step - warm_up) / (total - warm_up)
        if schedule == "linear":
            return 1 - done
        if schedule == "cosine":
            return (1 + math.cos(math.pi * done)) / 2
        return 1.0

    return factor


def clip(parameters: Iterable[nn.Parameter], norm: float) -> None:
    """Scale all gradients, dense or sparse, so that their L2 norm together is at most ``norm``.

    ``torch.nn.utils.clip_grad_norm_`` knows no sparse gradients.
    """
    gradients = [p.grad for p in parameters if p.grad is not None]
    total = total_norm(gradients)
    if total > norm:
        for gradient in gradients:
            gradient.mul_(norm / total)
