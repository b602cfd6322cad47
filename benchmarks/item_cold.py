"""New items by their media alone: Recall@20 among cold items, beside content kNN tuned alike.

On datasets of the split ``item-cold``, of several seeds, for a few popular items decide over one.
Content kNN's modalities, neighbours and side are chosen on the validation part's cold items, as our
settings were; with ``--test`` both are then measured on the test part's, which are other items.

    python benchmarks/item_cold.py --split DATA=RUN --split DATA=RUN --out FOLDER [--test]
"""

import sys
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Annotated, Literal

# Python looks for modules beside this file first, where `extract` would be a benchmark.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import scipy.sparse as sp
import torch
import typer
from numpy.typing import NDArray

from extract.files import write_json
from mmssl.data.dataset import Dataset, Interactions
from mmssl.data.item_graphs import nearest_items, neighbour_matrix
from mmssl.evaluation.evaluate import evaluate_scores
from mmssl.evaluation.ranking import Score, item_graph_score
from mmssl.evaluation.significance import bootstrap_intervals, sign_flip_test
from mmssl.recommend.cold_start import ColdStart
from mmssl.recommend.model_folder import SavedModel

K = 20
CPU = torch.device("cpu")
NEIGHBOURS = (5, 20, 100, 1000, 6710)


class Split:
    """The users and cold items of one part, and how scores rank them."""

    def __init__(self, dataset: Dataset, relevant: Interactions, exclude: sp.csr_array) -> None:
        """Users without a training interaction are left out: nobody knows anything of them."""
        active = np.diff(dataset.matrix("train").indptr) > 0
        kept = active[relevant.users]
        self.relevant = Interactions(relevant.users[kept], relevant.items[kept])
        self.exclude = exclude
        self.cold = np.zeros(len(dataset.item_ids), dtype=np.bool_)
        self.cold[np.unique(relevant.items)] = True

    def recall(self, score: Score, *, all_items: bool = False, ties: int | None = None) -> NDArray:
        """Each user's Recall@20 among the cold items, or among all.

        ``ties`` seeds a random order among equal scores; without it the lower row is first.
        """
        noise = None if ties is None else np.random.default_rng(ties)
        others = torch.from_numpy(np.flatnonzero(~self.cold))

        def among_cold(users: torch.Tensor) -> torch.Tensor:
            scores = score(users).double()
            if noise is not None:
                scores += 1e-9 * torch.from_numpy(noise.random(scores.shape))
            if not all_items:
                scores[:, others] = -torch.inf
            return scores

        found = evaluate_scores(among_cold, self.relevant, self.exclude, [K])
        return found.per_user[f"recall@{K}"]


def content_knn(
    model: SavedModel, modalities: tuple[str, ...], k: int, side: Literal["history", "new item"]
) -> Score:
    """Content kNN: the cosines with the k nearest of each history item, or of each new item."""
    total = sp.csr_array((len(model.item_ids),) * 2, dtype=np.float32)
    known = np.asarray(model.train.sum(axis=0) > 0).ravel()
    for modality in modalities:
        given = model.features[modality]
        rows = given.present & known
        vectors = torch.from_numpy(given.vectors - given.vectors[rows].mean(axis=0))
        present = torch.from_numpy(given.present)
        if side == "history":
            found = nearest_items(vectors, present, k, itself=False)
            total = total + neighbour_matrix(found.items, found.similarities.clamp(min=0))
        else:
            total = total + _of_new_items(vectors.numpy(), known, k)
    return item_graph_score(model.train, sp.csr_array(total.astype(np.float32)), CPU)


def _of_new_items(vectors: NDArray, known: NDArray[np.bool_], k: int) -> sp.csr_array:
    units = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    cold = np.flatnonzero(~known)
    cosines = units[cold] @ units[known].T
    if k < cosines.shape[1]:
        least = np.partition(cosines, -k, axis=1)[:, -k][:, None]
        cosines = np.where(cosines >= least, cosines, 0)
    whole = np.zeros((len(known), len(known)), dtype=np.float32)
    whole[np.ix_(np.flatnonzero(known), cold)] = np.maximum(cosines, 0).T
    return sp.csr_array(whole)


@dataclass(frozen=True)
class Measured:
    """One split: each user's recall by both, and figures beside them."""

    ours: NDArray
    theirs: NDArray
    figures: dict


def measure(data: Path, model: Path, *, test: bool) -> Measured:
    """Tune content kNN on the validation part's cold items, and measure both on one part."""
    dataset, saved = Dataset.open(data), SavedModel.load(model)
    train = dataset.matrix("train")
    validation = Split(dataset, dataset.val, train)
    modalities = tuple(saved.features)
    sets = [(m,) for m in modalities] + ([modalities] if len(modalities) > 1 else [])
    tried = [
        (some, k, side) for some, k, side in product(sets, NEIGHBOURS, ("history", "new item"))
    ]
    recalls = [float(validation.recall(content_knn(saved, *each), ties=1).mean()) for each in tried]
    chosen = tried[int(np.argmax(recalls))]
    split = validation
    if test:
        seen = sp.csr_array(train + dataset.matrix("val"))
        split = Split(dataset, dataset.read_test(f"benchmarks/item_cold.py --model {model}"), seen)
    score, knn = ColdStart(saved).with_cold_items().score(CPU), content_knn(saved, *chosen)
    ours, theirs = split.recall(score), split.recall(knn, ties=1)
    draw = torch.Generator().manual_seed(0)
    chance = torch.rand(len(dataset.item_ids), generator=draw, dtype=torch.float64)
    figures = {
        "data": data.name,
        "users": len(ours),
        "cold items": int(split.cold.sum()),
        "ours": float(ours.mean()),
        "content kNN": float(theirs.mean()),
        "content kNN on validation": max(recalls),
        "content kNN has": dict(zip(("modalities", "k", "nearest of"), chosen, strict=True)),
        "chance": float(split.recall(lambda u: chance.expand(len(u), -1).clone()).mean()),
        "ours, all items": float(split.recall(score, all_items=True).mean()),
        "content kNN, all items": float(split.recall(knn, all_items=True, ties=1).mean()),
    }
    print(figures, flush=True)
    return Measured(ours, theirs, figures)


def main(
    split: Annotated[
        list[str],
        typer.Option(help="DATA=RUN: a dataset of the split item-cold, a run on it; repeatable."),
    ],
    out: Annotated[Path, typer.Option(help="Folder of the figures.")],
    test: Annotated[bool, typer.Option("--test", help="Read the test parts, once.")] = False,
) -> None:
    """Measure new items by their media beside content kNN, over several splits."""
    out.mkdir(parents=True, exist_ok=True)
    found = [measure(Path(a), Path(b), test=test) for a, b in (each.split("=") for each in split)]
    differences = np.concatenate([each.ours - each.theirs for each in found])
    low, high = bootstrap_intervals(differences[None])[0]
    by_split = [each.figures["ours"] - each.figures["content kNN"] for each in found]
    result = {
        "splits": [each.figures for each in found],
        "ours": float(np.mean([each.figures["ours"] for each in found])),
        "content kNN": float(np.mean([each.figures["content kNN"] for each in found])),
        "difference": float(differences.mean()),
        "low": float(low),
        "high": float(high),
        "p": float(sign_flip_test(differences[None])[0]),
        "difference by split": by_split,
        "deviation over splits": float(np.std(by_split, ddof=1)) if by_split[1:] else None,
    }
    write_json(out / f"item_cold-{'test' if test else 'validation'}.json", result)
    for name, figure in result.items():
        if name != "splits":
            print(f"{name}: {figure}")


if __name__ == "__main__":
    typer.run(main)
