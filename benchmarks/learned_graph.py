"""How good is the learned relation graph? What it joins users to, before and after some epochs.

    python benchmarks/learned_graph.py --data data/tiktok --epochs 4

For every modality, and for both ways of comparing a user's features with an item's: how many items
the k best unobserved ones of all users are altogether, and the validation Recall@20 of ranking by
the features alone. Popularity's Recall@20 stands beside them. The test split is not read.
"""

import argparse
import sys
from pathlib import Path

# Python looks for modules beside this file first, where `extract` would be a benchmark.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from mmssl import Dataset, TrainingConfig
from mmssl.baselines.popularity import popularity_score
from mmssl.evaluation.evaluate import evaluate_scores
from mmssl.evaluation.ranking import InnerProduct, top_k
from mmssl.training.accelerator import make_accelerator
from mmssl.training.learner import Learner
from mmssl.vectors import unit_rows


def describe(learner: Learner, dataset: Dataset, epoch: int) -> list[str]:
    """A line a modality and similarity."""
    model, train = learner.model, dataset.matrix("train")
    users = np.flatnonzero(np.diff(train.indptr))
    model.eval()
    lines = []
    for modality, side in model.features().items():
        for similarity, item in (("product", side.item), ("cosine", unit_rows(side.item))):
            score = InnerProduct(side.user, item)
            items, _ = top_k(score, users, train, model.relations.k)
            metrics = evaluate_scores(score, dataset.val, train).metrics
            lines.append(
                f"{epoch:5}  {modality:8}  {similarity:10}  {len(np.unique(items)):6}"
                f"  {metrics['recall@20']:.4f}"
            )
    return lines


def main() -> None:
    """Train, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--config", type=Path, default=Path("configs/tiktok.yaml"))
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("settings", nargs="*", help="key.sub=value over the configuration")
    given = parser.parse_intermixed_args()
    dataset = Dataset.open(given.data)
    config = TrainingConfig.load(given.config, given.settings)
    train = dataset.matrix("train")
    learner = Learner(config, train, dataset.features, make_accelerator("cpu", "full"))
    popularity = evaluate_scores(popularity_score(train), dataset.val, train).metrics["recall@20"]
    print(f"k = {learner.model.relations.k} of {train.shape[1]} items; popularity {popularity:.4f}")
    print("epoch  modality  similarity   items  recall@20 of the features alone")
    print(*describe(learner, dataset, 0), sep="\n", flush=True)
    for epoch in range(1, given.epochs + 1):
        learner.model.relations.begin_epoch()
        learner.model.train()
        for _ in range(len(learner.sampler)):
            learner.step(learner.sampler.draw())
        if epoch >= config.relations.warm_up:
            learner.model.refresh_relations()
    print(*describe(learner, dataset, given.epochs), sep="\n")


if __name__ == "__main__":
    main()
