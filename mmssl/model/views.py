"""What a forward pass computes, and the graphs that it gathers along."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from mmssl.data.graphs import Graph
from mmssl.vectors import TwoSided


@dataclass(frozen=True)
class Views:
    """Everything one forward pass computes: for all users (U, d) and items (I, d), or for a step's.

    Under ``propagation: sampled`` it is computed for the users and items of a step alone, in the
    order of their neighbourhood, and what is gathered is an estimate.
    """

    features: dict[str, TwoSided]
    """F of equation 2, a modality; none in a step of training that has no use for them."""
    relations: dict[str, TwoSided]
    """H of equation 8, a modality; none in a step of training that has no use for them."""
    collaborative: TwoSided
    """c of equation 10."""
    final: TwoSided
    """h of equation 11."""
    perturbed: tuple[TwoSided, TwoSided] | None = None
    """c twice more, each time with noise of its own; None where nothing contrasts them."""


@dataclass(frozen=True)
class Graphs:
    """The graphs of a forward pass.

    Views have ``users`` and ``items`` rows. Where the pass needs more nodes than these on its way,
    as layer 0 of equation 10 has ``start_users`` and ``start_items``, these come first.
    """

    users: int
    items: int
    start_users: int
    start_items: int
    features: Graph
    """Equation 2."""
    relations: Mapping[str, Graph]
    """Equation 8, a modality."""
    joined_users: Tensor | None
    """(n,) int64, ascending: the users of layer 0 that a relation graph gives anything; None for
    about all of them. Everybody else's relation embeddings are zero."""
    joined_items: Tensor | None
    """Likewise, of items."""
    layers: Sequence[Graph]
    """Equation 10, layer 1 first."""


def first_rows(vectors: Tensor, n: int) -> Tensor:
    """The first n rows, (n, d); the tensor itself where it has no more."""
    # A slice of everything would cost a copy on the way back.
    return vectors if len(vectors) == n else vectors[:n]
