"""The optimiser of id tables of which a step touches few rows."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from mmssl.optimisers import EagerOptimiser


class LazyAdamW(EagerOptimiser):
    """AdamW on the rows that have a gradient; all others keep their values, moments and decay.

    For parameters whose gradients are sparse in their rows, as ``nn.functional.embedding`` gives
    with ``sparse=True``; a step costs what these rows cost. (``torch.optim.SparseAdam`` has no
    decay.) It departs from AdamW (Loshchilov and Hutter, ICLR 2019) for the rows that a step leaves
    out: their first moment does not carry them on, their moments do not fade, and the decoupled
    decay, row * (1 - lr * weight_decay), waits until they are touched. Bias is corrected by the
    steps of the table, not of the row.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        lr: float,
        weight_decay: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        settings = {"lr": lr, "weight_decay": weight_decay, "betas": betas, "eps": eps}
        super().__init__(params, settings)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One step of the rows that have a gradient; ``closure`` is not taken."""
        if closure is not None:
            raise ValueError("LazyAdamW takes no closure")
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, group)

    def _move(self, table: nn.Parameter, group: dict[str, Any]) -> None:
        assert table.grad is not None
        rows, values = _distinct_rows(table.grad)
        state = self.state[table]
        if not state:
            state["step"] = 0
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(table), torch.zeros_like(table)
        state["step"] += 1
        first, second = group["betas"]
        mean = state["exp_avg"].index_select(0, rows).lerp_(values, 1 - first)
        state["exp_avg"].index_copy_(0, rows, mean)
        square = state["exp_avg_sq"].index_select(0, rows).mul_(second)
        square.addcmul_(values, values, value=1 - second)
        state["exp_avg_sq"].index_copy_(0, rows, square)
        root = square.div_(1 - second ** state["step"]).sqrt_().add_(group["eps"])
        moved = table.index_select(0, rows).mul_(1 - group["lr"] * group["weight_decay"])
        moved.addcdiv_(mean, root, value=-group["lr"] / (1 - first ** state["step"]))
        table.index_copy_(0, rows, moved)


def _distinct_rows(gradient: Tensor) -> tuple[Tensor, Tensor]:
    """The rows (n,) of a sparse gradient and their values (n, d), no row twice.

    A step's nodes are distinct as they come: to sort their numbers alone costs a fraction of
    ``coalesce``, which sorts their values too.
    """
    if not gradient.is_coalesced():
        rows = gradient._indices()[0]
        ascending = rows.sort().values
        if not bool((ascending[1:] == ascending[:-1]).any()):
            return rows, gradient._values()
        gradient = gradient.coalesce()
    return gradient.indices()[0], gradient.values()
