"""Pooling: many vectors - of tokens, patches or frames - become one."""

from typing import Literal, TypeAlias

import torch

Pooling: TypeAlias = Literal["mean", "cls", "last", "max"]


def pool(tokens: torch.Tensor, mask: torch.Tensor, how: Pooling) -> torch.Tensor:
    """Pool the valid tokens of each row, in float32.

    Args:
        tokens: (n, t, d), floating.
        mask: (n, t) bool, True where a token is valid; every row has at least one, and the valid
            ones of a row need not be contiguous.
        how: ``mean`` or ``max`` over the valid tokens, ``cls`` the first, ``last`` the last.

    Returns:
        (n, d) float32.
    """
    # bfloat16 keeps 8 bits: a sum over hundreds of tokens would lose most of them.
    tokens = tokens.float()
    rows = torch.arange(len(tokens), device=tokens.device)
    if how == "mean":
        weights = mask.unsqueeze(-1).to(tokens.dtype)
        return (tokens * weights).sum(1) / weights.sum(1)
    if how == "max":
        return tokens.masked_fill(~mask.unsqueeze(-1), float("-inf")).amax(1)
    positions = torch.arange(mask.shape[1], device=mask.device).expand_as(mask)
    if how == "last":
        return tokens[rows, positions.masked_fill(~mask, -1).amax(1)]
    return tokens[rows, positions.masked_fill(~mask, mask.shape[1]).amin(1)]
