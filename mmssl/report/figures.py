"""Small charts as SVG pictures that follow the reader's light or dark colours.

Each is a picture of its own, so that a page can set many side by side on a desk and below each
other on a telephone. The same values give the same bytes.
"""

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from mmssl.report.log import Curve
from mmssl.report.measures import GroupRow, Interval, MetricRow
from mmssl.report.words import metric

# Drawn in these, and replaced by the names of colours that the picture's style sheet defines: from
# Okabe and Ito, which people of any colour vision tell apart.
_INK, _GRID, _MODEL, _OTHER = "#010203", "#020304", "#030405", "#040506"
_NAMES = {_INK: "ink", _GRID: "grid", _MODEL: "model", _OTHER: "other"}
_STYLE = """<style>
svg{--ink:#3d3a35;--grid:#dad5ca;--model:#0072b2;--other:#b35900}
@media (prefers-color-scheme:dark){
svg{--ink:#c9c5be;--grid:#46484b;--model:#56b4e9;--other:#e69f00}}
</style>"""


@dataclass(frozen=True)
class Chart:
    """A picture for ``src``, and what it shows in words for who cannot see it."""

    src: str
    alt: str
    title: str = ""


@contextmanager
def _drawing(size: tuple[float, float], out: list[str]) -> Iterator[Any]:
    """Axes of a figure of so many inches, which becomes the one element of ``out``."""
    settings: Any = {
        "svg.hashsalt": "report",
        "svg.fonttype": "none",
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "grid.color": _GRID,
        "axes.edgecolor": _GRID,
        **dict.fromkeys(
            ("text.color", "axes.labelcolor", "axes.titlecolor", "xtick.color", "ytick.color"), _INK
        ),
    }
    with mpl.rc_context(settings):
        figure = Figure(figsize=size, layout="constrained")
        yield figure.subplots()
        buffer = io.StringIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    svg = buffer.getvalue()
    for colour, name in _NAMES.items():
        svg = svg.replace(colour, f"var(--{name})")
    before, tag, after = svg.partition("<defs>")
    data = base64.b64encode(f"{before}{_STYLE}{tag}{after}".encode()).decode("ascii")
    out.append(f"data:image/svg+xml;base64,{data}")


def curve(title: str, values: Curve, best_epoch: int | None, *, colour: str = "model") -> Chart:
    """One value by epoch; a dashed line marks the epoch that was kept.

    Args:
        title: what the value is.
        values: at least one.
        best_epoch: None where none is to be marked.
        colour: ``model`` or ``other``.
    """
    epochs, heights = zip(*values, strict=True)
    ink = {"model": _MODEL, "other": _OTHER}[colour]
    out: list[str] = []
    with _drawing((2.7, 1.7), out) as axes:
        axes.plot(epochs, heights, color=ink, linewidth=1.6, marker="." if len(epochs) < 40 else "")
        if best_epoch is not None:
            axes.axvline(best_epoch, color=_INK, linewidth=1, linestyle=(0, (4, 3)))
            at = dict(values).get(best_epoch)
            if at is not None:
                axes.plot([best_epoch], [at], color=_INK, marker="o", markersize=5)
        axes.grid(axis="y", linewidth=0.6)
        axes.tick_params(length=0)
        axes.locator_params(axis="x", integer=True, nbins=6)
        axes.locator_params(axis="y", nbins=5)
        axes.set_xlabel("epoch")
    marked = "" if best_epoch is None else f"; the epoch kept, {best_epoch}, is marked"
    alt = (
        f"{title} by epoch: {heights[0]:.4g} at epoch {epochs[0]}, {heights[-1]:.4g} at epoch"
        f" {epochs[-1]}, lowest {min(heights):.4g}, highest {max(heights):.4g}{marked}."
    )
    return Chart(out[0], alt, title)


def histogram(title: str, counts: NDArray[np.int64], unit: str) -> Chart:
    """How many users, or items, have how many interactions; bars as wide as doublings.

    Args:
        title: of the picture.
        counts: (n,), at least one; 0 has a bar of its own.
        unit: what is counted along the height: users, items.
    """
    edges = [0, 1]
    while edges[-1] <= counts.max(initial=0):
        edges.append(edges[-1] * 2)
    heights = np.histogram(counts, edges)[0].tolist()
    names = [_range(low, high - 1) for low, high in pairwise(edges)]
    # numpy's last bin is closed on the right, and no count reaches its edge.
    if not heights[0]:
        heights, names = heights[1:], names[1:]
    out: list[str] = []
    with _drawing((4.4, 2.2), out) as axes:
        axes.bar(range(len(heights)), heights, color=_MODEL, width=0.86)
        axes.set_xticks(range(len(names)), names, rotation=30 if len(names) > 7 else 0)
        axes.set_xlabel("training interactions")
        axes.set_ylabel(unit)
        axes.grid(axis="y", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.tick_params(length=0)
        axes.locator_params(axis="y", integer=True, nbins=5)
    told = ", ".join(
        f"{name}: {height:,}" for name, height in zip(names, heights, strict=True) if height
    )
    return Chart(out[0], f"{title}. Interactions: {unit}. {told}.", title)


def interval_chart(title: str, rows: Sequence[MetricRow]) -> Chart:
    """Model and popularity with their intervals, a metric below the other."""
    out: list[str] = []
    with _drawing((4.4, 0.7 + 0.45 * len(rows)), out) as axes:
        for number, row in enumerate(reversed(rows)):
            for shift, each, colour, marker in (
                (0.14, row.model, _MODEL, "o"),
                (-0.14, row.popularity, _OTHER, "D"),
            ):
                axes.hlines(number + shift, each.low, each.high, color=colour, linewidth=2)
                axes.plot([each.mean], [number + shift], color=colour, marker=marker, markersize=6)
        axes.set_yticks(range(len(rows)), [metric(row.name) for row in reversed(rows)])
        axes.set_ylim(-0.5, len(rows) - 0.5)
        axes.set_xlim(left=0)
        axes.grid(axis="x", linewidth=0.6)
        axes.tick_params(length=0)
        axes.locator_params(axis="x", nbins=6)
        axes.xaxis.set_major_formatter(_percents())
    told = "; ".join(
        f"{metric(row.name)} {row.model.mean:.4f} against {row.popularity.mean:.4f}" for row in rows
    )
    return Chart(out[0], f"{title}, model against popularity: {told}.", title)


def loss_chart(title: str, losses: Mapping[str, Interval]) -> Chart:
    """What is lost without each part, a name below the other, and a line at nothing."""
    out: list[str] = []
    with _drawing((4.4, 0.6 + 0.32 * len(losses)), out) as axes:
        for number, loss in enumerate(reversed(list(losses.values()))):
            axes.hlines(number, loss.low, loss.high, color=_MODEL, linewidth=2)
            axes.plot([loss.mean], [number], color=_MODEL, marker="o", markersize=6)
        axes.axvline(0, color=_INK, linewidth=1)
        # Names are data: a dollar sign in one begins no formula.
        axes.set_yticks(range(len(losses)), list(losses)[::-1], parse_math=False)
        axes.set_ylim(-0.5, len(losses) - 0.5)
        axes.grid(axis="x", linewidth=0.6)
        axes.tick_params(length=0)
        axes.locator_params(axis="x", nbins=6)
    told = "; ".join(
        f"{name} {loss.mean:+.4f} ({loss.low:+.4f} to {loss.high:+.4f})"
        for name, loss in losses.items()
    )
    return Chart(out[0], f"{title}: {told}.", title)


def group_chart(title: str, rows: Sequence[GroupRow]) -> Chart:
    """Recall@20 of each group, two bars a group; a group without a figure has none."""
    out: list[str] = []
    with _drawing((4.4, 2.4), out) as axes:
        for shift, colour, hatch, values in (
            (-0.2, _MODEL, None, [row.model for row in rows]),
            (0.2, _OTHER, "///", [row.popularity for row in rows]),
        ):
            places = [number + shift for number, value in enumerate(values) if value is not None]
            heights = [value for value in values if value is not None]
            fill = {"color": colour} if hatch is None else {"facecolor": "none"}
            axes.bar(places, heights, width=0.38, edgecolor=colour, hatch=hatch, **fill)
        axes.set_xticks(range(len(rows)), [row.name for row in rows])
        axes.set_ylim(bottom=0)
        axes.grid(axis="y", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.tick_params(length=0)
        axes.yaxis.set_major_formatter(_percents())
    told = "; ".join(
        f"{row.name}: {row.model:.4f} against {row.popularity:.4f}"
        for row in rows
        if row.model is not None and row.popularity is not None
    )
    return Chart(out[0], f"{title}, model against popularity: {told}.", title)


def scatter(
    places: NDArray[np.float64], colours: Sequence[str], size: tuple[int, int] = (960, 600)
) -> str:
    """Dots on a transparent PNG, as a data URI.

    Args:
        places: (n, 2) between 0 and 1: from the left, from the bottom.
        colours: (n,) ``#rrggbb``, such as can be seen on white and on black.
        size: pixels of the picture, which is drawn at twice as many.
    """
    with mpl.rc_context():
        figure = Figure(figsize=(size[0] / 100, size[1] / 100))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        axes.set(xlim=(0, 1), ylim=(0, 1))
        axes.scatter(places[:, 0], places[:, 1], c=list(colours), s=18, alpha=0.75, linewidths=0)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=200, transparent=True, metadata={"Software": None})
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def _percents() -> PercentFormatter:
    """Shares as percentages, with as many digits as the axis needs."""
    return PercentFormatter(1, decimals=None, symbol=" %")


def _range(low: int, high: int) -> str:
    return f"{low:,}" if low == high else f"{low:,}–{high:,}"
