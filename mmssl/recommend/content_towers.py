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
    steps: int | None = None
    """Steps of the optimiser; None: as many as serve items best that are held out for it."""
    batch_size: int = 1024
    """Interactions in a step."""
    negatives: int = 1024
    """Items that all of a step compare with, drawn uniformly."""
    learning_rate: float = 4e-3
    """Of AdamW."""
    shrinkage: float = 1e-2
    """What is added to the variances of an embedding before it is whitened, as a share of the
    largest."""
    dropout: float = 0.5
    """Share of the numbers of an embedding that a step leaves out."""
    seed: int = 0


# How the number of steps is found: looked at after every 10, ended by 10 looks that bring nothing,
# a tenth of the items held out, at most 2,000, and users enough to tell.
_STEPS_BETWEEN, _PATIENCE = 10, 10
_HELD_OUT, _MOST_HELD_OUT, _JUDGES = 0.1, 2000, 4096


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
        steps = chosen_steps(history, media, settings) if settings.steps is None else settings.steps
        pairs = []
        for number in range(settings.pairs):
            pair = _Pair(history, media, settings, number)
            pair.train(steps)
            pairs.append(pair.towers())
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


def chosen_steps(history: sp.csr_array, media: NDArray[np.float32], settings: TowerSettings) -> int:
    """How many steps serve new items best: found on a tenth of the items, held out at random.

    One pair of towers learns from the other items; every 10 steps it ranks the held-out ones for
    the users who interacted with them, by the rest of their histories. The best mean reciprocal
    rank decides.

    Args:
        history: (U, I) of ones.
        media: (I, D).
        settings: how the towers are learned.
    """
    draw = np.random.default_rng(settings.seed)
    known = np.unique(history.indices)
    count = min(_MOST_HELD_OUT, max(1, round(_HELD_OUT * len(known))))
    held = np.sort(draw.choice(known, count, replace=False))
    left = np.ones(history.shape[1], dtype=np.float32)
    left[held] = 0
    rest = sp.csr_array(history @ sp.diags_array(left))
    rest.eliminate_zeros()
    wanted = sp.csr_array(history[:, held])
    judges = np.flatnonzero((np.diff(wanted.indptr) > 0) & (np.diff(rest.indptr) > 0))
    if not len(judges):
        return _STEPS_BETWEEN
    judges = np.sort(draw.choice(judges, min(_JUDGES, len(judges)), replace=False))
    liked = wanted[judges].tocoo().coords
    pair = _Pair(rest, media, settings, settings.pairs)
    best, steps, done = -1.0, 0, 0
    while done - steps < _PATIENCE * _STEPS_BETWEEN:
        pair.train(_STEPS_BETWEEN)
        done += _STEPS_BETWEEN
        towers = pair.towers()
        scores = towers.users(rest[judges], media) @ (media[held] @ towers.item_weights).T
        scores += media[held] @ towers.bias
        ranks = (-scores).argsort(axis=1, kind="stable").argsort(axis=1)
        quality = float((1 / (1 + ranks[liked])).mean())
        if quality > best:
            best, steps = quality, done
    return steps


class _Pair:
    """One pair of towers in training."""

    def __init__(
        self,
        history: sp.csr_array,
        media: NDArray[np.float32],
        settings: TowerSettings,
        number: int,
    ) -> None:
        self._settings = settings
        self._generator = torch.Generator().manual_seed(settings.seed * 1000 + number)
        self._media = torch.from_numpy(media)
        self._sums = torch.from_numpy(np.asarray(history @ media, dtype=np.float32))
        self._degrees = torch.from_numpy(np.diff(history.indptr).astype(np.float32))
        users, liked = history.tocoo().coords
        self._users = torch.from_numpy(users.astype(np.int64))
        self._liked = torch.from_numpy(liked.astype(np.int64))
        self._known = torch.from_numpy(np.unique(history.indices).astype(np.int64))
        self._user_weights = self._table(settings.dim)
        self._item_weights = self._table(settings.dim)
        self._bias = nn.Parameter(torch.zeros(media.shape[1], 1))
        self._optimiser = torch.optim.AdamW(
            [self._user_weights, self._item_weights, self._bias],
            lr=settings.learning_rate,
            weight_decay=0.0,
        )
        self._order = self._users.new_zeros(0)

    def train(self, steps: int) -> None:
        """Go on for some steps; the interactions come in random order, pass after pass."""
        for _ in range(steps):
            if not len(self._order):
                self._order = torch.randperm(len(self._liked), generator=self._generator)
            places = self._order[: self._settings.batch_size]
            self._order = self._order[self._settings.batch_size :]
            self._step(self._users[places], self._liked[places])

    def towers(self) -> Towers:
        """What is learned by now."""
        return Towers(
            self._user_weights.detach().numpy().copy(),
            self._item_weights.detach().numpy().copy(),
            self._bias.detach().numpy()[:, 0].copy(),
        )

    def _step(self, users: Tensor, liked: Tensor) -> None:
        count = (self._settings.negatives,)
        drawn = torch.randint(len(self._known), count, generator=self._generator)
        others = self._known[drawn]
        # The item itself is no part of the history that it is to be found by.
        rest = (self._degrees[users] - 1).clamp(min=1).sqrt()[:, None]
        user = self._dropped((self._sums[users] - self._media[liked]) / rest) @ self._user_weights
        shown = self._dropped(self._media[torch.cat([liked, others])])
        # The bias as one more dimension, which is one for every user.
        user = torch.cat([user, torch.ones(len(user), 1)], dim=1)
        item = torch.cat([shown @ self._item_weights, shown @ self._bias], dim=1)
        positives, shared = item[: len(users)], item[len(users) :]
        loss = sampled_softmax(user, positives, shared, liked[:, None] == others, 1.0)
        self._optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimiser.step()

    def _dropped(self, vectors: Tensor) -> Tensor:
        keep = 1 - self._settings.dropout
        if keep == 1:
            return vectors
        return vectors * (torch.rand(vectors.shape, generator=self._generator) < keep) / keep

    def _table(self, columns: int) -> nn.Parameter:
        rows = self._media.shape[1]
        draw = torch.rand(rows, columns, generator=self._generator)
        return nn.Parameter((2 * draw - 1) / rows**0.5)
