"""Where a split's items stand in a full ranking: counted, so that nothing has to be sorted."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmssl.data.dataset import Interactions
from mmssl.evaluation.ranking import InnerProduct, users_per_block
from mmssl.processes import Processes

# One item in so many is looked at to tell whose lists cannot have a hit.
_GLANCE = 16


class RelevantItems(NamedTuple):
    """The items that are relevant to some users, user by user."""

    users: NDArray[np.int64]
    """(n,) user rows, ascending: those with an item."""
    items: NDArray[np.int64]
    """(p,) item rows: the first user's, ascending, then the second's, and so on."""
    ends: NDArray[np.int64]
    """(n + 1,): user j's items are those from ``ends[j]`` up to ``ends[j + 1]``."""

    @classmethod
    def of(cls, relevant: Interactions, n_items: int) -> "RelevantItems":
        """Those of a split; what stands there twice counts once."""
        # One number a pair.
        pairs = np.unique(relevant.users * n_items + relevant.items)
        users, counts = np.unique(pairs // n_items, return_counts=True)
        return cls(users, pairs % n_items, np.concatenate(([0], counts.cumsum())))

    @property
    def counts(self) -> NDArray[np.int64]:
        """(n,) how many items each user has."""
        return np.diff(self.ends)

    @property
    def owners(self) -> NDArray[np.int64]:
        """(p,) the place in ``users`` of each item's user."""
        return np.arange(len(self.users)).repeat(self.counts)

    def part(self, places: slice) -> "RelevantItems":
        """Those of a run of the users."""
        ends = self.ends[places.start : places.stop + 1]
        return RelevantItems(self.users[places], self.items[ends[0] : ends[-1]], ends - ends[0])

    def of_users(self, kept: NDArray[np.bool_]) -> "RelevantItems":
        """Those of some users; ``kept`` is (n,)."""
        counts = self.counts
        ends = np.concatenate(([0], counts[kept].cumsum()))
        return RelevantItems(self.users[kept], self.items[kept.repeat(counts)], ends)


def ranks_of(
    relevant: RelevantItems, scores: Tensor, deepest: int, buffer: Tensor
) -> NDArray[np.int64]:
    """The ranks, from 1, of relevant items among all items of their user; ties by item row.

    An item's rank is one more than the items that score higher. A user's best item is counted for
    first, and the next only where the one before stood within ``deepest``: a user costs as many
    passes over the scores as there are hits, and one more.

    Args:
        relevant: of b users.
        scores: (b, I) floating, -inf where an item is no candidate.
        deepest: the last rank that is told.
        buffer: memory for (b, I) numbers or more, of the type and on the device of ``scores``.

    Returns:
        (p,) int64 ranks; 0 for an item below ``deepest`` and for one that is no candidate.

    Raises:
        FloatingPointError: a score is NaN or +inf.
    """
    # Both rank first, so a look at the best is a look at all.
    if not bool((scores.amax(dim=1) < torch.inf).all()):
        raise FloatingPointError("a score is NaN or infinite: the model has diverged")

    def on_device(numbers: NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(numbers).to(scores.device)

    rows, items = relevant.owners, relevant.items
    own = scores[on_device(rows), on_device(items)]
    # On the CPU, since Apple's GPUs know no double precision.
    values = own.cpu().double().numpy()
    ranks = np.zeros(len(items), dtype=np.int64)
    # A user's items stay where they were, but best first.
    order = np.lexsort((items, -values, rows))
    # Places in `order`: everybody's best item, then the next one of all who have hits yet.
    places = relevant.ends[:-1]
    while len(places):
        asked = order[places]
        of_rows = scores if len(asked) == len(scores) else scores[on_device(rows[asked])]
        thresholds = own[on_device(asked), None]
        rank = 1 + _count(torch.gt, of_rows, thresholds, buffer)
        tied = np.flatnonzero(_count(torch.ge, of_rows, thresholds, buffer) > rank)
        if len(tied):
            # Of those that score the same, the ones before it.
            is_equal = of_rows[on_device(tied)] == thresholds[on_device(tied)]
            all_items = torch.arange(scores.shape[1], device=scores.device)
            is_equal &= all_items < on_device(items[asked[tied]])[:, None]
            rank[tied] += is_equal.sum(dim=1).cpu().numpy()
        hits = np.flatnonzero((rank <= deepest) & (values[asked] > -np.inf))
        ranks[asked[hits]] = rank[hits]
        places = places[hits] + 1
        places = places[places < relevant.ends[rows[asked[hits]] + 1]]
    return ranks


def _count(
    compare: Callable[..., Tensor], scores: Tensor, bounds: Tensor, buffer: Tensor
) -> NDArray[np.int64]:
    """(b,) how many of each row's scores (b, I) compare so with its bound (b, 1)."""
    # Numbers in place of truth values: their sum takes a fraction of the time.
    compared = compare(scores, bounds, out=buffer[: len(scores)])
    return compared.sum(dim=1, dtype=torch.float32).cpu().numpy().astype(np.int64)


@torch.inference_mode()
def may_have_hits(
    score: InnerProduct,
    relevant: RelevantItems,
    n_excluded: NDArray[np.int64],
    deepest: int,
    processes: Processes,
) -> NDArray[np.bool_]:
    """For whom a glance at some items does not prove that no relevant item is within ``deepest``.

    The glance is at the items that fit the mean user best, one in sixteen. Where as many of these
    as a list has places, and as the user has items that are no candidates, score above the user's
    best relevant item by more than rounding can account for, neither that item nor another is on
    the list, and no full ranking has to be made.

    Args:
        score: of all users and items.
        relevant: of n users.
        n_excluded: (n,) how many items are no candidates for each user.
        deepest: length of the lists.
        processes: those among which the users are divided.

    Returns:
        (n,) bool; True for everybody where the catalogue is too small for it.
    """
    users, items = score.users, score.items
    n_glanced = len(items) // _GLANCE
    if n_glanced <= deepest:
        return np.ones(len(relevant.users), dtype=bool)
    device = users.device
    glanced = items[(items @ users.mean(dim=0)).topk(n_glanced).indices]
    # |computed - exact| <= d eps |h_u| |h_i| for each of the products that are compared, here and
    # in the ranking (Higham, Accuracy and Stability of Numerical Algorithms, 2002, section 3.1).
    # NaN and infinity make it NaN or infinite, which proves nothing.
    longest = torch.linalg.vector_norm(items, dim=1).amax()
    doubt = 4 * items.shape[1] * torch.finfo(items.dtype).eps * longest
    result = np.zeros(len(relevant.users), dtype=np.int64)
    own = processes.part(len(result))
    step = users_per_block(n_glanced)
    for start in range(own.start, own.stop, step):
        places = slice(start, min(start + step, own.stop))
        part = relevant.part(places)
        vectors = users[torch.from_numpy(part.users).to(device)]
        owners = torch.from_numpy(part.owners).to(device)
        products = (vectors[owners] * items[torch.from_numpy(part.items).to(device)]).sum(dim=1)
        best = products.new_full((len(vectors),), -torch.inf).scatter_reduce(
            0, owners, products, "amax"
        )
        bound = best + doubt * torch.linalg.vector_norm(vectors, dim=1)
        scores = vectors @ glanced.T
        higher = _count(torch.gt, scores, bound[:, None], scores)
        result[places] = higher < deepest + n_excluded[places]
    return processes.summed(result).astype(bool)
