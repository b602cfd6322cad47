"""A map of the items: the two directions in which their vectors differ most."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from extract.errors import InputError
from mmssl.data.dataset import Dataset
from mmssl.recommend.model_folder import SavedModel
from mmssl.report.cards import Card, ItemCards
from mmssl.report.figures import scatter

MOST_DOTS = 3_000
MOST_PICTURES = 60
PICTURE_WIDTH, PICTURE_HEIGHT = 0.062, 0.099
"""Shares of the map that a picture takes: a square on a map of 960 by 600."""

# Okabe and Ito's, without yellow and black, which vanish on white or on black.
_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")
_REST = "#8c8c8c"
# Rows made float64 at once: 64 MiB at 1,024 numbers each.
_ROWS = 8_192


@dataclass(frozen=True)
class Pin:
    """A picture on the map; places are shares of its width, from the left, and height, from top."""

    left: float
    top: float
    id: str
    card: Card


@dataclass(frozen=True)
class ItemMap:
    """What the page shows of it."""

    space: str
    """In words, what vectors they are."""
    src: str
    items: int
    """Items that have a vector."""
    shown: int
    """Dots."""
    shares: tuple[float, float]
    """Of the variance, along each axis."""
    beyond: int
    """Dots that lie further out, and are drawn on the edge."""
    pins: tuple[Pin, ...]
    legend: tuple[tuple[str, str, int], ...]
    """Colour, value and dots of each kind; empty where no column was named."""


def principal_plane(
    vectors: NDArray[np.float32],
) -> tuple[NDArray[np.float64], tuple[float, float]] | None:
    """The first two principal components, by the covariance's eigenvectors.

    Args:
        vectors: (n, d), finite.

    Returns:
        (n, 2) float64 coordinates, and the share of the variance along each; None where the
        vectors vary in fewer than two directions. Of the two signs of an axis the one is taken with
        which its largest number is positive.
    """
    count, dim = vectors.shape
    if count < 3 or dim < 2:
        return None
    mean = vectors.mean(axis=0, dtype=np.float64)
    scatter_matrix = np.zeros((dim, dim))
    for start in range(0, count, _ROWS):
        rows = vectors[start : start + _ROWS] - mean
        scatter_matrix += rows.T @ rows
    values, axes = np.linalg.eigh(scatter_matrix)
    total = float(values.clip(min=0).sum())
    if values[-2] <= 1e-12 * max(total, np.finfo(float).tiny):
        return None
    plane = axes[:, [-1, -2]]
    plane *= np.sign(plane[np.abs(plane).argmax(axis=0), [0, 1]])
    places = np.empty((count, 2))
    for start in range(0, count, _ROWS):
        places[start : start + _ROWS] = (vectors[start : start + _ROWS] - mean) @ plane
    return places, (float(values[-1]) / total, float(values[-2]) / total)


def spread_out(
    places: NDArray[np.float64], order: Sequence[int], most: int = MOST_PICTURES
) -> list[int]:
    """Rows whose pictures do not cover each other, the first in the order first.

    Args:
        places: (n, 2) between 0 and 1.
        order: rows that may be taken.
        most: how many at most.
    """
    taken: list[int] = []
    room = np.array([PICTURE_WIDTH, PICTURE_HEIGHT])
    for row in order:
        apart = np.abs(places[taken] - places[row]) >= room
        if apart.any(axis=1).all():
            taken.append(row)
            if len(taken) == most:
                break
    return taken


def item_map(
    saved: SavedModel,
    dataset: Dataset,
    cards: ItemCards,
    *,
    space: str | None,
    labels: Mapping[str, str] | None,
    seed: int,
) -> ItemMap | str:
    """The map, or in a sentence why there is none.

    Args:
        saved: the model.
        dataset: its dataset.
        cards: the items' pictures.
        space: ``model`` or a modality; None: the model's vectors, else the first modality's.
        labels: item id -> what its dot's colour stands for.
        seed: of which items are drawn, and which have their picture shown.

    Raises:
        InputError: the model or the dataset has no such vectors.
    """
    found = _vectors(saved, dataset, space)
    if found is None:
        return (
            "This model has no item vectors, and the dataset no modalities: there is nothing to"
            " draw a map from."
        )
    words, vectors, rows = found
    plane = principal_plane(vectors)
    if plane is None:
        return f"The {words} differ in fewer than two directions: there is nothing to draw."
    draw = np.random.default_rng(seed)
    places, shares = plane
    kept = np.sort(draw.permutation(len(places))[:MOST_DOTS])
    low, high = np.quantile(places, [0.005, 0.995], axis=0)
    margin = 0.03 * np.maximum(high - low, np.finfo(float).tiny)
    scaled = (places[kept] - low + margin) / (high - low + 2 * margin)
    beyond = int(((scaled < 0) | (scaled > 1)).any(axis=1).sum())
    # So that a picture lies within the map, and dots with it.
    half = np.array([PICTURE_WIDTH, PICTURE_HEIGHT]) / 2
    scaled = half + scaled.clip(0, 1) * (1 - 2 * half)
    ids = [saved.item_ids[row] for row in rows[kept]]
    colours, legend = _colours(ids, labels)
    with_picture = set(cards.pictured(ids))
    order = [row for row in draw.permutation(len(ids)).tolist() if ids[row] in with_picture]
    chosen = spread_out(scaled, order)
    shown = cards.cards([ids[row] for row in chosen])
    return ItemMap(
        space=words,
        src=scatter(scaled, colours),
        items=len(places),
        shown=len(kept),
        shares=shares,
        beyond=beyond,
        pins=tuple(
            Pin(float(scaled[row, 0]), float(1 - scaled[row, 1]), ids[row], shown[ids[row]])
            for row in sorted(chosen)
            if shown[ids[row]].picture
        ),
        legend=legend,
    )


def _vectors(
    saved: SavedModel, dataset: Dataset, space: str | None
) -> tuple[str, NDArray[np.float32], NDArray[np.int64]] | None:
    """What the vectors are, (n, d) vectors, and the (n,) rows of the items that they are of."""
    has = [*(["model"] if saved.item_vectors is not None else []), *dataset.features]
    if space is not None and space not in has:
        raise InputError(f"--space {space}: there are vectors of {', '.join(has) or 'nothing'}")
    chosen = space or next(iter(has), None)
    if chosen is None:
        return None
    if chosen == "model" and saved.item_vectors is not None:
        vectors: NDArray[np.float32] = saved.item_vectors.to(torch.float32).numpy()
        return "vectors that the model gives the items", vectors, np.arange(len(vectors))
    modality = dataset.features[chosen]
    rows = modality.present.nonzero()[0]
    # A copy only where some are absent.
    whole = len(rows) == len(modality.present)
    return (
        f"{chosen} features of the items",
        modality.vectors if whole else modality.vectors[rows],
        rows,
    )


def _colours(
    ids: Sequence[str], labels: Mapping[str, str] | None
) -> tuple[list[str], tuple[tuple[str, str, int], ...]]:
    """A colour a dot, and the legend: the most frequent labels, then the others."""
    if labels is None:
        return [_COLOURS[0]] * len(ids), ()
    counts = Counter(labels[name] for name in ids if name in labels)
    frequent = sorted(counts, key=lambda label: (-counts[label], label))[: len(_COLOURS)]
    colour_of = dict(zip(frequent, _COLOURS, strict=False))
    colours = [colour_of.get(labels.get(name, ""), _REST) for name in ids]
    legend = [(colour_of[label], label, counts[label]) for label in frequent]
    if rest := colours.count(_REST):
        legend.append((_REST, "other, or none", rest))
    return colours, tuple(legend)
