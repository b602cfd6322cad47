"""What media alone say of who likes an item: two linear towers, learned from the interactions."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mmssl.objectives.softmax import sampled_softmax
from mmssl.recommend.model_files import ItemFeatures


@dataclass(frozen=True)
class TowerSettings:
    """How the towers are learned; chosen on cold items of TikTok (docs/cold_start.md)."""

    dim: int = 64
    """Length of the vectors of one pair of towers."""
    pairs: int = 3
    """Pairs of towers, each from another start; their scores are averaged."""
    epochs: int = 2
    """Passes over the interactions, of which each pass takes 1,000,000 at most."""
    batch_size: int = 1024
    """Interactions in a step."""
    negatives: int = 1024
    """Items that all of a step compare with, drawn uniformly."""
    learning_rate: float = 4e-3
    """Of AdamW."""
    shrinkage: float = 1e-2
    """What is added to the variances of an embedding before it is whitened, as a share of the
    largest."""
    dropout: float = 0.2
    """Share of the numbers of an embedding that a step leaves out."""
    seed: int = 0


# More interactions teach a linear map of a few hundred numbers nothing.
_INTERACTIONS_AN_EPOCH = 1_000_000


class MediaSpace:
    """The raw embeddings of all modalities as one vector an item.

    Each modality is whitened by the items that are known from interactions, x = V^T (e - mean) /
    sqrt(w + shrinkage max w) with the eigenvectors V and eigenvalues w of their covariance, and
    scaled to length one; a modality that an item lacks is zero. An encoder's few strong directions
    would drown the others, which are many and tell users apart (docs/cold_start.md).
    """

    def __init__(
        self,
        features: Mapping[str, ItemFeatures],
        known: NDArray[np.bool_],
        shrinkage: float,
    ) -> None:
        """Take the statistics of the items that are ``known``, (I,) bool."""
        self.widths = {m: given.vectors.shape[1] for m, given in features.items()}
        self._means: dict[str, NDArray[np.float32]] = {}
        self._maps: dict[str, NDArray[np.float32]] = {}
        for modality, given in features.items():
            vectors = given.vectors[given.present & known].astype(np.float64)
            width = vectors.shape[1]
            mean = vectors.mean(axis=0) if len(vectors) else np.zeros(width)
            centred = vectors - mean
            values, directions = np.linalg.eigh(centred.T @ centred / max(1, len(vectors)))
            values = values.clip(min=0)
            spread = np.sqrt(values + shrinkage * values[-1])
            # Nothing varies: there is nothing to tell items apart by.
            scale = np.divide(1, spread, out=np.zeros(width), where=spread > 0)
            self._means[modality] = mean.astype(np.float32)
            self._maps[modality] = (directions * scale).astype(np.float32)

    def columns(self) -> dict[str, slice]:
        """Where each modality's numbers stand."""
        ends = np.cumsum(list(self.widths.values()))
        return {
            m: slice(int(end) - width, int(end))
            for (m, width), end in zip(self.widths.items(), ends, strict=True)
        }

    def vectors(self, features: Mapping[str, ItemFeatures]) -> NDArray[np.float32]:
        """(n, D) float32 of n items, D the sum of the modalities' dimensions."""
        blocks = []
        for modality in self.widths:
            given = features[modality]
            white = (given.vectors - self._means[modality]) @ self._maps[modality]
            white *= given.present[:, None]
            blocks.append(white / np.linalg.norm(white, axis=1, keepdims=True).clip(min=1e-12))
        return np.concatenate(blocks, axis=1).astype(np.float32)


@dataclass(frozen=True)
class Towers:
    """Learned towers: a user's score of an item is c_u . W' x_i + b . x_i.

    c_u = W (sum of x_j over the user's items j) / sqrt(their number), x as of ``MediaSpace``.
    """

    user_weights: NDArray[np.float32]
    """(D, d): W of all pairs, side by side."""
    item_weights: NDArray[np.float32]
    """(D, d): W' of all pairs."""
    bias: NDArray[np.float32]
    """(D,): b, what makes an item liked by everybody."""

    @classmethod
    def learn(
        cls, history: sp.csr_array, media: NDArray[np.float32], settings: TowerSettings
    ) -> "Towers":
        """Learn from who liked what.

        Each interaction is to rank above items drawn from those that have any, for the user as the
        other items of the history describe it: as if the item had just arrived.

        Args:
            history: (U, I) of ones, at least one stored.
            media: (I, D) as of ``MediaSpace``.
            settings: how.
        """
        pairs = [_learn_pair(history, media, settings, n) for n in range(settings.pairs)]
        # Divided, so that the product of all is the mean of the pairs' scores.
        share = np.float32(1 / len(pairs))
        item_weights: NDArray[np.float32] = np.concatenate([p.item_weights for p in pairs], axis=1)
        return cls(
            np.concatenate([pair.user_weights for pair in pairs], axis=1),
            np.multiply(item_weights, share, dtype=np.float32),
            np.stack([pair.bias for pair in pairs]).mean(axis=0, dtype=np.float32),
        )

    def users(self, history: sp.csr_array, media: NDArray[np.float32]) -> NDArray[np.float32]:
        """c of users with these histories (n, I): (n, d), zero without any."""
        users: NDArray[np.float32] = mean_media(history, media) @ self.user_weights
        return users


def mean_media(history: sp.csr_array, media: NDArray[np.float32]) -> NDArray[np.float32]:
    """The sum of a history's media over the root of their number: (n, D)."""
    counts = np.maximum(np.diff(history.indptr), 1).astype(np.float32)
    mean: NDArray[np.float32] = (history @ media).astype(np.float32) / np.sqrt(counts)[:, None]
    return mean


def _learn_pair(
    history: sp.csr_array, media: NDArray[np.float32], settings: TowerSettings, number: int
) -> Towers:
    generator = torch.Generator().manual_seed(settings.seed * 1000 + number)
    items = torch.from_numpy(media)
    sums = torch.from_numpy(np.asarray(history @ media, dtype=np.float32))
    degrees = torch.from_numpy(np.diff(history.indptr).astype(np.float32))
    users, liked = (torch.from_numpy(side.astype(np.int64)) for side in history.tocoo().coords)
    known = torch.from_numpy(np.unique(history.indices).astype(np.int64))

    def table(columns: int) -> nn.Parameter:
        draw = torch.rand(media.shape[1], columns, generator=generator)
        return nn.Parameter((2 * draw - 1) / media.shape[1] ** 0.5)

    user_weights, item_weights = table(settings.dim), table(settings.dim)
    bias = nn.Parameter(torch.zeros(media.shape[1], 1))
    optimiser = torch.optim.AdamW(
        [user_weights, item_weights, bias], lr=settings.learning_rate, weight_decay=0.0
    )
    keep = 1 - settings.dropout

    def dropped(vectors: Tensor) -> Tensor:
        if not settings.dropout:
            return vectors
        return vectors * (torch.rand(vectors.shape, generator=generator) < keep) / keep

    for _ in range(settings.epochs):
        order = torch.randperm(len(liked), generator=generator)[:_INTERACTIONS_AN_EPOCH]
        for places in torch.split(order, settings.batch_size):
            some, wanted = users[places], liked[places]
            others = known[torch.randint(len(known), (settings.negatives,), generator=generator)]
            # The item itself is no part of the history that it is to be found by.
            rest = (degrees[some] - 1).clamp(min=1).sqrt()[:, None]
            user = dropped((sums[some] - items[wanted]) / rest) @ user_weights
            shown = dropped(items[torch.cat([wanted, others])])
            # The bias as one more dimension, which is one for every user.
            item = torch.cat([shown @ item_weights, shown @ bias], dim=1)
            user = torch.cat([user, torch.ones(len(user), 1)], dim=1)
            loss = sampled_softmax(
                user, item[: len(some)], item[len(some) :], wanted[:, None] == others, 1.0
            )
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
    return Towers(
        user_weights.detach().numpy(),
        item_weights.detach().numpy(),
        bias.detach().numpy()[:, 0],
    )
