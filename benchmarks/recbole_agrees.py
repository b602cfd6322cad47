"""RecBole's figures of popularity beside ours, on the same split: two programs, one protocol.

To be run in an environment of its own that has RecBole, whose libraries are older than ours:
``convert DATASET --to recbole --out FOLDER`` writes the split, ``evaluate --model popularity
--data DATASET --json FILE`` our figures. Only validation is read. RecBole's ``Pop`` counts an item
once a batch, however often the batch holds it, so that it gets one interaction a batch here.
"""

import argparse
import json
import sys
from pathlib import Path

METRICS = {
    "recall": "Recall", "ndcg": "NDCG", "mrr": "MRR", "hit": "Hit", "precision": "Precision",
    "map": "MAP",
}  # fmt: skip
OURS = {"hit": "hit_rate"}
CUTOFFS = (10, 20, 50)
# Items of equal popularity are listed in another order.
TOLERANCE = 0.002


def recbole_popularity(folder: Path) -> dict[str, float]:
    """RecBole's validation metrics of its model ``Pop`` on the folder's benchmark files."""
    from recbole.config import Config
    from recbole.data import create_dataset, data_preparation
    from recbole.utils import get_model, get_trainer, init_seed

    config = Config(
        model="Pop",
        dataset=folder.name,
        config_dict={
            "data_path": str(folder.parent),
            "benchmark_filename": ["train", "valid", "test"],
            "load_col": {"inter": ["user_id", "item_id"]},
            "eval_args": {"mode": "full", "order": "RO", "group_by": "user"},
            "metrics": list(METRICS.values()),
            "topk": list(CUTOFFS),
            "valid_metric": "Recall@20",
            "metric_decimal_place": 6,
            "train_neg_sample_args": None,
            "train_batch_size": 1,
            "epochs": 1,
            "use_gpu": False,
        },
    )
    init_seed(1, True)
    dataset = create_dataset(config)
    training, validation, _ = data_preparation(config, dataset)
    model = get_model("Pop")(config, training.dataset)
    trainer = get_trainer(config["MODEL_TYPE"], "Pop")(config, model)
    trainer.fit(training, validation, verbose=False, saved=False, show_progress=False)
    return dict(trainer.evaluate(validation, load_best_model=False, show_progress=False))


def main() -> None:
    """Print both columns; exit code 1 where they differ by more than ties explain."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="What `convert` wrote.")
    parser.add_argument("--ours", type=Path, required=True, help="What `evaluate --json` wrote.")
    given = parser.parse_args()
    ours = json.loads(given.ours.read_text())["popularity"]
    theirs = recbole_popularity(given.folder.resolve())
    worst = 0.0
    print(f"{'':14}{'ours':>8}{'RecBole':>9}")
    for name in METRICS:
        for cutoff in CUTOFFS:
            pair = ours[f"{OURS.get(name, name)}@{cutoff}"], theirs[f"{name}@{cutoff}"]
            worst = max(worst, abs(pair[0] - pair[1]))
            print(f"{f'{name}@{cutoff}':14}{pair[0]:8.4f}{pair[1]:9.4f}")
    print(f"largest difference {worst:.4f}")
    sys.exit(worst > TOLERANCE)


if __name__ == "__main__":
    main()
