"""Do the media matter? The same training with feature rows permuted across items, seed by seed.

    python benchmarks/media_matter.py --project quickstart --seeds 1 2 3

For every seed the project's dataset is trained on twice: as it is, and with the rows of all its
features dealt out to other items (one permutation a seed, the same for all modalities, so that an
item's modalities still belong together). A model that learns from the media loses by that; one that
learns from interactions alone does not. Validation only; the test split is not read.
"""

import argparse
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

# Python looks for modules beside this file first, where `extract` would be a benchmark.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from mmssl import Dataset, TrainingConfig, train
from mmssl.settings import shipped


def permuted(dataset: Dataset, seed: int) -> Dataset:
    """The dataset with every modality's rows moved to other items by one permutation."""
    order = np.random.default_rng(seed).permutation(len(dataset.item_ids))
    features = {
        modality: replace(given, vectors=given.vectors[order], present=given.present[order])
        for modality, given in dataset.features.items()
    }
    return replace(dataset, features=features)


def main() -> None:
    """Print a table: one line a seed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--project", type=Path, default=Path("quickstart"))
    parser.add_argument("--config", type=Path, default=shipped("quickstart.yaml"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("settings", nargs="*", help="key.sub=value over the configuration")
    arguments = parser.parse_intermixed_args()
    dataset = Dataset.open(arguments.project / "data")
    print(
        f"{'seed':>4}  {'popularity':>10}  {'model':>8}  {'permuted':>8}   (validation recall@20)"
    )
    holds = True
    with tempfile.TemporaryDirectory() as scratch:
        for seed in arguments.seeds:
            config = TrainingConfig.load(arguments.config, [*arguments.settings, f"seed={seed}"])
            real = train(config, dataset, Path(scratch) / f"real-{seed}")
            control = train(config, permuted(dataset, seed), Path(scratch) / f"permuted-{seed}")
            popularity, model, moved = (
                values["recall@20"] for values in (real.popularity, real.metrics, control.metrics)
            )
            print(f"{seed:>4}  {popularity:>10.4f}  {model:>8.4f}  {moved:>8.4f}", flush=True)
            holds &= model > popularity and model > moved
    sys.exit(0 if holds else 1)


if __name__ == "__main__":
    main()
