"""A problem of a few users and items, and what the papers' equations say of it, in numpy."""

from dataclasses import dataclass
from importlib import import_module

import numpy as np
import scipy.sparse as sp
import torch

from mmssl.config import TrainingConfig
from mmssl.data.dataset import ModalityFeatures
from mmssl.data.sampling import Batch
from mmssl.models import MODELS


@dataclass(frozen=True)
class Problem:
    """Interactions, features of two modalities, of which item 4 lacks the image, and a batch."""

    observed: np.ndarray
    features: dict[str, ModalityFeatures]
    users: np.ndarray
    positives: np.ndarray
    negatives: np.ndarray

    @property
    def batch(self) -> Batch:
        return Batch(*map(torch.from_numpy, (self.users, self.positives, self.negatives)))

    def raw(self, modality: str) -> np.ndarray:
        return self.features[modality].vectors.astype(np.float64)

    def model(self, name: str, **settings: object):
        """In float64, every parameter drawn anew: none is zero or equal to another."""
        settings = {"embedding_dim": 3, **settings}
        config = TrainingConfig.load(
            None, [f"model={name}", *(f"{k}={v}" for k, v in settings.items())]
        )
        module, _, kind = MODELS[name].model.partition(":")
        model = getattr(import_module(module), kind)(
            config,
            sp.csr_array(self.observed),
            self.features,
            torch.Generator().manual_seed(0),
            dtype=torch.float64,
        )
        torch.manual_seed(3)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(torch.randn_like(parameter))
        return model


def small_problem() -> Problem:
    draw = np.random.default_rng(7)
    observed = np.array(
        [
            [1, 1, 0, 0, 0, 0],
            [0, 1, 1, 0, 1, 0],
            [0, 0, 0, 1, 1, 0],
            [1, 0, 0, 0, 0, 1],
        ],
        dtype=np.float32,
    )
    features = {}
    for modality, dim in (("image", 4), ("audio", 2)):
        vectors = draw.normal(size=(6, dim)).astype(np.float32)
        present = np.ones(6, dtype=bool)
        if modality == "image":
            present[4] = False
        vectors[~present] = 0
        features[modality] = ModalityFeatures(vectors, present, None, "")
    return Problem(
        observed,
        features,
        users=np.array([0, 1, 2, 1]),
        positives=np.array([1, 4, 3, 2]),
        negatives=np.array([5, 0, 4, 3]),
    )


def numbers(model) -> dict[str, np.ndarray]:
    """All parameters by name."""
    return {name: p.detach().numpy() for name, p in model.named_parameters()}


def sigma(x):
    return 1 / (1 + np.exp(-x))


def bpr_by_hand(users, positives, negatives):
    """The mean of -log sigma(y+ - y-) over the rows."""
    margins = [u @ p - u @ n for u, p, n in zip(users, positives, negatives, strict=True)]
    return float(np.mean([-np.log(sigma(margin)) for margin in margins]))


def neighbours_by_hand(raw, present, k, *, itself, ones=False):
    """(I, I) dense: the cosine (or one) of the k most alike, above zero, of each row."""
    count = len(raw)
    found = np.zeros((count, count))
    for i in range(count):
        cosines = {
            j: raw[i] @ raw[j] / (np.linalg.norm(raw[i]) * np.linalg.norm(raw[j]))
            for j in range(count)
            if present[i] and present[j] and (itself or i != j)
        }
        for j in sorted(cosines, key=lambda j: -cosines[j])[:k]:
            found[i, j] = 1 if ones else max(cosines[j], 0)
    return found


def symmetric_by_hand(graph):
    """D^(-1/2) W D^(-1/2), D the row sums."""
    result = np.zeros_like(graph)
    sums = graph.sum(axis=1)
    for i, j in zip(*graph.nonzero(), strict=True):
        result[i, j] = graph[i, j] / np.sqrt(sums[i] * sums[j])
    return result


def lightgcn_by_hand(observed, users, items, layers):
    """The means over layers 0..L of D_u^(-1/2) R D_i^(-1/2) applied from side to side."""
    rows, columns = observed.sum(axis=1), observed.sum(axis=0)
    graph = observed / np.sqrt(np.outer(np.maximum(rows, 1), np.maximum(columns, 1)))
    user_sum, item_sum = users.copy(), items.copy()
    for _ in range(layers):
        users, items = graph @ items, graph.T @ users
        user_sum, item_sum = user_sum + users, item_sum + items
    return user_sum / (layers + 1), item_sum / (layers + 1)
