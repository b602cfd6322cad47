"""Full ranking, block by block on the device: every item is a candidate for every user."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor

from mmssl.processes import ONE, Processes

Score: TypeAlias = Callable[[Tensor], Tensor]
"""(b,) int64 user rows -> (b, I) finite scores in a new tensor, which the ranking overwrites."""

# Scores held at once when no block size is given. 8 MiB of float32 stay in a processor's cache; of
# a catalogue so large that few users fit in, up to 32 MiB are taken, since a product reads all item
# vectors, however few its users are.
_SCORES_PER_BLOCK, _MOST_SCORES_PER_BLOCK, _FEW_USERS = 2**21, 2**23, 64


class RankedBlock(NamedTuple):
    """The best items of some users; ``items`` is -1 and ``scores`` -inf behind a short list."""

    users: NDArray[np.int64]
    """(b,) user rows."""
    items: NDArray[np.int64]
    """(b, min(k, I)) item rows, best first."""
    scores: NDArray[np.float32]
    """(b, min(k, I)) their scores, never rising."""
    place: slice
    """Where these users stand among all that were asked for."""


@dataclass(frozen=True, eq=False)
class InnerProduct:
    """The score of final vectors: y = h_u . h_i."""

    users: Tensor
    """(U, d)."""
    items: Tensor
    """(I, d)."""

    def __call__(self, rows: Tensor) -> Tensor:
        """(b,) user rows -> (b, I)."""
        return self.users[rows.to(self.users.device)] @ self.items.T


def item_graph_score(history: csr_array, graph: csr_array, device: torch.device) -> Score:
    """What the items of a user's history send along a graph: row u of ``history @ graph``.

    Args:
        history: (U, I) of ones.
        graph: (I, I) weights, sparse.
        device: where the scores are put; the product is the CPU's.
    """

    def score(rows: Tensor) -> Tensor:
        return torch.from_numpy((history[rows.cpu().numpy()] @ graph).toarray()).to(device)

    return score


def added(scores: Sequence[Score]) -> Score:
    """The sum of several scores, in their order; of one, that one itself."""
    if len(scores) == 1:
        return scores[0]

    def score(rows: Tensor) -> Tensor:
        total = scores[0](rows)
        for other in scores[1:]:
            total += other(rows)
        return total

    return score


def product_deviation(users: Tensor, items: Tensor) -> float:
    """The standard deviation of h_u . h_i over all pairs, from moments: no pair is computed.

    Args:
        users: (U, d).
        items: (I, d).
    """
    # On the CPU, since Apple's GPUs know no double precision.
    user, item = users.cpu().double(), items.cpu().double()
    squares = (user.T @ user / len(user)) * (item.T @ item / len(item))
    mean = user.mean(dim=0) @ item.mean(dim=0)
    return float((squares.sum() - mean**2).clamp(min=0).sqrt())


def top_k_of_block(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k best columns of each row; equal scores in the order of their columns, always.

    ``torch.topk`` leaves open which of several equal scores it takes, so its choice is kept only
    where no score outside the list equals the last one inside it.

    Args:
        scores: (b, I) floating, -inf where an item is no candidate.
        k: list length; no list is longer than the I items.

    Returns:
        (b, min(k, I)) int64 columns, -1 where a row has no further candidate, and as many scores,
        -inf behind the candidates.

    Raises:
        FloatingPointError: a score is NaN or +inf.
    """
    width = scores.shape[1]
    kept = min(k, width)
    values, columns = scores.topk(min(kept + 1, width), dim=1)
    # NaN and +inf rank first, so a look at the best is a look at all.
    if not bool((values[:, :1] < torch.inf).all()):
        raise FloatingPointError("a score is NaN or infinite: the model has diverged")
    above, below = values[:, :-1], values[:, 1:]
    equal = (above == below) & (below > -torch.inf)
    columns = columns[:, :kept]
    if width > kept:
        tied = equal[:, -1].nonzero().squeeze(1)
        if len(tied):
            columns[tied] = _lowest_columns(scores[tied], values[tied, kept - 1], kept)
    values = values[:, :kept]
    # Lists without equal scores, nearly all of most models', are in order as they are.
    rows = equal.any(dim=1).nonzero().squeeze(1)
    if len(rows):
        ascending = columns[rows].sort(dim=1).values
        values[rows], order = scores[rows[:, None], ascending].sort(
            dim=1, descending=True, stable=True
        )
        columns[rows] = ascending.gather(1, order)
    return columns.masked_fill(values == -torch.inf, -1), values


def _lowest_columns(scores: Tensor, last: Tensor, k: int) -> Tensor:
    """(b, k) columns: all scores above the k-th best ``last``, then the first ones equal to it."""
    above = scores > last[:, None]
    equal = scores == last[:, None]
    wanted = k - above.sum(dim=1, keepdim=True)
    taken = above | (equal & (equal.cumsum(dim=1, dtype=torch.int32) <= wanted))
    return taken.nonzero()[:, 1].view(-1, k)


def rank_blocks(
    score: Score,
    users: NDArray[np.int64],
    exclude: csr_array,
    k: int,
    block: int | None = None,
    processes: Processes = ONE,
    candidates: NDArray[np.bool_] | None = None,
) -> Iterator[RankedBlock]:
    """Rank all items for the users, a block of users at a time.

    Ties go to the lower item row. An excluded item is never returned: a user with fewer than k
    candidates gets a shorter list. Memory: a few blocks of users x items, however large k is.

    Args:
        score: scores of a block of users; called with CPU tensors of rows.
        users: (n,) user rows, in the order wanted.
        exclude: U x I; the items stored in a user's row are left out of the user's list.
        k: list length, at least 1; no list is longer than the I items.
        block: users at a time; by default as many as keep the scores in the cache.
        processes: those to which the blocks are dealt out in turn. Whole blocks, since a product of
            another shape may differ in its last bit.
        candidates: (I,) the items that may be listed; all of them, when left out.

    Yields:
        The lists of each block of this process.

    Raises:
        FloatingPointError: a score is NaN or +inf.
    """
    scored = scored_blocks(score, users, exclude, block, processes, candidates)
    for rows, scores, place in scored:
        with torch.inference_mode():
            items, values = top_k_of_block(scores, k)
        yield RankedBlock(rows, items.cpu().numpy(), values.float().cpu().numpy(), place)


def scored_blocks(
    score: Score,
    users: NDArray[np.int64],
    exclude: csr_array,
    block: int | None = None,
    processes: Processes = ONE,
    candidates: NDArray[np.bool_] | None = None,
) -> Iterator[tuple[NDArray[np.int64], Tensor, slice]]:
    """What ``rank_blocks`` ranks, and its arguments.

    Yields:
        The (b,) user rows of each block of this process, their (b, I) scores, -inf where an item is
        no candidate, which may be overwritten, and where these users stand among all.
    """
    n_items = exclude.shape[1]
    step = block or users_per_block(n_items)
    never = None if candidates is None else torch.from_numpy((~candidates).nonzero()[0])
    for start in range(processes.index * step, len(users), processes.count * step):
        rows = users[start : start + step]
        with torch.inference_mode():
            scores = score(torch.from_numpy(rows))
            if scores.shape != (len(rows), n_items):
                raise ValueError(f"scores of {tuple(scores.shape)}, not {(len(rows), n_items)}")
            left_out = exclude[rows]
            user_of = np.repeat(np.arange(len(rows)), np.diff(left_out.indptr))
            at = torch.from_numpy(np.stack((user_of, left_out.indices)).astype(np.int64))
            at = at.to(scores.device)
            scores[at[0], at[1]] = -torch.inf
            if never is not None:
                scores[:, never.to(scores.device)] = -torch.inf
        yield rows, scores, slice(start, start + len(rows))


def users_per_block(n_items: int) -> int:
    """How many users' scores of all items are computed at a time when nothing else is said."""
    n_items = max(n_items, 1)
    few = min(_FEW_USERS, _MOST_SCORES_PER_BLOCK // n_items)
    return max(1, few, _SCORES_PER_BLOCK // n_items)


def top_k(
    score: Score,
    users: NDArray[np.int64],
    exclude: csr_array,
    k: int,
    block: int | None = None,
    processes: Processes = ONE,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The lists of all the users at once, in every process; arguments as of ``rank_blocks``.

    Returns:
        (n, min(k, I)) int64 item rows, -1 behind a short list, and as many float32 scores.

    Raises:
        FloatingPointError: as ``rank_blocks``, in all processes.
    """
    shape = len(users), min(k, exclude.shape[1])
    items, scores = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.float32)

    def rank() -> None:
        for ranked in rank_blocks(score, users, exclude, k, block, processes):
            items[ranked.place], scores[ranked.place] = ranked.items, ranked.scores

    processes.agree(rank)
    return processes.summed(items), processes.summed(scores)
