"""The learned relation graph of a modality (METHOD equations 7 and 8)."""

from typing import Literal

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray

from mmssl.data.graphs import binary
from mmssl.evaluation.ranking import InnerProduct, top_k
from mmssl.model.official import tiled_owners
from mmssl.processes import ONE, Processes
from mmssl.vectors import TwoSided


def neighbours_per_user(
    rate: float,
    n_items: int,
    rounding: Literal["nearest", "down"] = "nearest",
    most: int | None = None,
) -> int:
    """k = max(1, round(rate * items)): never zero, however small the catalogue; at most ``most``.

    ``down`` is the published int(rate * items), zero on catalogues below 1 / rate items (fault 4).
    """
    k = int(rate * n_items) if rounding == "down" else max(1, round(rate * n_items))
    return k if most is None else min(k, most)


@torch.no_grad()
def learned_relations(
    features: TwoSided,
    observed: sp.csr_array,
    k: int,
    pairing: Literal["own", "tiled"] = "own",
    users: NDArray[np.int64] | None = None,
    processes: Processes = ONE,
) -> sp.csr_array:
    """Joins every user with history to the k unobserved items with the highest F_u . F_i.

    Streams over blocks of users; ties go to the lower item row.

    Args:
        features: F_u^m (U, d) and F_i^m (I, d), dropout off.
        observed: (U, I) training interactions; they are taken out before the top-k.
        k: see ``neighbours_per_user``; with 0 the graph is empty.
        pairing: ``own``, or ``tiled``: each item with the user of fault 5.
        users: (n,) rows of users with history, distinct, to join none but these.
        processes: those among which the users are dealt out. The lists are put together rather
            than made in each, so that all processes have the same graph even where a device's sums
            do not always come to the same bits.

    Returns:
        (U, I) CSR matrix of ones.
    """
    if not k:
        return sp.csr_array(observed.shape, dtype=np.float32)
    if users is None:
        users = np.flatnonzero(np.diff(observed.indptr))
    items, _ = top_k(
        InnerProduct(features.user, features.item), users, observed, k, processes=processes
    )
    return joined(users, items, observed.shape, pairing)


def joined(
    users: NDArray[np.int64],
    items: NDArray[np.int64],
    shape: tuple[int, int],
    pairing: Literal["own", "tiled"] = "own",
) -> sp.csr_array:
    """The graph of lists: users (B,) with their items (B, k), -1 behind a short list.

    Returns:
        CSR matrix of ones of the given shape.
    """
    length = items.shape[1]
    owners = tiled_owners(users, length) if pairing == "tiled" else np.repeat(users, length)
    found = items.ravel() >= 0
    ones = np.ones(np.count_nonzero(found), dtype=np.float32)
    return binary(sp.csr_array((ones, (owners[found], items.ravel()[found])), shape=shape))


def union(learned: sp.csr_array, observed: sp.csr_array) -> sp.csr_array:
    """Edges of either graph, each with weight one."""
    return binary(sp.csr_array(learned + observed))
