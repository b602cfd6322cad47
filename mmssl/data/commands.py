"""The commands `convert` and `formats`: a command parses its options and calls one function."""

from pathlib import Path
from typing import Annotated, Literal

import typer

FromOption = Annotated[
    str,
    typer.Option(
        "--from", help="Layout of SOURCE, of those that `formats` lists; auto: the one that it has."
    ),
]


def convert(
    source: Annotated[Path, typer.Argument(help="Folder, or file, to read.")],
    to: Annotated[str, typer.Option(help="Layout to write, of those that `formats` lists.")],
    out: Annotated[
        Path,
        typer.Option(help="Folder to write; its name becomes the data set's."),
    ],
    source_format: FromOption = "auto",
    invalid_rows: Annotated[
        Literal["error", "drop"],
        typer.Option(help="Empty ids, ratings and times that cannot be read."),
    ] = "error",
) -> None:
    """Turn one tool's interactions, features and items into another's files.

    The whole is read, the test part too; that of a dataset's is recorded.
    """
    from mmssl.data.convert import convert as run

    report = run(source, to, out, source_layout=source_format, invalid_rows=invalid_rows)
    print(*report.lines(), sep="\n")


def formats() -> None:
    """List the layouts of other tools and data sets that `prepare` and `convert` know."""
    from mmssl.data.formats.registry import find_format, format_names

    width = max(map(len, format_names()))
    for name in format_names():
        print(f"{name:{width}}  {find_format(name).title}")
