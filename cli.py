"""The front door: a command parses its options, calls one function, prints the result."""

import os
import sys
import time
from pathlib import Path
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
from extract.errors import InputError
from mmssl import launch
from mmssl.command_options import ProjectOption, pairs, refuse_idle
from mmssl.commands import compare, exits_when_stopped, tune
from mmssl.data.commands import convert, formats
from mmssl.recommend.commands import export, pull, push
from mmssl.recommend.list_commands import explain, recommend, similar
from mmssl.report.command import report
from mmssl.serve.command import serve

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
        fail(error.format_message())
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
    for config in configs:
        print(run_extraction(config, progress=sys.stderr.isatty()), flush=True)


@app.command()
def prepare(
    source: Annotated[
        Path | None,
        typer.Argument(help="Folder, or file, of another tool or data set; its layout is --from."),
    ] = None,
    source_format: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="Layout of SOURCE, of those that `formats` lists; default: auto, the one that it"
            " has.",
        ),
    ] = None,
    interactions: Annotated[
        Path | None,
        typer.Option(
            help="Interactions to filter and split: CSV, TSV, JSONL, Parquet, or the MMSSL"
            ' family\'s .json, {"user": [item, ...]}.'
        ),
    ] = None,
    train: Annotated[Path | None, typer.Option(help="Ready split: training.")] = None,
    val: Annotated[Path | None, typer.Option(help="Ready split: validation.")] = None,
    test: Annotated[Path | None, typer.Option(help="Ready split: test.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the dataset. Default: the project's data/.")
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(
            help="Columns by name or position: user=NAME,item=NAME,rating=NAME,timestamp=NAME,"
            " or user=0,item=1 where there is no header."
        ),
    ] = None,
    header: Annotated[
        bool | None,
        typer.Option("--header/--no-header", help="CSV, TSV: is there a header row?"),
    ] = None,
    invalid_rows: Annotated[
        Literal["error", "drop"] | None,
        typer.Option(help="Empty ids, ratings and times that cannot be read; default: error."),
    ] = None,
    min_rating: Annotated[float | None, typer.Option(help="Keep ratings from this on.")] = None,
    duplicates: Annotated[
        Literal["last", "first"] | None,
        typer.Option(help="Which of a repeated pair is kept; default: last."),
    ] = None,
    user_core: Annotated[
        int | None,
        typer.Option(
            help="Keep only users with at least so many interactions, counted again until none"
            " has fewer; default: 1, all."
        ),
    ] = None,
    item_core: Annotated[
        int | None,
        typer.Option(help="The same for items; both bounds hold in the end. Default: 1, all."),
    ] = None,
    split: Annotated[
        Literal[
            "random",
            "temporal-user",
            "temporal-global",
            "leave-one-out",
            "leave-one-out-random",
            "item-cold",
            "user-cold",
        ]
        | None,
        typer.Option(
            help="How interactions are split; default: random, per user. item-cold and user-cold"
            " take all interactions of a share of the items, or users, out of training."
        ),
    ] = None,
    ratios: Annotated[
        str | None, typer.Option(help="Training, validation, test; default 0.8,0.1,0.1.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the split; default 0.")] = None,
    items: Annotated[
        Path | None, typer.Option(help="Item table; its items stay even if nobody touched them.")
    ] = None,
    id_column: Annotated[
        str | None, typer.Option(help="The item table's column of ids; default: item_id, id, item.")
    ] = None,
    features: Annotated[
        list[str] | None,
        typer.Option(help="MODALITY=PATH of a feature store (or its URL) or a .npy; repeatable."),
    ] = None,
    feature_ids: Annotated[
        list[str] | None,
        typer.Option(help="MODALITY=FILE: line r is the item id of row r of the .npy."),
    ] = None,
    unknown_items: Annotated[
        Literal["keep", "drop", "error"] | None,
        typer.Option(
            help="Interactions with items in neither --items nor --features; default: drop with"
            " --items, else keep."
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace another dataset in --out.")] = False,
    project: Annotated[
        Path | None,
        typer.Option(
            help="Folder of interactions.csv (or train, val, test), items.csv, features/ for what is"
            " left out."
        ),
    ] = None,
) -> None:
    """Filter and split interactions, join features by item id, write a dataset."""
    options = dict(locals())
    from mmssl.data import prepare as data

    del options["project"]
    options["features"] = pairs("--features", features)
    options["feature_ids"] = pairs("--feature-ids", feature_ids)
    report = data.prepare(data.PrepareConfig.parse(options, project))
    print(*report.lines(), sep="\n")


app.command()(convert)
app.command()(formats)


@app.command()
def train(
    settings: Annotated[
        list[str] | None,
        typer.Argument(help="Settings over the configuration file's: key.sub=value ..."),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            help="YAML configuration. Default, as shipped: quickstart.yaml, or model=NAME's preset."
        ),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="The dataset. Default: the project's data/.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="The run's folder. Default: a new one in runs/, or the last if that is unfinished"
            " and the same."
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option(help="Start anew where --out holds a run.")] = False,
    print_config: Annotated[
        bool, typer.Option("--print-config", help="Print the resolved configuration and stop.")
    ] = False,
    project: ProjectOption = None,
    device: DeviceOption = "auto",
    save_minutes: Annotated[
        float, typer.Option(help="Within an epoch, save once the last checkpoint is older.")
    ] = 10.0,
    profile: Annotated[
        bool,
        typer.Option(
            "--profile",
            help="Tell at the end, and in profile.json, where the time went: drawing batches,"
            " forward, critic, losses, backward, optimiser, graph refresh, evaluation, checkpoint.",
        ),
    ] = False,
    tracker: Annotated[
        list[str] | None,
        typer.Option(
            help="Follow the run with tensorboard, mlflow, wandb or trackio; repeatable. All but"
            " wandb (unless WANDB_MODE=offline) write into the run folder, unless their own"
            " variables say else."
        ),
    ] = None,
) -> None:
    """Train MMSSL; the epoch is chosen on validation. An unfinished run in --out goes on.

    Ctrl-C and SIGTERM end the step, save, and exit with 130 and 143; a second one does not wait.
    """
    from mmssl.config import TrainingConfig
    from mmssl.models import preset_of
    from mmssl.settings import shipped

    chosen = config or shipped(preset_of(settings or []))
    resolved = TrainingConfig.load(chosen, settings or [])
    if print_config:
        print(resolved.to_yaml(), end="")
        return
    from mmssl.project import Project
    from mmssl.training.run_folder import goes_on
    from mmssl.training.trainer import train

    refuse_idle(project, named=data is not None and out is not None)
    if data is None:
        data = Project.find(project).data
        print(f"dataset: {data}")
    dataset = data
    out = out or Project.find(project).next_run(
        chosen.stem, lambda run: goes_on(run, resolved, dataset)
    )
    with exits_when_stopped():
        result = train(
            resolved,
            data,
            out,
            device=device,
            overwrite=overwrite,
            save_minutes=save_minutes,
            profile=profile,
            trackers=tracker or (),
            report=lambda line: print(line, file=sys.stderr, flush=True),
        )
    print("\n".join(result.lines()))


app.command()(tune)
app.command()(compare)


@app.command()
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


app.command()(recommend)
app.command()(similar)
app.command()(explain)
app.command()(export)
app.command()(push)
app.command()(pull)
app.command()(report)
app.command()(serve)


def main() -> None:
    """The console script."""
    run(app, sys.argv[1:] or ["--help"])


if __name__ == "__main__":
    main()
