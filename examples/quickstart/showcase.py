"""What the page shows, read from the project folder and a finished run."""

from pathlib import Path

import polars as pl

from examples.quickstart.page import Facts, Item, Shelf, draw_users
from examples.quickstart.sample import TASTES
from extract.files import read_json
from extract.tables import read_table
from mmssl.data.dataset import Dataset, Interactions
from mmssl.project import Project

USERS_SHOWN = 6
SEED = 1


def gather(
    project: Project, source: str, validation: Path, recommendations: Path
) -> tuple[Facts, dict[str, Item], list[Shelf]]:
    """Read the item table, the dataset, an evaluation and recommendations.

    Args:
        project: the quickstart's folder.
        source: where items and users come from, in a sentence or two.
        validation: JSON written by ``evaluate --split val``.
        recommendations: table written by ``recommend``.
    """
    dataset = Dataset.open(project.data)
    counts = dataset.manifest.counts
    measured = read_json(validation)
    items = {
        row["item_id"]: Item(row["image"], row["text"], row["audio"], row["sound"])
        for row in read_table(project.items).iter_rows(named=True)
    }
    facts = Facts(
        source=source,
        recall=measured["metrics"]["recall@20"],
        popularity=measured["popularity"]["recall@20"],
        users=counts.users,
        items=counts.items,
        likes=counts.train + counts.val + counts.test,
        encoders={name: str(kept.encoder) for name, kept in dataset.features.items()},
        missing={name: int((~kept.present).sum()) for name, kept in dataset.features.items()},
    )
    liked, held_out = _by_user(dataset, dataset.train), _by_user(dataset, dataset.val)
    tastes = dict(read_table(project.root / TASTES).iter_rows())
    ranked = (
        read_table(recommendations)
        .with_columns(pl.col("rank").cast(pl.Int64))
        .sort("rank")
        .group_by("user_id")
        .agg("item_id")
    )
    recommended = dict(ranked.iter_rows())
    return (
        facts,
        items,
        [
            Shelf(
                user, tastes[user].split("; "), liked[user], recommended[user], set(held_out[user])
            )
            for user in draw_users(sorted(held_out), USERS_SHOWN, SEED)
        ],
    )


def _by_user(dataset: Dataset, split: Interactions) -> dict[str, list[str]]:
    kept: dict[str, list[str]] = {}
    for user, item in zip(split.users, split.items, strict=True):
        kept.setdefault(dataset.user_ids.ids[user], []).append(dataset.item_ids.ids[item])
    return kept
