"""The comparison as a picture: the first metric with its interval, model below model."""

from pathlib import Path

from extract.errors import missing_extra
from extract.files import atomic_path
from mmssl.comparison.plan import ComparisonPlan
from mmssl.comparison.table import Table


def plot_table(table: Table, plan: ComparisonPlan, file: Path) -> None:
    """Draw each model's mean and interval over users, and the single seeds' spread.

    Args:
        table: the comparison.
        plan: what was compared; its reference is a line through all.
        file: a PNG to write.

    Raises:
        InputError: the extra ``compare`` is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise missing_extra("compare", "the plot of a comparison") from None
    metric, models = plan.metrics[0], table.models.reverse()
    figure = Figure(figsize=(8, 1.2 + 0.3 * len(models)), layout="constrained")
    axes = figure.subplots()
    heights = range(len(models))
    means = models[metric].to_numpy()
    colours = ["tab:orange" if n == plan.reference else "tab:blue" for n in models["model"]]
    axes.hlines(heights, models["low"], models["high"], color=colours, linewidth=1)
    deviations = models[f"{metric} sd"].fill_null(0).cast(float).to_numpy()
    axes.hlines(heights, means - deviations, means + deviations, color=colours, linewidth=4)
    axes.scatter(means, heights, color=colours, zorder=3)
    reference = table.models.filter(table.models["model"] == plan.reference)[metric].item()
    axes.axvline(reference, color="tab:orange", linewidth=0.8, linestyle=":")
    axes.set_ylim(-0.6, len(models) - 0.4)
    axes.set_yticks(heights, models["model"].to_list())
    split = {"val": "validation", "test": "test"}[table.split]
    axes.set_xlabel(f"{metric} ({split}); thin: 95 % over users, thick: deviation over seeds")
    axes.grid(axis="x", alpha=0.3)
    with atomic_path(file) as new:
        figure.savefig(new, dpi=120, format="png")
