"""From tables as they were read to distinct interactions, with an account of what was removed."""

from dataclasses import dataclass, replace

import polars as pl

from extract.errors import InputError
from mmssl.data.filters import Removed, drop_duplicates, k_core, keep_rated
from mmssl.data.interactions import InteractionTable
from mmssl.data.prepare_config import PrepareConfig
from mmssl.data.splits import TEMPORAL_RULES
from mmssl.wording import counted


@dataclass(frozen=True)
class Cleaned:
    """What ``clean`` leaves of each table: columns user, item and, if read, timestamp.

    ``left_by_core``: the items that had interactions and are not in the k-core; they leave the
    dataset altogether.
    """

    frames: dict[str, pl.DataFrame]
    removed: tuple[Removed, ...]
    warnings: tuple[str, ...]
    left_by_core: set[str]


def clean(tables: dict[str, InteractionTable], config: PrepareConfig, known: set[str]) -> Cleaned:
    """Apply the filters in order: unknown items, duplicates, rating, then the k-core.

    Duplicates come before the rating, so that a user's last word counts. Of a ready split, pairs
    that an earlier part holds are taken out of the later one instead of the k-core.

    Args:
        tables: by name: ``interactions``, or ``train``, ``val`` and ``test``.
        config: the options.
        known: the items of the item table and the features; empty when there are none.

    Raises:
        InputError: a column that an option needs is absent, there are unknown items and
            ``unknown_items`` is ``error``, or nothing is left.
    """
    removed: list[Removed] = []
    warnings: list[str] = []
    frames = {
        name: _filtered(name, table, config, known, removed=removed, warnings=warnings)
        for name, table in tables.items()
    }
    left_by_core: set[str] = set()
    if "interactions" not in tables:
        _remove_repeated(frames, removed)
    elif config.user_core > 1 or config.item_core > 1:
        before = frames["interactions"]
        core = k_core(before, config.user_core, config.item_core)
        step = f"k-core (users >= {config.user_core}, items >= {config.item_core})"
        removed.append(Removed.between(step, before, core))
        # With those whose last interaction an earlier filter took: they have none of the k.
        touched = tables["interactions"].frame["item"].drop_nulls().unique()
        left_by_core = set(touched) - set(core["item"].unique())
        frames["interactions"] = core
    first = next(iter(frames))
    if not frames[first].height:
        steps = "; ".join(f"{step.step} removed {step.interactions:,}" for step in removed)
        raise InputError(f"{tables[first].path}: no interactions are left ({steps})")
    return Cleaned(frames, tuple(removed), tuple(warnings), left_by_core)


def _filtered(
    name: str,
    table: InteractionTable,
    config: PrepareConfig,
    known: set[str],
    *,
    removed: list[Removed],
    warnings: list[str],
) -> pl.DataFrame:
    """One table's interactions after the steps that look at single rows and pairs."""
    prefix = "" if name == "interactions" else f"{name}: "
    frame = table.frame
    for step in table.invalid:
        removed.append(replace(step, step=f"{prefix}{step.step}"))
    if config.min_rating is not None and "rating" not in frame.columns:
        remedy = "the source has none" if config.source else "name it with --columns"
        raise InputError(f"{table.path}: --min-rating needs a rating column; {remedy}")
    temporal = name == "interactions" and config.split in TEMPORAL_RULES
    if temporal and "timestamp" not in frame.columns:
        remedy = (
            "the source has none"
            if config.source
            else "name it: --columns user=NAME,item=NAME,timestamp=NAME"
        )
        raise InputError(f"{table.path}: split '{config.split}' needs a timestamp column; {remedy}")

    def take(step: str, after: pl.DataFrame) -> pl.DataFrame:
        removed.append(Removed.between(f"{prefix}{step}", frame, after))
        return after

    if known:
        policy = config.unknown_items or ("drop" if config.items else "keep")
        unknown = ~frame["item"].is_in(list(known))
        if unknown.any():
            first = frame.row(int(unknown.arg_true()[0]), named=True)
            message = (
                f"{table.path}, row {first['row']}: item '{first['item']}' is in neither the item"
                f" table nor the features; {counted(int(unknown.sum()), 'interaction')}"
                f" with {counted(frame['item'].filter(unknown).n_unique(), 'such item')}"
            )
            if policy == "error":
                raise InputError(f"{message}; --unknown-items drop or keep goes on without or with")
            other = "keep" if policy == "drop" else "drop"
            fate = "dropped" if policy == "drop" else "kept"
            warnings.append(f"{message} ({fate}; --unknown-items {other} does otherwise)")
        if policy == "drop":
            frame = take("unknown items", frame.filter(~unknown))
    frame = take("duplicates", drop_duplicates(frame, config.duplicates))
    if config.min_rating is not None:
        frame = take(f"rating < {config.min_rating:g}", keep_rated(frame, config.min_rating))
    return frame.select("user", "item", *({"timestamp"} & set(frame.columns)))


def _remove_repeated(frames: dict[str, pl.DataFrame], removed: list[Removed]) -> None:
    """Take pairs out of validation and test that an earlier part of a ready split holds.

    Left in, they would leak: the model has trained on (or was chosen by) what it is tested on, and
    a ranking that leaves seen items out could never find them.
    """
    earlier = frames["train"]
    for part in ("val", "test"):
        fresh = frames[part].join(earlier, on=["user", "item"], how="anti", maintain_order="left")
        removed.append(Removed.between(f"{part}: already in an earlier part", frames[part], fresh))
        frames[part] = fresh
        earlier = pl.concat([earlier.select("user", "item"), fresh.select("user", "item")])
