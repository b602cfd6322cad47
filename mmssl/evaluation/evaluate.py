"""Evaluation: full ranking over all items, metrics of each user, popularity beside the model."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array

from extract.device import resolve_device
from extract.errors import InputError
from mmssl.baselines.popularity import popularity_score
from mmssl.data.dataset import Dataset, Interactions
from mmssl.evaluation.metrics import DEFAULT_KS, METRICS, check_ks, per_user_metrics
from mmssl.evaluation.ranking import InnerProduct, Score, scored_blocks
from mmssl.evaluation.ranks import RelevantItems, may_have_hits, ranks_of
from mmssl.processes import ONE, Processes
from mmssl.recommend.model_folder import SavedModel
from mmssl.wording import counted

Split: TypeAlias = Literal["val", "test"]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The metrics of one scorer: the mean over users, and each user's own."""

    metrics: dict[str, float]
    """``{"recall@10": ..., ...}``, means over the users."""
    per_user: dict[str, NDArray[np.float64]]
    """The same keys, (n,) float64, in the order of ``users``."""
    users: NDArray[np.int64]
    """(n,) user rows, ascending: those with a relevant item."""


def evaluate_scores(
    score: Score,
    relevant: Interactions,
    exclude: csr_array,
    ks: Sequence[int] = DEFAULT_KS,
    block: int | None = None,
    processes: Processes = ONE,
) -> Evaluation:
    """Rank all items for every user with a relevant one, and measure the lists.

    No list is made that could have no hit: see ``mmssl.evaluation.ranks``.

    Args:
        score: (b,) user rows -> (b, I) scores; of an ``InnerProduct`` users may be known to have no
            hit before their scores are computed.
        relevant: the split's interactions, as row numbers.
        exclude: U x I; what is stored here is no candidate.
        ks: cut-offs K.
        block: users ranked at a time; by default as memory suggests.
        processes: those to which the blocks are dealt out; all come to the result of one, bit by
            bit, where they score alike.

    Raises:
        InputError: nothing is relevant to anybody, or a cut-off is below 1.
        FloatingPointError: a score is NaN or infinite, of a user whose scores had to be computed.
    """
    cutoffs = check_ks(ks)
    if not len(relevant):
        raise InputError("there is nothing to evaluate on: the split has no interaction")
    n_items = exclude.shape[1]
    deepest = min(cutoffs[-1], n_items)
    wanted = RelevantItems.of(relevant, n_items)
    names = [f"{name}@{k}" for name in METRICS for k in cutoffs]
    # A row a metric; what nothing was found for stays zero, as do the users of other processes
    # until all are added up.
    figures = np.zeros((len(names), len(wanted.users)))
    hopeful = np.ones(len(wanted.users), dtype=bool)
    if isinstance(score, InnerProduct):
        n_excluded = np.diff(exclude.indptr)[wanted.users]
        hopeful = may_have_hits(score, wanted, n_excluded, deepest, processes)
    places, ranked = np.flatnonzero(hopeful), wanted.of_users(hopeful)

    def measure() -> None:
        buffer = None
        for _, scores, place in scored_blocks(score, ranked.users, exclude, block, processes):
            buffer = torch.empty_like(scores) if buffer is None else buffer
            part = ranked.part(place)
            ranks = ranks_of(part, scores, deepest, buffer)
            hits = np.zeros((len(part.users), deepest + 1), dtype=bool)
            hits[part.owners, ranks] = True
            found = np.flatnonzero(hits[:, 1:].any(axis=1))
            measured = per_user_metrics(hits[found, 1:], part.counts[found], cutoffs)
            figures[:, places[place][found]] = [measured[name] for name in names]

    processes.agree(measure)
    per_user = dict(zip(names, processes.summed(figures), strict=True))
    metrics = {name: float(values.mean()) for name, values in per_user.items()}
    return Evaluation(metrics, per_user, wanted.users)


def protocol(
    dataset: Dataset, split: Split, ks: Sequence[int] = DEFAULT_KS, mask_validation: bool = True
) -> dict[str, Any]:
    """How an evaluation on a split is done, as JSON values; ``masked`` names the splits left out.

    Training items are masked always, validation items when testing, unless ``mask_validation`` is
    False, as the published protocol has it.
    """
    masked = ["train", "val"] if split == "test" and mask_validation else ["train"]
    return {
        "split": split,
        "ks": list(check_ks(ks)),
        "candidates": f"all {len(dataset.item_ids)} items but a user's masked ones",
        "masked": masked,
        "users": f"those with an item in the {split} split",
        "ndcg": "ideal of min(a user's relevant items, K) hits",
        "legacy_ndcg": "ideal of the retrieved hits only, to compare with published figures",
        "ties": "the item of the lower row first",
        "dataset": dataset.digest,
    }


@dataclass(frozen=True, eq=False)
class EvaluationResult:
    """A model's metrics on a split, with popularity's."""

    metrics: dict[str, float]
    popularity: dict[str, float]
    """Popularity's, same keys, same users, same protocol."""
    users: int
    protocol: dict[str, Any]
    """``protocol`` of the split, and: data, model, seed, users_left_out, test_reads."""
    per_user: pl.DataFrame
    """``user_id`` (original) and a float64 column a metric, one row an evaluated user."""

    def as_json(self) -> dict[str, Any]:
        """What ``evaluate --json`` writes: everything but the single users."""
        return {
            "metrics": self.metrics,
            "popularity": self.popularity,
            "users": self.users,
            "protocol": self.protocol,
        }

    def lines(self) -> list[str]:
        """The result as lines of text for people."""
        facts = self.protocol
        width = max(len(name) for name in self.metrics)
        # Popularity beside itself would be the same column twice.
        beside = {} if facts["model"] == "popularity" else self.popularity
        left_out = facts["users_left_out"]
        without = f"{left_out:,} {'has' if left_out == 1 else 'have'} no item in it and"
        without += f" {'is' if left_out == 1 else 'are'} left out; "
        return [
            f"{facts['model']} on {facts['data']}, {facts['split']} split:"
            f" {counted(self.users, 'user')}; {without if left_out else ''}"
            f"{' and '.join(facts['masked'])} masked",
            " " * width + ("   model  popularity" if beside else "  popularity"),
            *(
                f"{name:{width}}  {value:.4f}" + (f"      {beside[name]:.4f}" if beside else "")
                for name, value in self.metrics.items()
            ),
            f"the test split in {facts['data']} was read {facts['test_reads']} time(s) so far",
        ]


def evaluate(
    model: Path | str,
    split: Split = "val",
    data: Path | str | None = None,
    *,
    ks: Sequence[int] = DEFAULT_KS,
    mask_validation: bool = True,
    device: str = "auto",
    block: int | None = None,
) -> EvaluationResult:
    """Evaluate a trained model, or popularity alone, on a split of its dataset.

    The test split is read once a call, through ``Dataset.read_test``, which records the reading;
    everything that can be wrong with the arguments is found before.

    Args:
        model: a run, its ``model/`` folder, or the text ``"popularity"``.
        split: ``"val"`` or ``"test"``.
        data: the dataset folder; by default the one that the model was trained on.
        ks: cut-offs K.
        mask_validation: when testing, leave validation items out of the lists too.
        device: ``auto``, ``cpu``, ``cuda:N`` or ``mps``.
        block: users ranked at a time; by default as memory suggests.

    Raises:
        InputError: no such model, dataset, split, device or cut-off; a model of another dataset; or
            an empty split.
    """
    if split not in ("val", "test"):
        raise InputError(f"split '{split}': choose val or test")
    cutoffs = check_ks(ks)
    place = resolve_device(device)
    saved = None if model == "popularity" else SavedModel.load(Path(model))
    dataset = dataset_of(saved, model, data)
    if not getattr(dataset.manifest.counts, split):
        raise InputError(
            f"{dataset.path}: the {split} split is empty, nothing to"
            " evaluate on; choose another --split, or `prepare` with a larger share for it"
        )

    described = protocol(dataset, split, cutoffs, mask_validation)
    reader = f"evaluate --model {model} --split test"
    relevant = dataset.val if split == "val" else dataset.read_test(reader)
    train = dataset.matrix("train")
    exclude = dataset.matrix(*described["masked"])
    popularity = evaluate_scores(popularity_score(train, place), relevant, exclude, cutoffs, block)
    result = popularity
    if saved:
        result = evaluate_scores(saved.score(place), relevant, exclude, cutoffs, block)
    described |= {
        "data": str(dataset.path),
        "model": str(model),
        "seed": saved.info.seed if saved else None,
        "users_left_out": len(dataset.user_ids) - len(result.users),
        "test_reads": dataset.test_reads(),
    }
    ids = pl.Series(dataset.user_ids.ids, dtype=pl.String).gather(result.users)
    per_user = pl.DataFrame({"user_id": ids, **result.per_user})
    return EvaluationResult(
        result.metrics, popularity.metrics, len(result.users), described, per_user
    )


def dataset_of(saved: SavedModel | None, model: Path | str, data: Path | str | None) -> Dataset:
    """The dataset to evaluate on: the one named, else the one that the model was trained on.

    Args:
        saved: the model; None for popularity, which has to be given a dataset.
        model: its path, for messages.
        data: the dataset folder, if one was named.

    Raises:
        InputError: no such dataset, or not the one that the model was trained on.
    """
    if saved is None:
        if data is None:
            raise InputError("popularity needs a dataset: name it with --data DIR")
        return Dataset.open(data)
    folder = Path(data) if data is not None else Path(saved.info.data)
    if data is None and not folder.is_dir():
        raise InputError(
            f"{folder}: the dataset that {model} was trained on is not there; name it: --data DIR"
        )
    dataset = Dataset.open(folder)
    if dataset.digest != saved.info.data_digest:
        raise InputError(
            f"{folder}: not the dataset that {model} was trained on (digest {dataset.digest[:12]},"
            f" trained on {saved.info.data_digest[:12]}); row numbers and splits would not fit"
        )
    return dataset
