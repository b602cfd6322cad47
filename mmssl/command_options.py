"""Options that several commands share, and the refusal of those that would do nothing."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from extract.errors import InputError

ProjectOption = Annotated[
    Path | None,
    typer.Option(
        help="Folder of items.csv, features/, data/, runs/. Default: here, else quickstart/."
    ),
]
ModelOption = Annotated[
    Path | None, typer.Option(help="A run, or a model folder. Default: the project's latest run.")
]


DataOption = Annotated[Path, typer.Option(help="The dataset.")]
PLOTS_AND_SEARCHES = ("matplotlib", "optuna")
"""The modules of the extra `compare`."""


def say(line: str) -> None:
    """Tell a person how the work goes; results alone go to standard output."""
    print(line, file=sys.stderr, flush=True)


def refuse_idle(project: Path | None, *, named: bool) -> None:
    """An option that would do nothing is refused, never ignored."""
    if project is not None and named:
        raise InputError(f"--project {project}: nothing is left for it: the paths are all named")


def chosen_model(model: Path | None, project: Path | None) -> Path | str:
    """The run that was named, else the project's latest.

    Raises:
        InputError: none is there, or a project is named that nothing is left for.
    """
    from mmssl.project import Project

    refuse_idle(project, named=model is not None)
    return model or Project.find(project).latest_run()


def pairs(
    option: str, values: list[str] | None, form: str = "NAME=PATH, as image=features/image"
) -> dict[str, str]:
    """Options such as ``name=path`` as a mapping.

    Args:
        option: its name.
        values: what was given.
        form: what a value looks like, for messages.

    Raises:
        InputError: a value of another form, or a name that is given twice.
    """
    found: dict[str, str] = {}
    for value in values or []:
        name, equals, path = value.partition("=")
        if not (name and equals and path):
            raise InputError(f"{option} {value}: not of the form {form}")
        if name in found:
            raise InputError(f"{option} {value}: '{name}' is given twice")
        found[name] = path
    return found
