"""What each part of a score - what was learned of ids, each modality - adds to the lists."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from mmssl.data.dataset import Dataset
from mmssl.evaluation.evaluate import evaluate_scores
from mmssl.evaluation.ranking import Score
from mmssl.recommend.model_folder import SavedModel
from mmssl.report.measures import HEADLINE, LIST_LENGTH, Interval, Measured, intervals

# Scores held at once: 32 MiB of float32.
_SCORES_PER_BLOCK = 2**23


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

    Nothing is trained again: the parts of the finished score are added up without one of them.
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
    """What each part adds to the scores of listed items; together they are the scores.

    Args:
        saved: the model.
        users: (n,) rows.
        lists: (n, k) item rows, -1 behind a short list.
        device: where scores are computed.

    Returns:
        Part -> (n, k) float32, 0 behind a short list.
    """
    return {
        name: _gathered(saved.score(device, parts=(name,)), users, lists, len(saved.item_ids))
        for name in saved.part_names
    }


def _gathered(
    score: Score, users: NDArray[np.int64], lists: NDArray[np.int64], n_items: int
) -> NDArray[np.float32]:
    values = np.zeros(lists.shape, dtype=np.float32)
    step = max(1, _SCORES_PER_BLOCK // n_items)
    for start in range(0, len(users), step):
        rows = slice(start, start + step)
        with torch.inference_mode():
            scores = score(torch.from_numpy(users[rows]))
            columns = torch.from_numpy(lists[rows].clip(min=0)).to(scores.device)
            values[rows] = scores.gather(1, columns).float().cpu().numpy()
    return np.where(lists >= 0, values, 0)
