"""A finished run as one HTML file, for people who decide."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup

from extract.device import resolve_device
from extract.errors import InputError
from extract.files import require_writable, write_text
from extract.inspect.items import ItemSource, read_labels
from extract.summary import printable
from mmssl.data.dataset import Dataset
from mmssl.evaluation.evaluate import dataset_of, protocol
from mmssl.recommend.model_folder import SavedModel
from mmssl.recommend.tables import read_ids
from mmssl.report import words
from mmssl.report.cards import ItemCards
from mmssl.report.examples import choose_users, example_users
from mmssl.report.facts import data_facts, saved_on, statements, test_figures
from mmssl.report.figures import (
    Chart,
    curve,
    group_chart,
    interval_chart,
    loss_chart,
)
from mmssl.report.item_map import ItemMap, item_map
from mmssl.report.log import TrainingLog, read_log
from mmssl.report.measures import Measured, measure
from mmssl.report.parts import PartRow, part_rows

SHOWN_CURVES = ("recall@20", "ndcg@20")


@dataclass(frozen=True)
class ReportOptions:
    """What a report is made from and where it is written."""

    model: Path
    """A run, or its ``model/`` folder."""
    out: Path
    data: Path | None = None
    """The dataset; None: the one that the model was trained on."""
    source: ItemSource | None = None
    """Where the items' media are; without it items are ids."""
    colour: str | None = None
    """Column of the item table by which the map's dots are coloured."""
    space: str | None = None
    """Vectors of the map: ``model`` or a modality."""
    users: str | None = None
    """Ids between commas, or a file of them; None: chosen by a rule."""
    note: str | None = None
    """A sentence for the top of the page."""
    seed: int = 0
    device: str = "auto"


@dataclass(frozen=True)
class ReportSummary:
    """What was written."""

    path: Path
    size: int
    """Bytes."""
    headline: str
    problems: int
    """Pictures that could not be shown."""

    def lines(self) -> list[str]:
        """The summary as lines of text for people."""
        lines = [self.headline]
        if self.problems:
            lines.append(f"pictures that could not be shown: {self.problems:,}; the page says why")
        return [*lines, f"report: {self.path} ({self.size / 2**20:.1f} MiB)"]


def report(options: ReportOptions) -> ReportSummary:
    """Measure a run on validation and write the page, atomically; the test split is not read.

    Raises:
        InputError: no such model, dataset, table, column or user, an empty validation split, or
            the file cannot be written.
    """
    environment = _environment()
    if options.out.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"--out {options.out}: a report is a page; name a file ending in .html")
    if options.colour is not None and options.source is None:
        raise InputError(f"--colour {options.colour}: it is a column of --items, which is missing")
    require_writable(options.out)
    device = resolve_device(options.device)
    saved = SavedModel.load(options.model)
    dataset = dataset_of(saved, options.model, options.data)
    if not dataset.manifest.counts.val:
        raise InputError(f"{dataset.path}: the validation split is empty, nothing to report on")
    cards, labels = ItemCards(options.source), None
    if options.source is not None:
        cards.require(saved.item_ids, str(options.source.items))
        if options.colour is not None:
            table, ids = options.source.items, options.source.id_column
            labels = read_labels(table, options.colour, ids, "--colour")
    typed = _typed_users(options, dataset)

    measured = measure(saved, dataset, device, options.seed)
    chosen = typed or choose_users(
        np.diff(dataset.matrix("train").indptr), measured.evaluation.users, options.seed
    )
    log = read_log(options.model / "log.jsonl")
    drawn = item_map(saved, dataset, cards, space=options.space, labels=labels, seed=options.seed)
    parts = part_rows(saved, dataset, measured, device, options.seed)
    headline = words.headline(measured)
    context: dict[str, Any] = {
        "options": options,
        "info": saved.info,
        "dim": saved.dim,
        "part_names": saved.part_names,
        "title": words.title(saved.info),
        "trained": words.trained(saved, dataset),
        "headline": headline,
        "verdict": words.verdict(measured),
        "saved_on": saved_on(options.model),
        "dataset": dataset,
        "data": data_facts(saved, dataset),
        "notes": (
            *([options.note] if options.note else []),
            *statements(dataset.path, options.source.items if options.source else None),
        ),
        "log": log,
        "curves": _curves(log, saved.info.best_epoch),
        "measured": measured,
        "test": test_figures(options.model, dataset.digest),
        "test_reads": dataset.test_reads(),
        "charts": _charts(measured),
        "parts": parts,
        "part_chart": _part_chart(parts),
        "map": drawn if isinstance(drawn, ItemMap) else None,
        "no_map": drawn if isinstance(drawn, str) else None,
        "examples": example_users(saved, dataset, cards, chosen, device),
        "by_rule": typed is None,
        "has_table": cards.any,
        "pictured": cards.pictures,
        "settings": yaml.safe_dump(
            saved.info.training, sort_keys=False, allow_unicode=True
        ).splitlines(),
        "problems": cards.problems,
        "commands": _commands(options, dataset),
        "protocol": protocol(dataset, "val"),
    }
    page = environment.get_template("template.html").render(context)
    write_text(options.out, page)
    return ReportSummary(options.out, len(page.encode()), headline, len(cards.problems))


def _environment() -> Environment:
    """Templates in which every word from data is escaped, and control characters are visible."""
    here = files("mmssl.report")
    names = ("template.html", "people.html", "macros.html", "page.css")
    sources = {name: here.joinpath(name).read_text(encoding="utf-8") for name in names}
    environment = Environment(
        loader=DictLoader(sources),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    environment.globals["style"] = Markup(sources["page.css"])
    environment.filters |= words.FILTERS
    return environment


def _shown(value: Any) -> Any:
    return printable(value) if type(value) is str else value


def _typed_users(options: ReportOptions, dataset: Dataset) -> list[tuple[int, str]] | None:
    if options.users is None:
        return None
    ids = list(dict.fromkeys(read_ids(options.users, dataset.user_ids, "user", "--users")))
    return [(int(row), "named in the command") for row in dataset.user_ids.rows(ids)]


def _curves(log: TrainingLog | None, best: int) -> dict[str, list[Any]]:
    if log is None:
        return {"losses": [], "validation": []}
    return {
        "losses": [
            curve(name.replace("_", " "), values, best, colour="other")
            for name, values in log.losses.items()
        ],
        "validation": [
            curve(words.metric(name), log.validation[name], best)
            for name in SHOWN_CURVES
            if name in log.validation
        ],
    }


def _charts(measured: Measured) -> dict[str, Any]:
    return {
        "metrics": [
            interval_chart(title, [row for row in measured.rows if row.name.startswith(prefix)])
            for title, prefix in (("Recall", "recall@"), ("NDCG", "ndcg@"))
        ],
        "activity": group_chart("Recall@20 by the users' activity", measured.by_activity),
        "popularity": group_chart("Recall@20 by the items' popularity", measured.by_popularity),
    }


def _part_chart(parts: Sequence[PartRow]) -> Chart | None:
    if not parts:
        return None
    return loss_chart("Recall@20 lost without a part", {part.name: part.loss for part in parts})


def _commands(options: ReportOptions, dataset: Dataset) -> Sequence[str]:
    """Commands that print the figures of the page again."""
    model, data = ["--model", str(options.model)], ["--data", str(dataset.path)]
    again = ["report", *model, *data, "--out", str(options.out)]
    if (source := options.source) is not None:
        again += ["--items", str(source.items)]
        for name, value in (
            ("--id-column", source.id_column),
            ("--text-template", source.text_template),
        ):
            again += [name, value] if value is not None else []
        for column in source.columns:
            again += ["--column", column]
        for root in source.media_roots:
            again += ["--media-root", str(root)]
    for name, value in (
        ("--colour", options.colour),
        ("--space", options.space),
        ("--users", options.users),
        ("--note", options.note),
    ):
        again += [name, value] if value is not None else []
    if options.seed:
        again += ["--seed", str(options.seed)]
    commands = [["evaluate", *model, *data], again]
    return [shlex.join(["python", "cli.py", *command]) for command in commands]
