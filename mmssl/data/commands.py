"""The commands `prepare`, `convert` and `formats`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from mmssl.command_options import pairs

FromOption = Annotated[
    str,
    typer.Option(
        "--from", help="Layout of SOURCE, of those that `formats` lists; auto: the one that it has."
    ),
]


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
            help="Folder of interactions.csv (or train, val, test), items.csv and features/, for"
            " what is left out."
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
