"""The runs of a comparison: each trained, measured, and kept as a row that lasts."""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from extract.errors import InputError
from extract.files import read_json, write_json
from extract.tables import write_table
from mmssl.comparison.plan import ComparisonPlan
from mmssl.config import TrainingConfig
from mmssl.data.dataset import Dataset, Interactions, ModalityFeatures
from mmssl.evaluation.beyond_accuracy import beyond_accuracy
from mmssl.evaluation.evaluate import Evaluation, Split, evaluate_scores, protocol
from mmssl.evaluation.groups import (
    activity_groups,
    hits_by_group,
    popularity_groups,
    quantile_bounds,
    user_group_means,
)
from mmssl.evaluation.ranking import Score, top_k
from mmssl.recommend.model_folder import SavedModel
from mmssl.training.trainer import train

LIST_LENGTH = 20
"""Of the lists whose coverage, diversity and hits by group are told."""


@dataclass(frozen=True)
class Run:
    """One model with one seed."""

    name: str
    seed: int
    config: TrainingConfig
    drop: dict[str, float]
    source: str
    """What makes it again: configuration and settings, as they are typed."""

    def key(self, dataset: Dataset) -> str:
        """What its row is known by: all that decides its figures.

        A setting that is added later, whose default is what was done before, keeps old rows.
        """
        values = self.config.model_dump(mode="json", exclude_defaults=True)
        values.pop("name", None)
        values |= {"model": self.config.model, "seed": self.seed}
        text = json.dumps([values, self.drop, dataset.digest], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def runs_of(plan: ComparisonPlan, path: Path) -> list[Run]:
    """All runs of a plan, one seed of every model before the next."""
    rounds = max(len(plan.seeds_of(name)) for name in plan.models)
    runs = []
    for number in range(rounds):
        for name, entry in plan.models.items():
            if number < len(plan.seeds_of(name)):
                seed = plan.seeds_of(name)[number]
                config = plan.configuration(path, name, seed)
                typed = " ".join([entry.config, *plan.settings(name, seed)])
                runs.append(Run(name, seed, config, dict(entry.drop), typed))
    return runs


class Rows:
    """The finished runs in a folder; a row is a JSON and each user's figures, both atomic."""

    def __init__(self, out: Path, dataset: Dataset, device: str) -> None:
        self._rows, self._models = out / "rows", out / "runs"
        self.dataset, self._device = dataset, device
        self._popular = _item_counts(dataset)

    def row(self, run: Run, split: Split = "val") -> dict[str, Any] | None:
        """The row of a run, if it is finished."""
        file, users = self._files(run, split)
        if not file.is_file() or not users.is_file():
            return None
        row = read_json(file)
        if not isinstance(row, dict) or not {"metrics", "groups", "seconds"} <= row.keys():
            raise InputError(f"{file}: not a row of a comparison; remove it to make it again")
        return row

    def per_user(self, run: Run, split: Split = "val") -> pl.DataFrame:
        """Each evaluated user's metrics: ``user``, the row, and a column a metric."""
        return pl.read_parquet(self._files(run, split)[1])

    def _files(self, run: Run, split: Split) -> tuple[Path, Path]:
        stem = f"{run.key(self.dataset)}-{split}"
        return self._rows / f"{stem}.json", self._rows / f"{stem}.parquet"

    # --- making them -------------------------------------------------------------------------

    def make(self, run: Run, report: Callable[[str], None]) -> None:
        """Train a run, or go on with it, and measure it on validation."""
        saved, figures = self._trained(run, report)
        score = saved.score(torch.device("cpu"))
        self._write(run, "val", score, self.dataset.val, figures)

    def _trained(
        self, run: Run, report: Callable[[str], None]
    ) -> tuple[SavedModel, dict[str, Any]]:
        folder = self._models / run.key(self.dataset)
        metrics = folder / "metrics.json"
        if not metrics.is_file():
            view = without(self.dataset, run.drop, run.seed)
            train(run.config, view, folder, device=self._device, report=report)
        # Only the model is needed from here on, and checkpoints of all runs fill a disk.
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
        return SavedModel.load(folder), read_json(metrics)

    def make_test(
        self, run: Run, test: Interactions, reader: str, report: Callable[[str], None]
    ) -> None:
        """Measure a run on the test split, which was read once for all of them.

        A run whose model is gone is trained again and measured on validation again: on the same
        machine it is the same to the bit, on another kind of processor it may round otherwise, and
        both rows of a run are to be those of one model.
        """
        gone = not (self._models / run.key(self.dataset) / "metrics.json").is_file()
        saved, figures = self._trained(run, report)
        score = saved.score(torch.device("cpu"))
        if gone:
            self._write(run, "val", score, self.dataset.val, figures)
        self._write(run, "test", score, test, {**figures, "reader": reader})

    def _write(
        self, run: Run, split: Split, score: Score, relevant: Interactions, figures: dict[str, Any]
    ) -> None:
        described = protocol(self.dataset, split)
        exclude = self.dataset.matrix(*described["masked"])
        evaluation = evaluate_scores(score, relevant, exclude)
        lists, _ = top_k(score, evaluation.users, exclude, LIST_LENGTH)
        train_users = int((np.diff(self.dataset.matrix("train").indptr) > 0).sum())
        beyond = beyond_accuracy(lists, self._popular, train_users, self.dataset.features)
        file, users = self._files(run, split)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_table(_per_user(evaluation), users)
        write_json(
            file,
            {
                "name": run.name,
                "seed": run.seed,
                "source": run.source,
                "drop": run.drop,
                "best_epoch": figures["best_epoch"],
                "epochs": figures["epochs"],
                "seconds": figures["seconds"],
                "metrics": evaluation.metrics,
                "beyond_accuracy": beyond,
                "groups": self._groups(evaluation, lists, relevant),
                "protocol": described,
                **({"reader": figures["reader"]} if "reader" in figures else {}),
            },
        )

    def _groups(
        self, evaluation: Evaluation, lists: NDArray[np.int64], relevant: Interactions
    ) -> dict[str, Any]:
        """Recall of users by activity, and on items by popularity."""
        activity = np.diff(self.dataset.matrix("train").indptr)
        users = activity_groups(activity, quantile_bounds(activity))
        metric = f"recall@{LIST_LENGTH}"
        by_user = user_group_means(evaluation.per_user[metric], evaluation.users, users)
        items = popularity_groups(self._popular)
        by_item = hits_by_group(lists, evaluation.users, relevant, items).summary()
        return {
            "user activity": {n: {"users": g.users, metric: g.mean} for n, g in by_user.items()},
            "item popularity": {
                n: {"users": g.users, "relevant": g.relevant, metric: g.recall}
                for n, g in by_item.items()
            },
        }


def without(dataset: Dataset, drop: dict[str, float], seed: int) -> Dataset:
    """The dataset with a share of each named modality's items without it, drawn at random.

    Raises:
        InputError: the dataset has no such modality.
    """
    features = dict(dataset.features)
    draw = np.random.default_rng(seed)
    for modality, share in sorted(drop.items()):
        if modality not in features:
            raise InputError(
                f"drop: the dataset has no '{modality}' (it has: {', '.join(features)})"
            )
        given = features[modality]
        there = given.present.nonzero()[0]
        lost = draw.choice(there, size=round(share * len(there)), replace=False)
        present, vectors = given.present.copy(), given.vectors.copy()
        present[lost], vectors[lost] = False, 0
        features[modality] = ModalityFeatures(vectors, present, given.encoder, given.digest)
    return replace(dataset, features=features)


def _item_counts(dataset: Dataset) -> NDArray[np.int64]:
    return np.bincount(dataset.matrix("train").indices, minlength=len(dataset.item_ids))


def _per_user(evaluation: Evaluation) -> pl.DataFrame:
    # Float32 halves what is kept; tests and intervals are taken of these.
    figures = {name: values.astype(np.float32) for name, values in evaluation.per_user.items()}
    return pl.DataFrame({"user": evaluation.users.astype(np.int32), **figures})
