"""Where a split's items stand in a full ranking, with as few lists made as that takes."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmssl.data.dataset import Interactions
from mmssl.evaluation.ranking import InnerProduct, top_k_of_block, users_per_block
from mmssl.processes import Processes

# One item in so many is looked at to tell whose lists cannot have a hit, for users with at most so
# many relevant items; the vectors of these items hold so many numbers at a time.
_GLANCE, _FEW_ITEMS, _NUMBERS_PER_BLOCK = 16, 64, 2**22


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
        # One number a pair; sorting is several times faster than np.unique.
        pairs = np.sort(relevant.users * n_items + relevant.items)
        pairs = pairs[np.diff(pairs, prepend=-1) > 0]
        owners = pairs // n_items
        starts = np.flatnonzero(np.diff(owners, prepend=-1))
        return cls(owners[starts], pairs % n_items, np.append(starts, len(pairs)))

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

    The rank of a user's only item is counted: one more than the items that score higher. Of users
    with several items the lists are made, since ``may_have_hits`` has left few without a hit.

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

    ranks = np.zeros(len(relevant.items), dtype=np.int64)
    n_items = scores.shape[1]
    single = np.flatnonzero(relevant.counts == 1)
    if len(single):
        places = relevant.ends[single]
        items = on_device(relevant.items[places])
        own_rows = scores if len(single) == len(scores) else scores[on_device(single)]
        own = own_rows.gather(1, items[:, None])
        rank = 1 + _count(torch.gt, own_rows, own, buffer)
        tied = np.flatnonzero(_count(torch.ge, own_rows, own, buffer) > rank)
        if len(tied):
            # Of the items that score the same, those before it.
            rows = on_device(tied)
            is_before = torch.arange(n_items, device=scores.device) < items[rows, None]
            is_equal = (own_rows[rows] == own[rows]) & is_before
            rank[tied] += is_equal.sum(dim=1).cpu().numpy()
        listed = (rank <= deepest) & (own[:, 0] > -torch.inf).cpu().numpy()
        ranks[places] = np.where(listed, rank, 0)
    several = np.flatnonzero(relevant.counts > 1)
    if len(several):
        own_rows = scores if len(several) == len(scores) else scores[on_device(several)]
        lists = top_k_of_block(own_rows, deepest)[0].cpu().numpy()
        # One number a pair, ascending, so that a look-up is a binary search; none for empty places.
        pairs = relevant.owners * n_items + relevant.items
        asked = np.where(lists >= 0, several[:, None] * n_items + lists, -1)
        at = np.minimum(np.searchsorted(pairs, asked), len(pairs) - 1)
        users, listed = np.nonzero(pairs[at] == asked)
        ranks[at[users, listed]] = listed + 1
    return ranks


def _best_of(values: Tensor, rows: Tensor, n_rows: int) -> Tensor:
    """(n_rows,) the largest of the values (p,) of each row; ``rows`` is (p,) int64."""
    return values.new_full((n_rows,), -torch.inf).scatter_reduce(0, rows, values, "amax")


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
        processes: those to which the users are dealt out.

    Returns:
        (n,) bool; True for everybody where the catalogue is too small for a glance, and for users
        with so many relevant items that it is not worth its while.
    """
    users, items = score.users, score.items
    n_glanced, dim, numbers = len(items) // _GLANCE, items.shape[1], torch.finfo(items.dtype)
    result = np.ones(len(relevant.users), dtype=bool)
    few = relevant.counts <= _FEW_ITEMS
    if n_glanced <= deepest or numbers.eps > 1e-6 or not few.any():
        return result
    device = users.device
    glanced = items[(items @ users.mean(dim=0)).topk(n_glanced).indices]
    # Each of four products - the two that are compared, here and in the ranking - may be off by
    # d eps |h_u| |h_i| (Higham, Accuracy and Stability of Numerical Algorithms, 2002, section 3.1)
    # and by what its factors are rounded to. NaN and infinity make the doubt NaN or infinite, which
    # proves nothing.
    doubt = 4 * (dim * numbers.eps + _rounding_of_factors()) * _lengths(items).amax()
    asked, enough = relevant.of_users(few), deepest + n_excluded[few]
    found = np.zeros(len(enough), dtype=np.int64)
    step = max(1, min(users_per_block(n_glanced), _NUMBERS_PER_BLOCK // (_FEW_ITEMS * dim)))
    for start in range(processes.index * step, len(enough), processes.count * step):
        places = slice(start, start + step)
        part = asked.part(places)
        vectors = users[torch.from_numpy(part.users).to(device)]
        owners = torch.from_numpy(part.owners).to(device)
        products = (vectors[owners] * items[torch.from_numpy(part.items).to(device)]).sum(dim=1)
        best = _best_of(products, owners, len(vectors))
        bounds = best + doubt * _lengths(vectors) + 4 * dim * numbers.tiny
        scores = vectors @ glanced.T
        found[places] = _count(torch.gt, scores, bounds[:, None], scores) < enough[places]
    result[few] = processes.summed(found).astype(bool)
    return result


def _rounding_of_factors() -> float:
    """How far the rounding of its factors may put a product off, relative to |h_u| |h_i|."""
    try:
        whole = torch.get_float32_matmul_precision() == "highest"
    except RuntimeError:
        # It was set for one kind of device alone.
        whole = False
    # Two factors to the 8 bits of bfloat16, the least that torch can be told to take.
    return 0.0 if whole else 2**-8


def _lengths(vectors: Tensor) -> Tensor:
    """(n,) |x| of each row of (n, d), none of whose squares over- or underflows."""
    largest = vectors.abs().amax(dim=1, keepdim=True)
    scaled = vectors / largest.clamp(min=torch.finfo(vectors.dtype).tiny)
    lengths: Tensor = largest[:, 0] * torch.linalg.vector_norm(scaled, dim=1)
    return lengths
