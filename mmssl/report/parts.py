"""What each part of a score - what was learned of ids, each modality - adds to the lists."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmssl.data.dataset import Dataset
from mmssl.evaluation.evaluate import evaluate_scores
from mmssl.recommend.model_folder import ITEM_GRAPH_PART, SavedModel
from mmssl.report.measures import HEADLINE, LIST_LENGTH, Interval, Measured, intervals

# Numbers held at once: 16 MiB of float32.
_NUMBERS_PER_BLOCK = 2**22


@dataclass(frozen=True)
class PartRow:
    """One part of the score."""

    name: str
    share: float | None
    """Of the scores of all recommended items added up; None where they add up to 0 or less."""
    alone: float
    """Validation Recall@20 when this part alone ranks the items."""
    without: float
    """Validation Recall@20 when it is left out."""
    loss: Interval
    """What Recall@20 loses without it, user by user; negative where it gains."""


def part_rows(
    saved: SavedModel, dataset: Dataset, measured: Measured, device: torch.device, seed: int
) -> tuple[PartRow, ...]:
    """The parts of a model's score, in its order; empty where there is only one.

    Nothing is trained again: what is left out is missing from the vectors of both sides, so that
    its products with the other parts are gone too.
    """
    names = saved.part_names
    if len(names) < 2:
        return ()
    train, whole = dataset.matrix("train"), measured.evaluation

    def recall(parts: tuple[str, ...]) -> NDArray[np.float64]:
        score = saved.score(device, parts=parts)
        return evaluate_scores(score, dataset.val, train, [LIST_LENGTH]).per_user[HEADLINE]

    given = contributions(saved, whole.users, measured.lists, device)
    total = float(sum(each.sum(dtype=np.float64) for each in given.values()))
    rows = []
    for name in names:
        without = recall(tuple(other for other in names if other != name))
        loss = {"loss": whole.per_user[HEADLINE] - without}
        rows.append(
            PartRow(
                name,
                float(given[name].sum(dtype=np.float64)) / total if total > 0 else None,
                float(recall((name,)).mean()),
                float(without.mean()),
                intervals(loss, measured.resamples, seed)["loss"],
            )
        )
    return tuple(rows)


def contributions(
    saved: SavedModel, users: NDArray[np.int64], lists: NDArray[np.int64], device: torch.device
) -> dict[str, NDArray[np.float32]]:
    """What each part adds to the scores of listed items, as ``mmssl.recommend.explain`` has it.

    With h_u = sum_p u_p and h_i = sum_p v_p, part p adds (u_p . h_i + h_u . v_p) / 2: its own
    product, and half of each with another part. Together with what the item graph sends they are
    the scores.

    Args:
        saved: the model.
        users: (n,) rows.
        lists: (n, k) item rows, -1 behind a short list.
        device: where scores are computed.

    Returns:
        Part -> (n, k) float32, 0 behind a short list.
    """
    found: dict[str, NDArray[np.float32]] = {}
    for name in saved.part_names:
        given = np.zeros(lists.shape, dtype=np.float32)
        of_vectors = lists.shape[1] * (saved.dim or 1)
        width = len(saved.item_ids) if name == ITEM_GRAPH_PART else of_vectors
        step = max(1, _NUMBERS_PER_BLOCK // width)
        for start in range(0, len(users), step):
            rows = slice(start, start + step)
            at = torch.from_numpy(users[rows]), torch.from_numpy(lists[rows].clip(min=0))
            given[rows] = _added(saved, name, *at, device).float().cpu().numpy()
        found[name] = np.where(lists >= 0, given, 0)
    return found


def _added(
    saved: SavedModel, part: str, users: Tensor, items: Tensor, device: torch.device
) -> Tensor:
    """(b, k) of what a part adds to the scores of (b, k) items for (b,) users."""
    if part == ITEM_GRAPH_PART:
        scores = saved.score(device, parts=(part,))(users)
        return scores.gather(1, items.to(scores.device))
    if saved.user_vectors is None or saved.item_vectors is None:
        raise ValueError(f"part '{part}' has no vectors")
    own = saved.vector_parts[part]
    # (b, d) and (b, k, d)
    left = torch.einsum("bd,bkd->bk", own.user[users], saved.item_vectors[items])
    right = torch.einsum("bd,bkd->bk", saved.user_vectors[users], own.item[items])
    return (left + right) / 2
