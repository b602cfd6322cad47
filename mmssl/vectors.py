"""What model and objectives do to rows of vectors."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class TwoSided:
    """One quantity for both sides of the graph: user (U, d) and item (I, d)."""

    user: Tensor
    item: Tensor


def mean_or_zero(values: Tensor) -> Tensor:
    """The mean of all entries; 0 of none, as of a process without a row of a small batch."""
    return values.sum() / max(1, values.numel())


def perturb(vectors: Tensor, uniform: Tensor, length: float) -> Tensor:
    """e + epsilon sign(e) * n/|n|, row by row: the noise of SimGCL (Yu et al., SIGIR 2022).

    Args:
        vectors: (n, d), e.
        uniform: (n, d) draws of U(0, 1), n.
        length: epsilon.
    """
    return vectors + length * vectors.sign() * unit_rows(uniform)


def unit_rows(vectors: Tensor) -> Tensor:
    """x / |x|, row by row: (n, d) to (n, d); a row shorter than 1e-12 becomes zero.

    METHOD writes x / max(|x|, 1e-12). The two agree but for such rows, whose direction means
    nothing; and here they send no gradient back, where the formula's own derivative, 1e12, would
    drown every other. A row that holds NaN stays NaN.
    """
    norms = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
    # Divided by infinity they are zero, and so is what finite gradients send back through them.
    units: Tensor = vectors / norms.masked_fill(norms <= 1e-12, torch.inf)
    return units
