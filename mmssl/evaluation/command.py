"""The command `evaluate`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from extract.commands import DeviceOption
from extract.errors import InputError
from mmssl.command_options import ProjectOption, refuse_idle


def evaluate(
    model: Annotated[
        str | None, typer.Option(help="A run, or 'popularity'. Default: the project's latest run.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="The dataset. Default: the one the run was trained on.")
    ] = None,
    split: Annotated[
        Literal["val", "test"], typer.Option(help="Reading the test split is recorded.")
    ] = "val",
    k: Annotated[list[int], typer.Option(help="A cut-off of the lists; repeatable.")] = [  # noqa: B006
        10,
        20,
        50,
    ],
    mask_validation: Annotated[
        bool, typer.Option(help="When testing, leave validation items out of the lists too.")
    ] = True,
    json: Annotated[Path | None, typer.Option(help="Write the figures here as JSON.")] = None,
    per_user: Annotated[
        Path | None, typer.Option(help="Write each user's figures here (.parquet, .csv, ...).")
    ] = None,
    project: ProjectOption = None,
    device: DeviceOption = "auto",
) -> None:
    """Measure a trained model, beside popularity, by full ranking over all items."""
    from extract.files import require_writable, write_json
    from extract.tables import table_suffix, write_table
    from mmssl.evaluation.evaluate import evaluate
    from mmssl.evaluation.metrics import DEFAULT_KS
    from mmssl.project import Project

    if not mask_validation and split == "val":
        raise InputError("--no-mask-validation does not apply: it is about --split test")
    if json is not None and per_user is not None and json.resolve() == per_user.resolve():
        raise InputError(f"--json {json} and --per-user {per_user} are the same file: name two")
    # Reading the test split counts: what would stop us afterwards has to stop us before.
    if per_user is not None:
        table_suffix(per_user)
    for path in (json, per_user):
        if path is not None:
            require_writable(path)

    refuse_idle(project, named=model is not None and (model != "popularity" or data is not None))
    chosen = model or Project.find(project).latest_run()
    if chosen == "popularity" and data is None:
        data = Project.find(project).data
    result = evaluate(
        chosen, split, data, ks=k or DEFAULT_KS, mask_validation=mask_validation, device=device
    )
    print("\n".join(result.lines()))
    if json is not None:
        write_json(json, result.as_json())
    if per_user is not None:
        write_table(result.per_user, per_user)
