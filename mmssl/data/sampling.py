"""Training batches: users or interactions, with a positive and an unobserved negative for each."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import scipy.sparse as sp
import torch
from torch import Tensor

from extract.errors import InputError
from mmssl.data.graphs import Adjacency

# Rounds of drawing again where a drawn negative was observed.
_DRAWS = 50

# Up to here a permutation of everything is as quick as drawing without it.
_PERMUTED = 2**15

_NOBODY = (
    "no user can be trained on: every user has observed no item or every item; the dataset needs at"
    " least one user with some of the items"
)


@dataclass(frozen=True, eq=False)
class Batch:
    """One step's users, positives and negatives: (B,) int64 row numbers each."""

    users: Tensor
    positives: Tensor
    negatives: Tensor

    def part(self, rows: slice) -> "Batch":
        """Some of the users, with their items."""
        return Batch(self.users[rows], self.positives[rows], self.negatives[rows])


class Sampler(Protocol):
    """Draws the batches of a training, all on the CPU: a run is the same on every device."""

    @property
    def batch_size(self) -> int:
        """Rows of a batch, at most."""

    def __len__(self) -> int:
        """Steps in an epoch."""

    def draw(self) -> Batch:
        """The next batch."""

    def state(self) -> dict[str, Tensor]:
        """What drawing on needs beside the generator's state, by name."""

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """The inverse of ``state``."""


class NoBatches:
    """For models that learn nothing."""

    batch_size = 0

    def __len__(self) -> int:
        """No step."""
        return 0

    def draw(self) -> Batch:
        """Never called."""
        raise NotImplementedError

    def state(self) -> dict[str, Tensor]:
        """Nothing."""
        return {}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Nothing."""


class InteractionSampler:
    """Every interaction once an epoch, in a fresh random order, with one uniform negative each.

    These are the usual batches of BPR (Rendle et al., UAI 2009). Interactions of users who have
    observed every item have no negative and are left out.
    """

    def __init__(
        self,
        interactions: sp.csr_array,
        batch_size: int,
        generator: torch.Generator,
        device: torch.device | None = None,
    ) -> None:
        """Prepare to draw.

        Args:
            interactions: (U, I) training interactions.
            batch_size: interactions a step; the last step of an epoch has what is left.
            generator: on the CPU.
            device: where batches are put; the CPU when left out.

        Raises:
            InputError: no user has both an observed and an unobserved item.
        """
        observed = Adjacency(interactions, torch.device("cpu"))
        usable = (observed.degrees > 0) & (observed.degrees < observed.shape[1])
        if not bool(usable.any()):
            raise InputError(_NOBODY)
        users = torch.repeat_interleave(torch.arange(observed.shape[0]), observed.degrees)
        kept = usable[users]
        self._users, self._items = users[kept], observed.items[kept]
        self._negatives = NegativeSampler(observed, generator)
        self._generator = generator
        self._device = device or torch.device("cpu")
        self.batch_size = min(batch_size, len(self._users))
        self._order, self._next = torch.empty(0, dtype=torch.int64), 0

    def __len__(self) -> int:
        """Steps in an epoch."""
        return -(-len(self._users) // self.batch_size)

    def draw(self) -> Batch:
        """The next batch; the first of an epoch draws the epoch's order."""
        if self._next >= len(self._order):
            self._order = torch.randperm(len(self._users), generator=self._generator)
            self._next = 0
        rows = self._order[self._next : self._next + self.batch_size]
        self._next += len(rows)
        users = self._users[rows]
        drawn = (users, self._items[rows], self._negatives.draw(users))
        return Batch(*(part.to(self._device) for part in drawn))

    def state(self) -> dict[str, Tensor]:
        """What is left of the epoch's order."""
        return {"left": self._order[self._next :].clone()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """The inverse of ``state``."""
        self._order, self._next = state["left"].clone(), 0


class BatchSampler:
    """Draws the published batches (METHOD section 2, published values).

    A batch is ``batch_users`` users drawn without replacement from those with training items (all
    of them when fewer), each with one random positive and one uniform unobserved negative. An epoch
    has interactions // batch_users + 1 steps. Users who have observed every item have no negative
    and are left out.

    All draws are made on the CPU, from one generator, so that a run is the same on every device.
    """

    def __init__(
        self,
        interactions: sp.csr_array,
        batch_users: int,
        generator: torch.Generator,
        device: torch.device | None = None,
    ) -> None:
        """Prepare to draw.

        Args:
            interactions: (U, I) training interactions.
            batch_users: users a step.
            generator: on the CPU.
            device: where batches are put; the CPU when left out.

        Raises:
            InputError: no user has both an observed and an unobserved item.
        """
        observed = Adjacency(interactions, torch.device("cpu"))
        n_items = observed.shape[1]
        usable = (observed.degrees > 0) & (observed.degrees < n_items)
        self.users = usable.nonzero().squeeze(1)
        if not len(self.users):
            raise InputError(_NOBODY)
        self._observed = observed
        self._negatives = NegativeSampler(observed, generator)
        self._generator = generator
        self._device = device or torch.device("cpu")
        self.batch_size = min(batch_users, len(self.users))
        self.steps = len(observed.items) // batch_users + 1

    def __len__(self) -> int:
        """Steps in an epoch."""
        return self.steps

    def draw(self) -> Batch:
        """The next batch."""
        users = self.users[distinct(len(self.users), self.batch_size, self._generator)]
        fraction = torch.rand(len(users), generator=self._generator, dtype=torch.float64)
        degrees = self._observed.degrees[users]
        # float64 below 1 times a degree below 2^52 stays below the degree.
        choice = (fraction * degrees).long()
        positives = self._observed.items[self._observed.starts[users] + choice]
        negatives = self._negatives.draw(users)
        return Batch(*(rows.to(self._device) for rows in (users, positives, negatives)))

    def state(self) -> dict[str, Tensor]:
        """Nothing: every batch is drawn anew."""
        return {}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Nothing."""


class NegativeSampler:
    """Draws unobserved items, each of a user's with the same chance."""

    def __init__(self, observed: Adjacency, generator: torch.Generator) -> None:
        """Take the observed interactions, on the CPU, and a CPU generator."""
        self._observed, self._generator = observed, generator

    def draw(self, users: Tensor) -> Tensor:
        """For (n,) int64 user rows, each of whom lacks an item: (n,) int64 item rows."""
        n_items = self._observed.shape[1]
        negatives = torch.empty_like(users)
        pending = torch.arange(len(users))
        for _ in range(_DRAWS):
            if not len(pending):
                return negatives
            negatives[pending] = torch.randint(n_items, (len(pending),), generator=self._generator)
            seen = self._observed.contains(users[pending], negatives[pending])
            pending = pending[seen]
        # Users who have observed nearly everything: count to one of what is left.
        for row in pending.tolist():
            negatives[row] = self._unobserved(int(users[row]))
        return negatives

    def _unobserved(self, user: int) -> int:
        """One of a user's unobserved items, each with the same chance."""
        observed = self._observed.items[
            self._observed.starts[user] : self._observed.starts[user + 1]
        ]
        left = self._observed.shape[1] - len(observed)
        rank = int(torch.randint(left, (1,), generator=self._generator))
        # Before the j-th observed item (from 0) lie observed[j] - j unobserved ones.
        gaps = observed - torch.arange(len(observed))
        return rank + int(torch.searchsorted(gaps, rank, right=True))


def distinct(
    n: int, count: int, generator: torch.Generator, without: Tensor | None = None
) -> Tensor:
    """``count`` distinct numbers of 0..n-1 in random order; every ordered choice is as likely.

    Of independent uniform draws the first occurrences are kept, so that the cost follows ``count``
    however large ``n`` is; a permutation is cut to size where ``n`` is small or most of it is
    wanted.

    Args:
        n: how many numbers there are.
        count: how many are wanted.
        generator: on the CPU.
        without: (m,) int64 distinct numbers that are not to be drawn; ``count`` is at most n - m.

    Returns:
        (count,) int64.
    """
    left_out = torch.empty(0, dtype=torch.int64) if without is None else without
    wanted = count + len(left_out)
    if n <= max(_PERMUTED, 2 * wanted):
        order = torch.randperm(n, generator=generator)
        if len(left_out):
            order = order[~torch.isin(order, left_out)]
        return order[:count]
    # What is left out stands in front, so that no draw of it is a first occurrence.
    drawn = left_out
    while len(drawn) < wanted:
        more = torch.randint(n, (2 * (wanted - len(drawn)),), generator=generator)
        together = torch.cat([drawn, more])
        values, places = torch.unique(together, return_inverse=True)
        first = torch.full_like(values, len(together)).scatter_reduce(
            0, places, torch.arange(len(together)), "amin"
        )
        drawn = together[first.sort().values]
    return drawn[len(left_out) : wanted]
