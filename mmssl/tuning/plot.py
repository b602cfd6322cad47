"""A search as a picture: what the trials came to, and which settings decided it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from optuna.trial import FrozenTrial, TrialState

from extract.files import atomic_path

_COMPLETE = TrialState.COMPLETE


def plot_search(
    trials: Sequence[FrozenTrial], importances: Mapping[str, float], metric: str, file: Path
) -> None:
    """Draw the values in the order of the trials, the best so far, and the importances.

    Args:
        trials: ended ones, in order.
        importances: setting -> share, as ``Search.importances`` gives them; may be empty.
        metric: what the values are.
        file: a PNG to write.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3 + 0.25 * len(importances)), layout="constrained")
    left, right = figure.subplots(1, 2)
    numbers = list(range(1, len(trials) + 1))
    complete = [
        (n, float(t.value or 0))
        for n, t in zip(numbers, trials, strict=True)
        if t.state == _COMPLETE
    ]
    pruned = [
        (n, max(t.intermediate_values.values()))
        for n, t in zip(numbers, trials, strict=True)
        if t.state != _COMPLETE and t.intermediate_values
    ]
    left.plot(*zip(*complete, strict=True), "o", color="tab:blue", label="complete")
    if pruned:
        left.plot(*zip(*pruned, strict=True), "x", color="tab:gray", label="pruned, best so far")
    best = [max(v for m, v in complete if m <= n) for n, _ in complete]
    left.step([n for n, _ in complete], best, where="post", color="tab:orange", label="best so far")
    left.set_xlabel("trial")
    left.xaxis.get_major_locator().set_params(integer=True)
    left.set_ylabel(f"{metric} (validation)")
    left.legend()
    if importances:
        names, shares = list(importances)[::-1], list(importances.values())[::-1]
        right.barh(names, shares, color="tab:blue")
        right.set_xlabel("importance (PED-ANOVA), shares of 1")
        right.set_xlim(0, 1)
    else:
        right.set_axis_off()
        right.text(0.5, 0.5, "too few trials to say which setting decided", ha="center")
    with atomic_path(file) as new:
        figure.savefig(new, dpi=120, format="png")
