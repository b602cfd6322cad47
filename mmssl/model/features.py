"""Modality-aware features: raw embeddings projected, then gathered along the graph (1, 2)."""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from mmssl.data.graphs import Graph
from mmssl.vectors import TwoSided, unit_rows

Missing = Literal["zero", "mean", "learned"]
Scaling = Literal["none", "standardise", "unit"]


def scale(vectors: Tensor, present: Tensor, scaling: Scaling) -> Tensor:
    """Raw embeddings, scaled by the statistics of the items that have the modality.

    Args:
        vectors: (I, d_m) raw embeddings.
        present: (I,) bool; rows that are absent stay zero and enter no statistic.
        scaling: ``none``; ``standardise`` (each column to mean 0, deviation 1; a constant column
            becomes 0); ``unit`` (mean vector removed, each row divided by its L2 norm).
    """
    if scaling == "none" or not present.any():
        return vectors * present[:, None]
    centred = vectors - vectors[present].mean(dim=0)
    if scaling == "unit":
        # Squares of huge values overflow: only proportions matter here.
        centred = unit_rows(centred / centred.abs().amax().clamp(min=1e-30))
    else:
        deviation = centred[present].square().mean(dim=0).sqrt()
        # What a mean of equal numbers leaves is rounding, in proportion to their size.
        varies = deviation > 1e-6 * vectors[present].abs().amax(dim=0)
        centred = torch.where(varies, centred / deviation.clamp(min=1e-30), 0.0)
    return centred * present[:, None]


class Projection(nn.Module):
    """P^m = dropout(X^m W_m^T + b_m) for one modality (METHOD equation 1).

    Items without the modality get, by ``missing``: a zero projection, the projection of the mean
    vector of the items that have it, or one learned projected vector.
    """

    vectors: Tensor
    present: Tensor

    def __init__(
        self, vectors: Tensor, present: Tensor, dim: int, missing: Missing, dropout: float
    ) -> None:
        super().__init__()
        if missing == "mean" and present.any():
            vectors = torch.where(present[:, None], vectors, vectors[present].mean(dim=0))
        # Constants of the dataset: not saved with the parameters.
        self.register_buffer("vectors", vectors, persistent=False)
        self.register_buffer("present", present, persistent=False)
        # The vectors themselves have the mean in place of what is missing.
        self._replaces = missing == "learned" or (missing == "zero" and not bool(present.all()))
        self.linear = nn.Linear(vectors.shape[1], dim)
        nn.init.xavier_uniform_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)
        # Not zero: a user whose items all lack the modality would have F_u = 0, where the direction
        # of F_u that equations 3 and 11 take has no derivative.
        self.absent = nn.Parameter(torch.randn(dim) / dim**0.5) if missing == "learned" else None
        self.dropout = nn.Dropout(dropout)

    def forward(self, items: Tensor | None = None) -> Tensor:
        """The projected features of all items, (I, d), or of item rows ``items`` (n,): (n, d)."""
        # Several times faster than indexing, of many rows.
        vectors = self.vectors if items is None else self.vectors.index_select(0, items)
        projected: Tensor = self.linear(vectors)
        if self._replaces:
            present = self.present if items is None else self.present[items]
            instead = self.absent if self.absent is not None else projected.new_zeros(())
            projected = torch.where(present[:, None], projected, instead)
        dropped: Tensor = self.dropout(projected)
        return dropped


def gather_features(projections: Mapping[str, Tensor], graph: Graph) -> dict[str, TwoSided]:
    """F_u^m = A_ui P^m and F_i^m = A_iu F_u^m for every modality (METHOD equation 2)."""
    gathered = {}
    for modality, projected in projections.items():
        user = graph.to_users @ projected
        gathered[modality] = TwoSided(user, graph.to_items @ user)
    return gathered


def feature_l2(
    features: Mapping[str, TwoSided], population: tuple[int, int] | None = None
) -> Tensor:
    """Half the squared norms of all features, summed over modalities, divided by the items.

    Args:
        features: of all users and items; or of some of them.
        population: users U and items I where ``features`` are of some. Their sums then stand for
            everybody's, times U (I) over the users (items) that are there.
    """
    one = next(iter(features.values()))
    n_users, n_items = population or (len(one.user), len(one.item))
    squares = [
        side.square().sum() * (n / len(side))
        for f in features.values()
        for side, n in ((f.user, n_users), (f.item, n_items))
    ]
    return 0.5 * torch.stack(squares).sum() / n_items
