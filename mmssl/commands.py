"""The commands `compare` and `tune`: a command parses its options and calls one function."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from extract.commands import DeviceOption
from extract.errors import InputError, require_extra

_PLOTS_AND_SEARCHES = ("matplotlib", "optuna")
DataOption = Annotated[Path, typer.Option(help="The dataset.")]


class _StoppedError(InputError):
    """A signal ended the command."""


@contextmanager
def exits_when_stopped() -> Iterator[None]:
    """A signal during training becomes one line and the shell's exit code for that signal."""
    from mmssl.training.signals import TrainingInterrupted

    try:
        yield
    except TrainingInterrupted as stop:
        ended = _StoppedError(str(stop))
        ended.exit_code = 128 + stop.signal_number
        raise ended from None


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def compare(
    config: Annotated[Path, typer.Option(help="YAML: models, seeds, metrics, reference.")],
    data: DataOption,
    out: Annotated[Path, typer.Option(help="Folder of rows, runs and tables; goes on there.")],
    test: Annotated[
        bool,
        typer.Option(
            "--test",
            help="Read the test split, once for all runs, and record it; when nothing is to be"
            " chosen any more.",
        ),
    ] = False,
    device: DeviceOption = "auto",
) -> None:
    """Train models with several seeds on one dataset and compare them in one table."""
    require_extra("compare", "compare", *_PLOTS_AND_SEARCHES)
    from mmssl.comparison.compare import compare as run

    with exits_when_stopped():
        result = run(config, data, out, test=test, device=device, report=_say)
    print("\n".join(result.lines()))


def tune(
    config: Annotated[Path, typer.Option(help="YAML: configuration, space, trials, seed.")],
    data: DataOption,
    out: Annotated[Path, typer.Option(help="Folder of the search; goes on there.")],
    trials: Annotated[
        int | None, typer.Option(help="How many, in all. Default: what the YAML says.")
    ] = None,
    workers: Annotated[int, typer.Option(help="Processes that run trials at once.")] = 1,
    seed: Annotated[
        list[int] | None,
        typer.Option(help="Train the winner with this seed, at the end; repeatable."),
    ] = None,
    overwrite: Annotated[bool, typer.Option(help="Begin anew where --out holds a search.")] = False,
    device: DeviceOption = "auto",
) -> None:
    """Find settings on validation: a search over a typed space, the same budget for any model."""
    require_extra("compare", "tune", *_PLOTS_AND_SEARCHES)
    from mmssl.tuning.tune import tune as run

    with exits_when_stopped():
        result = run(
            config,
            data,
            out,
            trials=trials,
            workers=workers,
            seeds=seed or (),
            device=device,
            overwrite=overwrite,
            report=_say,
        )
    print("\n".join(result.lines()))
