"""One table out of all rows: mean and deviation over seeds, intervals and tests over users."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mmssl.comparison.plan import ComparisonPlan
from mmssl.comparison.runs import LIST_LENGTH, Rows, Run
from mmssl.evaluation.evaluate import Split
from mmssl.evaluation.significance import (
    bootstrap_intervals,
    mean_and_deviation,
    mean_over_seeds,
    paired_comparisons,
)


@dataclass(frozen=True, eq=False)
class Table:
    """The comparison on one split."""

    split: Split
    models: pl.DataFrame
    """A row a model, the best first metric first; see ``build``."""
    groups: pl.DataFrame
    """Columns model, grouping, group, users, and the recall, averaged over seeds."""


def build(
    plan: ComparisonPlan, runs: Sequence[Run], rows: Rows, split: Split, confidence: float = 0.95
) -> Table:
    """Put finished runs into tables.

    Columns of ``models``: model, seeds (how many); of each metric its mean, ``<metric> sd`` (over
    seeds, null for one seed); of the first one ``low`` and ``high`` (bootstrap over users, of each
    user's mean over seeds), ``difference``, ``difference low``, ``difference high`` from the
    reference (paired bootstrap), ``p`` (paired test over users) and ``p holm``; the figures beyond
    accuracy; best_epoch, seconds (medians over seeds); source, what makes the first run again.

    Args:
        plan: the comparison.
        runs: its runs, all of them finished on the split.
        rows: where they are kept.
        split: ``val`` or ``test``.
        confidence: of all intervals.
    """
    by_model: dict[str, list[Run]] = {name: [] for name in plan.models}
    for run in runs:
        by_model[run.name].append(run)
    found = {
        name: [row for run in own if (row := rows.row(run, split)) is not None]
        for name, own in by_model.items()
    }
    metric = plan.metrics[0]
    users = {name: _users(own, rows, split, metric) for name, own in by_model.items()}
    intervals = _intervals(users, confidence)
    others = {name: values for name, values in users.items() if name != plan.reference}
    tested = paired_comparisons(users[plan.reference], others, confidence) if others else {}
    lines: list[dict[str, Any]] = []
    for name, own in found.items():
        line: dict[str, Any] = {"model": name, "seeds": len(own)}
        for each in plan.metrics:
            mean, deviation = mean_and_deviation([row["metrics"][each] for row in own])
            line |= {each: mean, f"{each} sd": deviation}
        line |= dict(zip(("low", "high"), intervals[name], strict=True))
        against = tested.get(name)
        line |= {
            "difference": against and against.difference,
            "difference low": against and against.low,
            "difference high": against and against.high,
            "p": against and against.p_value,
            "p holm": against and against.holm,
        }
        line |= _means([row["beyond_accuracy"] for row in own])
        line |= {
            "best_epoch": float(np.median([row["best_epoch"] for row in own])),
            "seconds": float(np.median([row["seconds"] for row in own])),
            "source": by_model[name][0].source,
        }
        lines.append(line)
    models = pl.DataFrame(lines, infer_schema_length=None).sort(metric, descending=True)
    return Table(split, models, _groups(found))


def _users(runs: Sequence[Run], rows: Rows, split: Split, metric: str) -> NDArray[np.float64]:
    frames = [rows.per_user(run, split) for run in runs]
    return mean_over_seeds(
        [(frame["user"].to_numpy(), frame[metric].to_numpy().astype(float)) for frame in frames]
    )


def _intervals(
    users: Mapping[str, NDArray[np.float64]], confidence: float
) -> dict[str, tuple[float, float]]:
    bounds = bootstrap_intervals(np.stack(list(users.values())), confidence)
    return {
        name: (float(low), float(high)) for name, (low, high) in zip(users, bounds, strict=True)
    }


def _means(figures: Sequence[Mapping[str, float | None]]) -> dict[str, float | None]:
    means: dict[str, float | None] = {}
    for name in figures[0]:
        values = [value for each in figures if (value := each[name]) is not None]
        means[name] = float(np.mean(values)) if values else None
    return means


def _groups(found: Mapping[str, Sequence[Mapping[str, Any]]]) -> pl.DataFrame:
    metric = f"recall@{LIST_LENGTH}"
    lines = []
    for name, own in found.items():
        for grouping, groups in own[0]["groups"].items():
            for group, figures in groups.items():
                values = [
                    row["groups"][grouping][group][metric]
                    for row in own
                    if row["groups"][grouping][group][metric] is not None
                ]
                lines.append(
                    {
                        "model": name,
                        "grouping": grouping,
                        "group": group,
                        "users": figures["users"],
                        metric: float(np.mean(values)) if values else None,
                    }
                )
    return pl.DataFrame(lines, schema_overrides={metric: pl.Float64})


def markdown(table: Table, plan: ComparisonPlan, confidence: float = 0.95) -> str:
    """The table for people, in Markdown, with how to read it below."""
    metric = plan.metrics[0]
    percent = f"{100 * confidence:g} %"
    head = ["model", "seeds", *plan.metrics, f"{metric} {percent}", f"minus {plan.reference}", "p"]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for row in table.models.iter_rows(named=True):
        cells = [row["model"], str(row["seeds"])]
        for each in plan.metrics:
            deviation = row[f"{each} sd"]
            spread = "" if deviation is None else f" ± {deviation:.4f}"
            cells.append(f"{row[each]:.4f}{spread}")
        cells.append(f"{row['low']:.4f} to {row['high']:.4f}")
        if row["difference"] is None:
            cells += ["", ""]
        else:
            cells.append(
                f"{row['difference']:+.4f} ({row['difference low']:+.4f} to"
                f" {row['difference high']:+.4f})"
            )
            cells.append(f"{row['p holm']:.4f}")
        lines.append(f"| {' | '.join(cells)} |")
    split = {"val": "validation", "test": "test"}[table.split]
    return "\n".join(
        [
            *lines,
            "",
            f"On the {split} split. ± is the deviation over seeds; intervals are bootstraps over"
            f" users ({percent}) of each user's mean over seeds; p is of a paired test over users,"
            f" corrected after Holm for all comparisons with {plan.reference}.",
            "",
        ]
    )
