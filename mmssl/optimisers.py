"""Torch's optimisers without torch's compiler, which they load when they are first used.

``torch.optim`` decorates its methods for ``torch.compile``, and the decorators import the compiler:
900 modules, 155 MiB and seconds at the start of every training, and no training is compiled. Here
the same methods stand undecorated, so that every step is the same to the last bit.
"""

import inspect

import torch


class EagerOptimiser(torch.optim.Optimizer):
    """The base of optimisers whose ``step`` is never compiled."""

    # The decorators name what they wrap, as functools does; a method without one is left as it is.
    add_param_group = inspect.unwrap(torch.optim.Optimizer.add_param_group)
    zero_grad = inspect.unwrap(torch.optim.Optimizer.zero_grad)
    state_dict = inspect.unwrap(torch.optim.Optimizer.state_dict)
    load_state_dict = inspect.unwrap(torch.optim.Optimizer.load_state_dict)


class Adam(EagerOptimiser, torch.optim.Adam):
    """``torch.optim.Adam``, its arguments and its state."""

    step = torch.no_grad()(inspect.unwrap(torch.optim.Adam.step))


class AdamW(EagerOptimiser, torch.optim.AdamW):
    """``torch.optim.AdamW``, its arguments and its state."""

    step = torch.no_grad()(inspect.unwrap(torch.optim.AdamW.step))
