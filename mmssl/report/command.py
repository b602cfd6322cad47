"""The command `report`: its options, one call, what it prints."""

from pathlib import Path
from typing import Annotated

import typer

from extract.commands import DeviceOption, IdColumnOption, MediaRootOption, TextTemplateOption
from extract.errors import InputError, require_extra
from mmssl.command_options import ModelOption, ProjectOption, refuse_idle


def report(
    out: Annotated[Path, typer.Option(help="The page to write (.html).")],
    model: ModelOption = None,
    data: Annotated[
        Path | None, typer.Option(help="The dataset. Default: the one the run was trained on.")
    ] = None,
    items: Annotated[
        str | None,
        typer.Option(
            help="Item table, or folder of pictures, for pictures and words. Default: the"
            " project's items.csv where the run is its latest or --project is given, else ids"
            " alone."
        ),
    ] = None,
    id_column: IdColumnOption = None,
    column: Annotated[
        list[str] | None,
        typer.Option(
            help="MODALITY=NAME of a column of pictures, videos or texts, as image=photo;"
            " repeatable. Default: the usual names."
        ),
    ] = None,
    text_template: TextTemplateOption = None,
    media_root: MediaRootOption = None,
    colour: Annotated[
        str | None,
        typer.Option(help="Column of --items, as category, by which the map is coloured."),
    ] = None,
    space: Annotated[
        str | None,
        typer.Option(
            help="What the map is drawn from: model or a modality. Default: model, where it has"
            " item vectors."
        ),
    ] = None,
    users: Annotated[
        str | None,
        typer.Option(help="Example users: ids, or a file of them. Default: four, by a rule."),
    ] = None,
    note: Annotated[
        str | None, typer.Option(help="A sentence for the top of the page, as on the data.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of what is drawn and of the intervals.")] = 0,
    project: ProjectOption = None,
    device: DeviceOption = "auto",
) -> None:
    """Write one HTML file on a run: data, curves, quality, modalities, a map, example users.

    Figures are on validation; the test split is not read. The file needs no network.
    """
    require_extra("report", "report", "jinja2", "matplotlib")
    from extract.inspect.items import ItemSource
    from extract.locations import location
    from mmssl.project import Project
    from mmssl.report.report import ReportOptions
    from mmssl.report.report import report as write

    refuse_idle(project, named=model is not None and items is not None)
    if model is None or project is not None:
        home = Project.find(project)
        model = model or home.latest_run()
        if items is None and home.items.is_file():
            items = str(home.items)
    for option, given in (
        ("--id-column", id_column),
        ("--column", column),
        ("--text-template", text_template),
        ("--media-root", media_root),
    ):
        if given and items is None:
            raise InputError(f"{option}: it is about --items, which is missing")
    source = None
    if items is not None:
        source = ItemSource(
            location(items),
            id_column,
            tuple(column or ()),
            text_template,
            tuple(location(root) for root in media_root or ()),
        )
    summary = write(
        ReportOptions(
            model=model,
            out=out,
            data=data,
            source=source,
            colour=colour,
            space=space,
            users=users,
            note=note,
            seed=seed,
            device=device,
        )
    )
    print(*summary.lines(), sep="\n")
