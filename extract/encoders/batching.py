"""Batches of unlike tensors: grouped by shape, run in pieces, given back in order."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from extract.encoders.base import Encoder, Raw

Inputs = Mapping[str, torch.Tensor]
"""What a model takes for one item, by name, without a batch axis."""


def placed(inputs: Inputs, module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Move inputs to a module's device, and floating ones to its dtype."""
    at = next(p for p in module.parameters() if p.is_floating_point())
    return {
        name: value.to(at.device, at.dtype if value.is_floating_point() else None)
        for name, value in inputs.items()
    }


def run_by_shape(
    items: Sequence[Inputs], forward: Callable[[dict[str, torch.Tensor]], Any], limit: int
) -> list[torch.Tensor]:
    """Run a model over items of any shapes; only items of equal shapes share a forward pass.

    Padding would change the vectors of models that normalise over time or pool without a mask, so
    nothing is padded here: an item's result does not depend on its company.

    Args:
        items: named tensors without a batch axis, all with the same names.
        forward: takes them stacked, (b, ...); returns (b, ...).
        limit: the most items in one forward pass.

    Returns:
        One result per item, in the order given.
    """
    groups: dict[tuple[tuple[str, torch.Size], ...], list[int]] = {}
    for i, item in enumerate(items):
        shapes = tuple((name, value.shape) for name, value in item.items())
        groups.setdefault(shapes, []).append(i)
    results: dict[int, torch.Tensor] = {}
    for members in groups.values():
        for start in range(0, len(members), limit):
            piece = members[start : start + limit]
            names = items[piece[0]]
            stacked = {name: torch.stack([items[i][name] for i in piece]) for name in names}
            results.update(zip(piece, forward(stacked), strict=True))
    return [results[i] for i in range(len(items))]


def probe_dim(encoder: Encoder, raw: Raw) -> int:
    """The length of an encoder's vectors, found by encoding one item."""
    with torch.inference_mode():
        return encoder.encode([encoder.preprocess(raw)]).shape[1]
