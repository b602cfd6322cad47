"""The learned relation graph of a modality (METHOD equations 7 and 8)."""

import numpy as np
import scipy.sparse as sp
import torch

from mmssl.data.graphs import binary
from mmssl.evaluation.ranking import inner_product, top_k
from mmssl.model.features import TwoSided


def neighbours_per_user(rate: float, n_items: int) -> int:
    """k = max(1, round(rate * items)): never zero, however small the catalogue."""
    return max(1, round(rate * n_items))


@torch.no_grad()
def learned_relations(features: TwoSided, observed: sp.csr_array, rate: float) -> sp.csr_array:
    """Joins every user with history to the k unobserved items with the highest F_u . F_i.

    Streams over blocks of users; ties go to the lower item row.

    Args:
        features: F_u^m (U, d) and F_i^m (I, d), dropout off.
        observed: (U, I) training interactions; they are taken out before the top-k.
        rate: k = max(1, round(rate * I)).

    Returns:
        (U, I) CSR matrix of ones.
    """
    users = np.flatnonzero(np.diff(observed.indptr))
    k = neighbours_per_user(rate, observed.shape[1])
    items, _ = top_k(inner_product(features.user, features.item), users, observed, k)
    # Lists end in -1 where a user has fewer than k unobserved items.
    found = items >= 0
    rows, columns = np.repeat(users, found.sum(axis=1)), items[found]
    return sp.csr_array(
        (np.ones(len(rows), dtype=np.float32), (rows, columns)), shape=observed.shape
    )


def union(learned: sp.csr_array, observed: sp.csr_array) -> sp.csr_array:
    """Edges of either graph, each with weight one."""
    return binary(sp.csr_array(learned + observed))
