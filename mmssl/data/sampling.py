"""Training batches: users without replacement, a positive and an unobserved negative for each."""

from dataclasses import dataclass

import scipy.sparse as sp
import torch
from torch import Tensor

from extract.errors import InputError
from mmssl.data.graphs import Adjacency

# Rounds of drawing again where a drawn negative was observed.
_DRAWS = 50

# Up to here a permutation of everything is as quick as drawing without it.
_PERMUTED = 2**15


@dataclass(frozen=True, eq=False)
class Batch:
    """One step's users, positives and negatives: (B,) int64 row numbers each."""

    users: Tensor
    positives: Tensor
    negatives: Tensor

    def part(self, rows: slice) -> "Batch":
        """Some of the users, with their items."""
        return Batch(self.users[rows], self.positives[rows], self.negatives[rows])


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
            raise InputError(
                "no user can be trained on: every user has observed no item or every item;"
                " the dataset needs at least one user with some of the items"
            )
        self._observed = observed
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
        negatives = self._negatives(users)
        return Batch(*(rows.to(self._device) for rows in (users, positives, negatives)))

    def _negatives(self, users: Tensor) -> Tensor:
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
