"""The front door: a command parses its options, calls one function, prints the result."""

import os
import sys
import time

try:
    from typing import Annotated, Literal, NoReturn

    import typer

    from extract.commands import (
        DeviceOption,
        IdColumnOption,
        MediaRootOption,
        TextTemplateOption,
        encoders,
        features,
    )
    from extract.errors import ExtractionInterrupted, InputError
    from mmssl import launch
    from mmssl.command_options import ProjectOption
    from mmssl.comparison.command import compare
    from mmssl.data.commands import convert, formats, prepare
    from mmssl.evaluation.command import evaluate
    from mmssl.recommend.commands import export, pull, push
    from mmssl.recommend.list_commands import explain, recommend, similar
    from mmssl.report.command import report
    from mmssl.serve.command import serve
    from mmssl.training.command import TrainCommand, train
    from mmssl.tuning.command import tune
except KeyboardInterrupt:
    # These take long enough for a Ctrl-C, and `run` is not there yet.
    print("error: interrupted", file=sys.stderr)
    raise SystemExit(130) from None

app = typer.Typer(
    name="mmssl",
    help="Multi-modal recommendation, from raw media to recommendations.",
    add_completion=False,
    pretty_exceptions_enable=False,
)


def fail(message: str, exit_code: int = 2) -> NoReturn:
    """Print one line on standard error and leave; of a machine's processes the first one does."""
    if launch.local_index():
        # A launcher ends all processes once one has ended: first let the other say why.
        time.sleep(1)
    else:
        print(f"error: {' '.join(message.split())}", file=sys.stderr)
    raise SystemExit(exit_code)


def _drop_output() -> None:
    """Send what is still to be printed nowhere, lest the interpreter fail on it at its exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)


def run(application: typer.Typer, arguments: list[str]) -> NoReturn:
    """Run a command line; whatever a person can mend is one line and exit code 2."""
    if launch.index():
        # What several processes do together is told once, by the main one.
        _drop_output()
    try:
        result = application(args=arguments, standalone_mode=False)
        sys.stdout.flush()
    except InputError as error:
        fail(str(error), error.exit_code)
    except typer.TyperException as error:
        # What pydantic puts before a message of Typer's own.
        fail(error.format_message().replace(": Value error, ", ": "))
    except (typer.Abort, KeyboardInterrupt):
        result = 130
    except BrokenPipeError:
        # Whoever read our output has seen enough, as with `| head`.
        _drop_output()
        raise SystemExit(1) from None
    except OSError as error:
        _drop_output()
        where = f"{error.filename}: " if error.filename is not None else ""
        fail(f"{where}{error.strerror or error}")
    except MemoryError:
        fail("out of memory; a smaller batch or table, or a machine with more memory, may do")
    except Exception as error:
        from extract.locations import remote_failure
        from extract.preparation import out_of_memory

        if isinstance(error, RuntimeError) and out_of_memory(error):
            fail("out of memory; a smaller model or batch, or a machine with more memory, may do")
        if (said := remote_failure(error)) is None:
            raise
        fail(said)
    if result == 130:
        fail("interrupted", 130)
    raise SystemExit(result if isinstance(result, int) else 0)


app.add_typer(encoders, name="encoders")
app.add_typer(features, name="features")


@app.command()
def extract(
    modality: Annotated[
        list[str],
        typer.Option(help="image, text, audio or video; repeatable, or several with commas."),
    ],
    items: Annotated[
        str | None,
        typer.Option(
            help="Item table (CSV, TSV, Parquet, JSONL), or a folder whose file stems are the ids;"
            " a path or a URL (s3://, gs://, hf://). Default: the project's items.csv."
        ),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(
            help="Folder of the feature store, or its URL; with several modalities, of"
            " OUT/<modality>. Default: the project's features/<modality>."
        ),
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(help="Encoder URI (see: encoders list). Default: the packaged one."),
    ] = None,
    id_column: IdColumnOption = None,
    column: Annotated[
        list[str] | None,
        typer.Option(
            help="Column of the paths or texts; MODALITY=NAME where there are several modalities."
            " Default: image or image_path; audio or audio_path, else video; video or video_path;"
            " text, description or title."
        ),
    ] = None,
    text_template: TextTemplateOption = None,
    media_root: MediaRootOption = None,
    max_seconds: Annotated[
        float | None,
        typer.Option(help="A longer sound or video is recorded as failed. Default: 600."),
    ] = None,
    frames: Annotated[
        int | None,
        typer.Option(
            help="video: how many frames go to the encoder; of one for pictures the mean is taken."
            " Default: 8."
        ),
    ] = None,
    frame_sampling: Annotated[
        Literal["uniform", "scene"] | None,
        typer.Option(
            help="video: uniform, the middle of equal pieces (default), or scene, the middle of"
            " each scene, --frames of them at most; without a cut uniform."
        ),
    ] = None,
    batch_size: Annotated[
        int, typer.Option(help="Items, of videos frames, that the encoder sees at once.")
    ] = 32,
    workers: Annotated[
        int | None,
        typer.Option(help="Threads that decode. Default: the number of processors."),
    ] = None,
    device: DeviceOption = "auto",
    dtype: Annotated[
        Literal["float32", "float16", "bfloat16"],
        typer.Option(help="Precision of the encoder; vectors are stored as float32."),
    ] = "float32",
    compile_: Annotated[
        bool,
        typer.Option("--compile", help="torch.compile the encoder: slow to begin, then faster."),
    ] = False,
    rows_per_part: Annotated[
        int, typer.Option(help="Rows that are finished, or after a kill lost, together.")
    ] = 1024,
    max_errors: Annotated[
        int | None,
        typer.Option(help="End with exit code 3 once more items than this have failed."),
    ] = None,
    update: Annotated[
        bool,
        typer.Option(
            "--update",
            help="Compare all contents with what the store was made from, and encode anew the"
            " parts in which an item has changed or has left the table.",
        ),
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Remove the store in --out and begin anew.")
    ] = False,
    engine: Annotated[
        Literal["local", "ray"],
        typer.Option(help="Who encodes: this process, or actors on a Ray cluster."),
    ] = "local",
    ray_address: Annotated[
        str | None,
        typer.Option(
            help="Ray cluster to join: its head node's host:port, or auto. Default: one of this"
            " machine's processors, for this command alone."
        ),
    ] = None,
    actors: Annotated[
        int | None, typer.Option(help="Ray actors. Default: as many as the cluster has room for.")
    ] = None,
    print_config: Annotated[
        bool, typer.Option("--print-config", help="Print the resolved configuration and stop.")
    ] = False,
    project: ProjectOption = None,
) -> None:
    """Turn pictures, texts, sounds or videos into embeddings.

    A second run goes on where one stopped, and adds what is new in the table.
    """
    from extract.config import parse_modalities, plan_extractions
    from extract.extraction import check
    from extract.extraction import run as run_extraction
    from mmssl.project import Project

    modalities = parse_modalities(modality)
    if items is None or out is None:
        home = Project.find(project)
        print(f"project: {home.root}", file=sys.stderr if print_config else sys.stdout)
        outs = {name: home.features(name) for name in modalities}
        items = items or str(home.items)
    if out is not None:
        place = f"{out.rstrip('/')}/" if len(modalities) > 1 else out
        outs = {name: place + name if len(modalities) > 1 else out for name in modalities}
    configs = plan_extractions(
        outs,
        items=items,
        encoder=encoder,
        id_column=id_column,
        columns=column or (),
        text_template=text_template,
        media_roots=media_root or (),
        max_seconds=max_seconds,
        frames=frames,
        frame_sampling=frame_sampling,
        batch_size=batch_size,
        workers=workers,
        device=device,
        dtype=dtype,
        compile=compile_,
        rows_per_part=rows_per_part,
        max_errors=max_errors,
        update=update,
        overwrite=overwrite,
        engine=engine,
        ray_address=ray_address,
        actors=actors,
    )
    if print_config:
        print(*(config.to_yaml() for config in configs), sep="", end="")
        return
    if len(configs) > 1:
        # What is wrong with the last must not be found out after the hours of the first.
        for config in configs:
            check(config)
    without: list[str] = []
    for config in configs:
        try:
            summary = run_extraction(config, progress=sys.stderr.isatty())
        except ExtractionInterrupted as stop:
            # Of a KeyboardInterrupt typer would keep the exit code alone.
            fail(str(stop), 130)
        print(summary, flush=True)
        if not summary.ok:
            without.append(config.modality)
    if without:
        raise InputError(
            f"{configs[0].items}: not one item has features of {' or '.join(without)}; the reasons"
            " stand above (relative paths begin at the table's folder)"
        )


# In the order of a first use, which is that of --help.
for command in (
    *(prepare, convert, formats),
    *(train, tune, compare, evaluate),
    *(recommend, similar, explain),
    *(export, push, pull),
    *(report, serve),
):
    app.command(cls=TrainCommand if command is train else None)(command)


def main() -> None:
    """The console script."""
    run(app, sys.argv[1:] or ["--help"])


if __name__ == "__main__":
    main()
