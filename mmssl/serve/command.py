"""The command `serve`: it parses its options and calls one function."""

from pathlib import Path
from typing import Annotated

import typer

from extract.commands import DeviceOption, IdColumnOption, MediaRootOption, TextTemplateOption
from extract.errors import InputError, require_extra
from mmssl.command_options import ModelOption, ProjectOption, pairs, refuse_idle, say


def serve(
    model: ModelOption = None,
    items: Annotated[
        str | None,
        typer.Option(
            help="The item table, or the folder, that was extracted from; or its URL. Default: the"
            " project's items.csv."
        ),
    ] = None,
    id_column: IdColumnOption = None,
    column: Annotated[
        list[str] | None,
        typer.Option(help="MODALITY=NAME of a column of the table; repeatable."),
    ] = None,
    text_template: TextTemplateOption = None,
    media_root: MediaRootOption = None,
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0: any free one.", min=0, max=65535)] = 8000,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            help="Name by which the server may be called, as shop.example; repeatable. Default:"
            " this machine's own, and any where --host lets others in."
        ),
    ] = None,
    upload_mb: Annotated[
        float, typer.Option(help="Largest upload, in MiB.", min=0.001, max=4096)
    ] = 20.0,
    body_seconds: Annotated[
        float, typer.Option(help="Longest time that a request may take to arrive.", min=0.1)
    ] = 30.0,
    answer_seconds: Annotated[
        float, typer.Option(help="Longest time that an answer may take.", min=0.1)
    ] = 60.0,
    reload_seconds: Annotated[
        float | None,
        typer.Option(
            help="Seconds between looks whether the model folder holds another model. Default:"
            " never; a SIGHUP reads it anew in any case.",
            min=0.1,
        ),
    ] = None,
    encoder: Annotated[
        list[str] | None,
        typer.Option(
            help="MODALITY=URI of the encoder for what people send, instead of the model's own;"
            " repeatable. A class of your own has to be named so."
        ),
    ] = None,
    index: Annotated[
        Path | None,
        typer.Option(
            help="Folder of an index of the model's vectors, in which lists are looked up: for"
            " catalogues of hundreds of thousands of items."
        ),
    ] = None,
    project: ProjectOption = None,
    device: DeviceOption = "auto",
) -> None:
    """Answer over HTTP: recommendations, items, explanations, search; and a web page.

    Nobody is asked for a password: let others in only where all of them may see everything.
    Ctrl-C and SIGTERM end it once the answers that it has begun are finished.
    """
    modules = ("fastapi", "prometheus_client", "python_multipart", "uvicorn")
    require_extra("serve", "serve", *modules)
    from extract.inspect.items import ItemSource
    from extract.locations import location
    from mmssl.project import Project
    from mmssl.serve.server import serve as run
    from mmssl.serve.settings import ServeSettings

    refuse_idle(project, named=model is not None and items is not None)
    run(
        ServeSettings(
            model=model or Path(Project.find(project).latest_run()),
            source=ItemSource(
                items=location(items) if items is not None else Project.find(project).items,
                id_column=id_column,
                columns=column or (),
                text_template=text_template,
                media_roots=[location(root) for root in media_root or ()],
            ),
            host=host,
            port=port,
            device=device,
            allowed_hosts=tuple(allow_host or ()),
            upload_bytes=int(upload_mb * 2**20),
            body_seconds=body_seconds,
            answer_seconds=answer_seconds,
            reload_seconds=reload_seconds,
            index=index,
            encoders=_encoders(encoder or []),
        ),
        say,
    )


def _encoders(options: list[str]) -> tuple[tuple[str, str], ...]:
    named = pairs("--encoder", options, "MODALITY=URI")
    for modality, uri in named.items():
        if modality not in ("image", "audio", "text"):
            raise InputError(f"--encoder {modality}={uri}: not of image, audio or text")
    return tuple(named.items())
