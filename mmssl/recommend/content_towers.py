"""What media alone say of who likes an item: two linear towers, learned from the interactions."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mmssl.objectives.softmax import sampled_softmax
from mmssl.optimisers import AdamW


@dataclass(frozen=True)
class TowerSettings:
    """How the towers are learned; chosen on cold items of TikTok (docs/guides/cold_start.md)."""

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
    learning_rate: float = 2e-3
    """Of AdamW."""
    shrinkage: float = 1e-2
    """What is added to the variances of an embedding before it is whitened, as a share of the
    largest."""
    dropout: float = 0.5
    """Share of the numbers of an embedding that a step leaves out."""
    seed: int = 0


# How the number of steps is found: looked at after every 10, 500 at most, ended by 10 looks that
# bring nothing, a tenth of the items held out, at most 2,000, and users enough to tell.
_STEPS_BETWEEN, _MOST_STEPS, _PATIENCE = 10, 500, 10
_HELD_OUT, _MOST_HELD_OUT, _JUDGES = 0.1, 2000, 4096


@dataclass(frozen=True)
class Towers:
    """Learned towers: a user's score of an item is c_u . W' x_i + b . x_i.

    c_u = W (sum of x_j over the user's items j) / sqrt(their number), x as of ``MediaSpace``.
    Beside what was learned W and W' hold a modality's plain likeness, which learns nothing and
    misleads less: together they rank new items better than either (docs/guides/cold_start.md).
    """

    user_weights: NDArray[np.float32]
    """(D, d): W of all pairs, side by side."""
    item_weights: NDArray[np.float32]
    """(D, d): W' of all pairs."""
    bias: NDArray[np.float32]
    """(D,): b, what makes an item liked by everybody."""

    @classmethod
    def learn(
        cls,
        history: sp.csr_array,
        media: NDArray[np.float32],
        settings: TowerSettings,
        likenesses: Mapping[str, NDArray[np.float32]] | None = None,
    ) -> "Towers":
        """Learn from who liked what.

        Each interaction is to rank above items drawn from those that have any, for the user as the
        other items of the history describe it: as if the item had just arrived.

        Args:
            history: (U, I) of ones, at least one stored.
            media: (I, D) as of ``MediaSpace``.
            settings: how.
            likenesses: those of ``MediaSpace``, of which the one that ranks held-out items best
                stands beside what is learned, with the same spread of scores; none when left out.
        """
        held_out = HeldOut(history, media, settings.seed)
        steps = settings.steps
        if steps is None:
            steps = chosen_steps(history, media, settings, held_out)
        pairs = []
        for number in range(settings.pairs):
            pair = _Pair(history, media, settings, number)
            pair.train(steps)
            pairs.append(pair.towers())
        # Divided, so that the product of all is the mean of the pairs' scores.
        share = np.float32(1 / len(pairs))
        item_weights: NDArray[np.float32] = np.concatenate([p.item_weights for p in pairs], axis=1)
        learned = cls(
            np.concatenate([pair.user_weights for pair in pairs], axis=1),
            np.multiply(item_weights, share, dtype=np.float32),
            np.stack([pair.bias for pair in pairs]).mean(axis=0, dtype=np.float32),
        )
        plain = [cls(w, w, np.zeros(len(w), np.float32)) for w in (likenesses or {}).values()]
        if not plain:
            return learned
        best = max(plain, key=held_out.quality)
        ratio = held_out.spread(learned) / max(held_out.spread(best), 1e-12)
        beside = np.multiply(best.item_weights, ratio, dtype=np.float32)
        return cls(
            np.concatenate([learned.user_weights, best.user_weights], axis=1),
            np.concatenate([learned.item_weights, beside], axis=1),
            learned.bias,
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


class HeldOut:
    """A tenth of the items, held out at random, and the users who interacted with them.

    What ranks them for these users, by the rest of their histories, ranks new items.
    """

    def __init__(self, history: sp.csr_array, media: NDArray[np.float32], seed: int) -> None:
        """Draw the items of (U, I) histories; ``media`` are (I, D)."""
        draw = np.random.default_rng(seed)
        known = np.unique(history.indices)
        count = min(_MOST_HELD_OUT, max(1, round(_HELD_OUT * len(known))))
        held = np.sort(draw.choice(known, count, replace=False))
        left = np.ones(history.shape[1], dtype=np.float32)
        left[held] = 0
        self.rest = sp.csr_array(history @ sp.diags_array(left))
        self.rest.eliminate_zeros()
        wanted = sp.csr_array(history[:, held])
        judges = np.flatnonzero((np.diff(wanted.indptr) > 0) & (np.diff(self.rest.indptr) > 0))
        self.judges = np.sort(draw.choice(judges, min(_JUDGES, len(judges)), replace=False))
        self._liked = wanted[self.judges].tocoo().coords
        self._profiles = mean_media(sp.csr_array(self.rest[self.judges]), media)
        self._held = media[held]

    def quality(self, towers: Towers) -> float:
        """The mean reciprocal rank of what was held out; 0 where nobody can tell."""
        if not len(self.judges):
            return 0.0
        ranks = (-self._scores(towers)).argsort(axis=1, kind="stable").argsort(axis=1)
        return float((1 / (1 + ranks[self._liked])).mean())

    def spread(self, towers: Towers) -> float:
        """The deviation of the scores; 0 where nobody can tell."""
        return float(self._scores(towers).std()) if len(self.judges) else 0.0

    def _scores(self, towers: Towers) -> NDArray[np.float32]:
        scores = (self._profiles @ towers.user_weights) @ (self._held @ towers.item_weights).T
        scores += self._held @ towers.bias
        return np.asarray(scores, dtype=np.float32)


def chosen_steps(
    history: sp.csr_array,
    media: NDArray[np.float32],
    settings: TowerSettings,
    held_out: HeldOut | None = None,
) -> int:
    """How many steps serve new items best: one pair learns without the held-out items.

    Every 10 steps it ranks them; the best mean reciprocal rank decides.

    Args:
        history: (U, I) of ones.
        media: (I, D).
        settings: how the towers are learned.
        held_out: the items to judge by; drawn when left out.
    """
    held_out = held_out or HeldOut(history, media, settings.seed)
    if not len(held_out.judges):
        return _STEPS_BETWEEN
    pair = _Pair(held_out.rest, media, settings, settings.pairs)
    best, steps, done = -1.0, 0, 0
    while done < min(_MOST_STEPS, steps + _PATIENCE * _STEPS_BETWEEN):
        pair.train(_STEPS_BETWEEN)
        done += _STEPS_BETWEEN
        quality = held_out.quality(pair.towers())
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
        self._optimiser = AdamW(
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
        torch.autograd.backward(loss)
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
