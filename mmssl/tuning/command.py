"""The command `tune`."""

from pathlib import Path
from typing import Annotated

import typer

from extract.commands import DeviceOption
from extract.errors import require_extra
from mmssl.command_options import PLOTS_AND_SEARCHES, DataOption, say
from mmssl.training.command import exits_when_stopped


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
    require_extra("compare", "tune", *PLOTS_AND_SEARCHES)
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
            report=say,
        )
    print("\n".join(result.lines()))
