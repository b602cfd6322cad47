"""The optimiser of id tables of which a step touches few rows."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn


class LazyAdamW(torch.optim.SparseAdam):
    """AdamW on the rows that have a gradient; all others keep their values, moments and decay.

    For parameters whose gradients are sparse in their rows, as ``nn.functional.embedding`` gives
    with ``sparse=True``. It departs from AdamW (Loshchilov and Hutter, ICLR 2019) for the rows that
    a step leaves out: their first moment does not carry them on, their moments do not fade, and the
    decoupled decay, row * (1 - lr * weight_decay), waits until they are touched. Bias is corrected
    by the steps of the table, not of the row.
    """

    def __init__(self, params: Iterable[nn.Parameter], lr: float, weight_decay: float) -> None:
        super().__init__(params, lr=lr)
        for group in self.param_groups:
            group["weight_decay"] = weight_decay

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        """Decay the touched rows, then SparseAdam's step."""
        for group in self.param_groups:
            kept = 1 - group["lr"] * group["weight_decay"]
            for parameter in group["params"]:
                if parameter.grad is not None:
                    # Coalesced once, here: the rows are distinct, and SparseAdam need not do it.
                    parameter.grad = parameter.grad.coalesce()
                    rows = parameter.grad.indices()[0]
                    parameter[rows] *= kept
        super().step(closure)
