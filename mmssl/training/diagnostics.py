"""Whether every part of the objective moves the model: gradient norms, part by part."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn


def part_gradient_norms(
    parts: Mapping[str, Tensor],
    parameters: Iterable[nn.Parameter],
    add_up: Callable[[Sequence[Tensor | None]], None] = lambda _: None,
) -> dict[str, float]:
    """L2 norm, over all parameters together, of each part's gradient.

    Args:
        parts: scalar parts of one objective, weights included; their graph is kept.
        parameters: the trainable parameters.
        add_up: makes gradients, in place, those of the whole where a process has a part of it.
    """
    wanted = list(parameters)
    norms = {}
    for name, part in parts.items():
        found = torch.autograd.grad(part, wanted, retain_graph=True, allow_unused=True)
        gradients = [g if g is None or g.is_sparse else g.contiguous() for g in found]
        add_up(gradients)
        norms[name] = total_norm(gradients)
    return norms


def parameter_gradient_norms(module: nn.Module) -> dict[str, float]:
    """L2 norm of the gradient that each parameter holds now, by name; 0 where it holds none."""
    return {name: total_norm([p.grad]) for name, p in module.named_parameters()}


def total_norm(gradients: Iterable[Tensor | None]) -> float:
    """The L2 norm of all entries of all gradients together."""
    norms = [torch.linalg.vector_norm(_entries(g).float()) for g in gradients if g is not None]
    return float(torch.linalg.vector_norm(torch.stack(norms))) if norms else 0.0


def _entries(gradient: Tensor) -> Tensor:
    """Those that are not zero, of a sparse gradient; each once."""
    return gradient.coalesce().values() if gradient.is_sparse else gradient
