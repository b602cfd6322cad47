"""Figures in README and docs are those of the committed tables, rounded."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest

from benchmarks.method import read_rows
from benchmarks.method import table as method_table
from tests.doc_pages import ROOT

RESULTS = ROOT / "docs/results"
README = (ROOT / "README.md").read_text(encoding="utf-8")
RESULTS_PAGE = (ROOT / "docs/results.md").read_text(encoding="utf-8")
METHOD_PAGE = (ROOT / "docs/explanation/method.md").read_text(encoding="utf-8")
COLD_PAGE = (ROOT / "docs/guides/cold_start.md").read_text(encoding="utf-8")
FIGURE = re.compile(r"[+-]?\d*\.\d+")


def rows_of(path: Path) -> dict[str, dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as handle:
        return {row["model"]: row for row in csv.DictReader(handle)}


VAL, TEST = (rows_of(RESULTS / f"tiktok/table-{split}.csv") for split in ("val", "test"))


def cells(line: str) -> list[str]:
    return [cell.strip().strip("*") for cell in line.strip().strip("|").split("|")]


def figures(text: str) -> list[float]:
    return [float(found) for found in FIGURE.findall(text)]


def rounded(*values: str | float) -> list[float]:
    """To the four places that the pages give, of those that are there."""
    return [round(float(value), 4) for value in values if value not in ("", None)]


def line_with(text: str, beginning: str) -> str:
    found = [line for line in text.splitlines() if line.startswith(beginning)]
    assert len(found) == 1, beginning
    return found[0]


@pytest.mark.parametrize(
    ("beginning", "model"),
    [
        ("| popularity |", "popularity"),
        ("| LightGCN |", "lightgcn"),
        ("| MGCN,", "mgcn"),
        ("| MMSSL, variant `paper`", "paper"),
        ("| MMSSL, variant `plus`", "plus"),
    ],
)
def test_the_readmes_table_is_that_of_the_comparison(beginning, model):
    row = cells(line_with(README, beginning))
    val, test = VAL[model], TEST[model]
    if row[1]:
        assert row[1] == val["seeds"] == test["seeds"]
    for cell, table, metric in (
        (row[2], val, "recall@20"),
        (row[3], test, "recall@20"),
        (row[4], test, "ndcg@20"),
    ):
        assert figures(cell) == rounded(table[metric], table[f"{metric} sd"]), cell


def test_mgcn_is_the_best_baseline_on_test():
    ours = {"plus", "paper", "gae", *(name for name in TEST if name.startswith("without_"))}
    baselines = {name: float(TEST[name]["recall@20"]) for name in TEST.keys() - ours}
    assert max(baselines.values()) == baselines["mgcn"]
    assert len(baselines) - 1 + 1 == len([*(ROOT / "configs/baselines").glob("*.yaml")])


@pytest.mark.parametrize(("split", "title"), [("test", "### Test"), ("val", "### Validation")])
def test_the_tables_of_results_are_the_committed_ones(split, title):
    committed = (RESULTS / f"tiktok/table-{split}.md").read_text(encoding="utf-8").strip()
    part = RESULTS_PAGE.split(title)[1]
    assert part.strip().startswith(committed)
    table = {"test": TEST, "val": VAL}[split]
    lines = committed.splitlines()[2 : 2 + len(table)]
    assert [cells(line)[0] for line in lines] == list(table)
    for line in lines:
        model, seeds, recall, ndcg, interval, difference, p = cells(line)
        row = table[model]
        assert seeds == row["seeds"]
        assert figures(recall) == rounded(row["recall@20"], row["recall@20 sd"])
        assert figures(ndcg) == rounded(row["ndcg@20"], row["ndcg@20 sd"])
        assert figures(interval) == rounded(row["low"], row["high"])
        lines_difference = rounded(row["difference"], row["difference low"], row["difference high"])
        assert figures(difference) == lines_difference
        assert figures(p) == rounded(row["p holm"])


def test_what_results_says_of_plus_and_popularity():
    said = re.search(r"\*\*`plus` on the test split: (.+?)\*\*", RESULTS_PAGE)[1]
    plus, popularity = TEST["plus"], TEST["popularity"]
    names = ("recall@20", "recall@20 sd", "ndcg@20", "ndcg@20 sd")
    assert figures(said) == rounded(*(plus[name] for name in names))
    said = re.search(r"Popularity has (\S+) and (\S+)\.\n", RESULTS_PAGE)
    assert figures(f"{said[1]} {said[2]}") == rounded(
        popularity["recall@20"], popularity["ndcg@20"]
    )


def trials_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as handle:
        return [row for row in csv.DictReader(handle) if row["value"]]


@pytest.mark.parametrize("path", sorted((RESULTS / "tune").glob("*.csv")), ids=lambda p: p.stem)
def test_the_searches_of_results_are_the_committed_trials(path):
    _, best, narrow, settings, *_ = cells(line_with(RESULTS_PAGE, f"| {path.stem} | 0."))
    trials = trials_of(path)
    found = max(trials, key=lambda row: float(row["value"]))
    assert figures(best) == rounded(found["value"])
    before = RESULTS / "tune/narrow" / path.name
    if before.exists():
        former = max(trials_of(before), key=lambda row: float(row["value"]))
        assert figures(narrow) == rounded(former["value"])
        found = max(found, former, key=lambda row: float(row["value"]))
    else:
        assert narrow == ""
    for setting in settings.split(", "):
        name, value = setting.split(" ")
        try:
            assert float(value) == pytest.approx(float(found[name]), rel=5e-3), setting
        except ValueError:
            assert value == found[name], setting


METHOD = read_rows(RESULTS / "method.csv")


def by_seed(stage: str, name: str) -> dict[int, float]:
    return {
        int(row["seed"]): float(row["recall@20"])
        for row in METHOD
        if (row["stage"], row["name"]) == (stage, name)
    }


@pytest.mark.parametrize(
    ("beginning", "name"),
    [
        ("| `paper`, all parts", "paper"),
        ("| LightGCN with BPR", "lightgcn"),
        ("| w/o-CL", "w/o-CL"),
        ("| w/o-ASL", "w/o-ASL"),
        ("| r/p-GAE", "r/p-GAE"),
        ("| w/o-GT", "w/o-GT"),
        ("| without images", "w/o image"),
        ("| without sounds", "w/o audio"),
    ],
)
def test_what_the_parts_are_worth_is_what_the_rows_say(beginning, name):
    _, mean, difference = cells(line_with(METHOD_PAGE, beginning))
    values = np.array(list(by_seed("final", name).values()))
    assert figures(mean) == rounded(values.mean(), values.std(ddof=1))
    rows = [row for row in METHOD if row["stage"] == "final"]
    line = line_with(method_table(rows, "paper", 5), f"| {name} |")
    assert figures(difference) == figures(cells(line)[3])


@pytest.mark.parametrize(
    ("beginning", "name"),
    [
        ("| 1 attention the identity", "1 attention is the identity"),
        ("| 2 scrambled keys", "2 scrambled keys"),
        ("| 3 a graph collected", "3 graph collected by steps"),
        ("| 4 k rounded", "4 k rounded down to 0"),
        ("| 5 edges to other", "5 edges to other users' items"),
        ("| 6 the temperature", "6 temperature on the noise"),
        ("| 7 zeta 100", "7 zeta 100"),
        ("| 8 a linear critic", "8 linear critic"),
        ("| 9 batch normalisation", "9 batch norm and sigmoid"),
        ("| softmax at the last layer", "final softmax"),
        ("| row instead of symmetric", "row normalisation"),
        ("| items from the user side", "order alternating"),
        ("| W1 of the critic", "critic from vectors"),
    ],
)
def test_what_the_published_faults_cost_is_what_the_rows_say(beginning, name):
    _, value, difference = cells(line_with(METHOD_PAGE, beginning))
    (found,), (reference,) = (
        by_seed("published", run).values() for run in (name, "paper")
    )  # fmt: skip
    assert figures(value) == rounded(found)
    assert abs(figures(difference)[0]) == abs(round(found - reference, 4))


def test_new_items_have_the_figures_of_their_file():
    measured = json.loads((RESULTS / "item_cold/item_cold-test.json").read_text())
    columns = ("ours", "content kNN", "chance", "ours, all items", "content kNN, all items")
    for split in measured["splits"]:
        row = cells(line_with(COLD_PAGE, f"| {split['data']} | "))
        assert int(row[1].replace(",", "")) == split["users"]
        said = [*row[2:4], *row[5:8]]
        assert [float(cell) for cell in said] == rounded(*(split[name] for name in columns))
        assert float(row[4]) == round(split["ours"] - split["content kNN"], 4)
    row = cells(line_with(COLD_PAGE, "| mean | "))
    assert [float(row[2].strip("*")), float(row[3])] == rounded(
        measured["ours"], measured["content kNN"]
    )
    said = re.search(r"over all users of the six splits by\s(.+?);", COLD_PAGE, re.DOTALL)[1]
    assert figures(said) == rounded(measured["difference"], measured["low"], measured["high"])
