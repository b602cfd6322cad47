"""A dataset of the most popular items of another one, with its splits: for costly critics.

    python benchmarks/subset.py --data data/tiktok --items 2000 --out data/tiktok-2000

Items are chosen by their training users; a user stays who has a training interaction with one of
them. Training and validation interactions are kept as they are. The test split is not read, and the
new dataset's is empty: it is for choosing, not for reporting.
"""

import argparse
import sys
import tempfile
from pathlib import Path

# Python looks for modules beside this file first, where `extract` would be a benchmark.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import polars as pl

from mmssl import Dataset, prepare
from mmssl.data.dataset import Interactions
from mmssl.data.prepare_config import PrepareConfig


def subset(dataset: Dataset, n_items: int, out: Path) -> list[str]:
    """Write the smaller dataset; what ``prepare`` says of it."""
    train = dataset.matrix("train")
    popularity = np.bincount(train.indices, minlength=train.shape[1])
    chosen = np.sort(np.argsort(-popularity, kind="stable")[:n_items])
    active = np.diff(train[:, chosen].indptr) > 0

    def table(split: Interactions) -> pl.DataFrame:
        kept = np.isin(split.items, chosen) & active[split.users]
        return pl.DataFrame(
            {
                "user": pl.Series(dataset.user_ids.ids).gather(split.users[kept]),
                "item": pl.Series(dataset.item_ids.ids).gather(split.items[kept]),
            }
        )

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for name, split in (("train", dataset.train), ("val", dataset.val)):
            table(split).write_csv(folder / f"{name}.csv")
        ids = folder / "items.txt"
        ids.write_text("".join(f"{dataset.item_ids.ids[row]}\n" for row in chosen))
        features = {}
        for modality, given in dataset.features.items():
            np.save(folder / f"{modality}.npy", given.vectors[chosen])
            features[modality] = folder / f"{modality}.npy"
        report = prepare(
            PrepareConfig(
                train=folder / "train.csv",
                val=folder / "val.csv",
                # `prepare` wants three parts; a pair that an earlier one holds is left out.
                test=folder / "val.csv",
                features=features,
                feature_ids=dict.fromkeys(features, ids),
                out=out,
            )
        )
    return report.lines()


def main() -> None:
    """Parse and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--items", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    print(*subset(Dataset.open(given.data), given.items, given.out), sep="\n")


if __name__ == "__main__":
    main()
