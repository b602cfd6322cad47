"""New items by their media alone: Recall@20 among cold items, beside content kNN tuned alike.

On a dataset of the split ``item-cold``: everything is chosen on the validation part's cold items;
with ``--test`` the choice is then measured on the test part's, which are other items.

    python benchmarks/item_cold.py --data DATA --model RUN --out FOLDER [--test]
"""

import sys
from collections.abc import Callable
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
from mmssl.recommend.content_towers import TowerSettings
from mmssl.recommend.model_folder import SavedModel

K = 20
CPU = torch.device("cpu")
NEIGHBOURS = (1, 5, 10, 20, 100, 1000, 6710)
RATES = (2e-3, 4e-3, 8e-3)
DROPOUTS = (0.2, 0.5)
SHRINKAGES = (1e-2, 1e-3)


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


def best(
    tried: list[tuple[dict, Callable[[], Score]]], split: Split, ties: int | None
) -> tuple[dict, Callable[[], Score], list[dict]]:
    """What has the highest validation recall, and all figures."""
    figures = []
    for settings, make in tried:
        figures.append({**settings, "recall@20": float(split.recall(make(), ties=ties).mean())})
        print(figures[-1], flush=True)
    at = int(np.argmax([each["recall@20"] for each in figures]))
    return *tried[at], figures


def compared(ours: NDArray, theirs: NDArray) -> dict[str, float]:
    """Means, their difference with a paired bootstrap interval, and p of the sign-flip test."""
    low, high = bootstrap_intervals((ours - theirs)[None])[0]
    return {
        "ours": float(ours.mean()),
        "content kNN": float(theirs.mean()),
        "difference": float((ours - theirs).mean()),
        "low": float(low),
        "high": float(high),
        "p": float(sign_flip_test((ours - theirs)[None])[0]),
    }


def main(
    data: Annotated[Path, typer.Option(help="A dataset of the split item-cold.")],
    model: Annotated[Path, typer.Option(help="A run on it that takes media.")],
    out: Annotated[Path, typer.Option(help="Folder of the figures.")],
    test: Annotated[bool, typer.Option("--test", help="Read the test part, once.")] = False,
    seeds: Annotated[int, typer.Option(help="Trainings of the towers in the last figures.")] = 5,
) -> None:
    """Choose on the validation part's cold items, and measure."""
    dataset, saved = Dataset.open(data), SavedModel.load(model)
    out.mkdir(parents=True, exist_ok=True)
    train = dataset.matrix("train")
    validation = Split(dataset, dataset.val, train)
    modalities = tuple(saved.features)
    sets = [(m,) for m in modalities] + ([modalities] if len(modalities) > 1 else [])
    neighbours = [
        (
            {"modalities": "+".join(some), "k": k, "nearest of": side},
            lambda some=some, k=k, side=side: content_knn(saved, some, k, side),
        )
        for some, k, side in product(sets, NEIGHBOURS, ("history", "new item"))
    ]

    def placed(settings: TowerSettings) -> Score:
        return ColdStart(saved, settings).with_cold_items().score(CPU)

    towers = [
        (
            {"learning_rate": r, "dropout": p, "shrinkage": s},
            lambda r=r, p=p, s=s: placed(TowerSettings(learning_rate=r, dropout=p, shrinkage=s)),
        )
        for r, p, s in product(RATES, DROPOUTS, SHRINKAGES)
    ]
    chosen, _, ours = best(towers, validation, ties=None)
    figures = {"validation": {"towers": ours}, "chosen": {"towers": chosen}}
    split = validation
    if test:
        reader = f"benchmarks/item_cold.py --model {model}"
        split = Split(
            dataset, dataset.read_test(reader), sp.csr_array(train + dataset.matrix("val"))
        )
    scores = [placed(TowerSettings(**chosen, seed=seed)) for seed in range(seeds)]
    by_seed = [split.recall(score) for score in scores]
    mean = np.mean(by_seed, axis=0)
    part = "test" if test else "validation"
    result: dict = {
        "users": len(mean),
        "cold items": int(split.cold.sum()),
        "ours, by seed": [float(each.mean()) for each in by_seed],
        "ours, all items": float(split.recall(scores[0], all_items=True).mean()),
        "trained model as it is": float(split.recall(saved.score(CPU)).mean()),
        "trained model as it is, all items": float(
            split.recall(saved.score(CPU), all_items=True).mean()
        ),
    }
    for name, ties in (("lower row first", None), ("ties at random", 1)):
        knn, make_knn, tried = best(neighbours, validation, ties)
        figures["validation"][f"content kNN, {name}"] = tried
        figures["chosen"][f"content kNN, {name}"] = knn
        score = make_knn()
        result[name] = compared(mean, split.recall(score, ties=ties))
        result[f"content kNN, all items, {name}"] = float(
            split.recall(score, all_items=True, ties=ties).mean()
        )
    order = torch.arange(len(dataset.item_ids), 0, -1).double()
    rows = split.recall(lambda users: order.expand(len(users), -1).clone())
    result["items in the order of their rows"] = float(rows.mean())
    figures[part + " figures"] = result
    write_json(out / f"item_cold-{part}.json", figures)
    for name, figure in result.items():
        print(f"{name}: {figure}")
    print(figures["chosen"])


if __name__ == "__main__":
    typer.run(main)
