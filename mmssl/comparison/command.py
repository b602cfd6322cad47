"""The command `compare`."""

from pathlib import Path
from typing import Annotated

import typer

from extract.commands import DeviceOption
from extract.errors import require_extra
from mmssl.command_options import PLOTS_AND_SEARCHES, DataOption, say
from mmssl.training.command import exits_when_stopped


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
    require_extra("compare", "compare", *PLOTS_AND_SEARCHES)
    from mmssl.comparison.compare import compare as run

    with exits_when_stopped():
        result = run(config, data, out, test=test, device=device, report=say)
    print("\n".join(result.lines()))
