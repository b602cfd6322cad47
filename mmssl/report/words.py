"""What a report says in sentences, and how it writes numbers."""

from collections.abc import Callable
from typing import Any

from markupsafe import Markup

from mmssl.data.dataset import Dataset
from mmssl.recommend.model_folder import SavedModel
from mmssl.recommend.model_info import ModelInfo
from mmssl.report.measures import LIST_LENGTH, Measured

_NAMES = {
    "recall": "Recall",
    "ndcg": "NDCG",
    "map": "MAP",
    "mrr": "MRR",
    "precision": "Precision",
    "hit_rate": "Hit rate",
}
_BEYOND = {
    "catalogue_coverage": "Catalogue coverage",
    "gini": "Gini index",
    "novelty": "Novelty, in bits",
}


def metric(name: str) -> str:
    """``recall@20`` as Recall@20."""
    kind, at, k = name.partition("@")
    return f"{_NAMES.get(kind, kind)}{at}{k}"


def beyond(name: str) -> str:
    """The name of a figure of ``beyond_accuracy`` for people."""
    kind, _, modality = name.partition(".")
    return _BEYOND.get(name, f"Diversity of a list, by {modality} features") if kind else name


def title(info: ModelInfo) -> str:
    """What the page is called."""
    variant = "" if info.variant == info.name else f" ({info.variant})"
    return f"{info.name}{variant}"


def trained(saved: SavedModel, dataset: Dataset) -> str:
    """What was trained, on what, in a sentence."""
    counts, media = dataset.manifest.counts, list(saved.info.encoders)
    given = f" and on the items' {listed(media)} features" if media else " and on nothing else"
    return (
        f"A recommender of the kind {saved.info.name}, trained on {counts.train:,} interactions of"
        f" {counts.users:,} users with {counts.items:,} items{given}."
    )


def headline(measured: Measured) -> str:
    """Recall@20 beside popularity, in a sentence without terms."""
    row = measured.headline
    return (
        f"Of the items that were held back from a user, {percent(row.model.mean)} are among the"
        f" {LIST_LENGTH} that the model recommends (95 % interval {percent(row.model.low)} to"
        f" {percent(row.model.high)}); among the {LIST_LENGTH} most popular items it is"
        f" {percent(row.popularity.mean)}."
    )


def verdict(measured: Measured) -> str:
    """Whether that is more than popularity, as far as the users tell."""
    difference = measured.headline.difference
    points = (
        f"difference {signed(100 * difference.mean, 1)} percentage points, 95 % interval"
        f" {signed(100 * difference.low, 1)} to {signed(100 * difference.high, 1)}"
    )
    if difference.low == difference.high == 0:
        return "The model does exactly as well as a list of the most popular items."
    if difference.low > 0:
        return f"The model does better than a list of the most popular items ({points})."
    if difference.high < 0:
        return f"The model does worse than a list of the most popular items ({points})."
    return (
        "Whether the model does better than a list of the most popular items cannot be told from"
        f" these users ({points})."
    )


def listed(names: list[str]) -> str:
    """``a, b and c``."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if names[1:] else names)


def percent(share: float) -> str:
    """A share as 12.3 %."""
    return f"{share:.1%}".replace("%", " %")


def unbroken_percent(share: float, digits: int = 1) -> Markup:
    """The same for a page, on one line."""
    return Markup(f"{share:.{digits}%}".replace("%", "&nbsp;%"))


def number(value: float) -> str:
    """A whole number with commas."""
    return f"{value:,.0f}"


def figure(value: float | None, digits: int = 4) -> str:
    """A figure, or that there is none."""
    return "–" if value is None else f"{value:.{digits}f}".replace("-", "−")


def signed(value: float, digits: int = 4) -> str:
    """A figure with its sign."""
    return f"{value:+.{digits}f}".replace("-", "−")


def lead(text: str) -> str:
    """A text whose first letter is a capital."""
    return text[:1].upper() + text[1:]


FILTERS: dict[str, Callable[..., Any]] = {
    "metric": metric,
    "beyond": beyond,
    "listed": listed,
    "percent": unbroken_percent,
    "number": number,
    "figure": figure,
    "signed": signed,
    "lead": lead,
}
