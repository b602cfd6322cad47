"""The front door: a command parses its options, calls one function, prints the result."""

import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from extract.errors import InputError

app = typer.Typer(
    name="mmssl",
    help="Multi-modal recommendation, from raw media to recommendations.",
    add_completion=False,
    pretty_exceptions_enable=False,
)


def fail(message: str, exit_code: int = 2) -> NoReturn:
    """Print one line on standard error and leave."""
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    raise SystemExit(exit_code)


def run(application: typer.Typer, arguments: list[str]) -> NoReturn:
    """Run a command line; whatever a person can mend is one line and exit code 2."""
    try:
        result = application(args=arguments, standalone_mode=False)
    except InputError as error:
        fail(str(error), error.exit_code)
    except typer.TyperException as error:
        fail(error.format_message())
    except (typer.Abort, KeyboardInterrupt):
        result = 130
    if result == 130:
        fail("interrupted", 130)
    raise SystemExit(result if isinstance(result, int) else 0)


def main() -> None:
    """The console script."""
    run(app, sys.argv[1:] or ["--help"])


def pairs(option: str, values: list[str] | None) -> dict[str, Path]:
    """``name=path`` options as a mapping."""
    found: dict[str, Path] = {}
    for value in values or []:
        name, equals, path = value.partition("=")
        if not (name and equals and path):
            raise InputError(
                f"{option} {value}: not of the form NAME=PATH, as image=features/image"
            )
        if name in found:
            raise InputError(f"{option} {value}: '{name}' is given twice")
        found[name] = Path(path)
    return found


@app.command()
def prepare(
    interactions: Annotated[
        Path | None,
        typer.Option(help="Interactions to filter and split: CSV, TSV, JSONL, Parquet."),
    ] = None,
    train: Annotated[Path | None, typer.Option(help="Ready split: training.")] = None,
    val: Annotated[Path | None, typer.Option(help="Ready split: validation.")] = None,
    test: Annotated[Path | None, typer.Option(help="Ready split: test.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the dataset.")] = None,
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
        str | None,
        typer.Option(
            help="Empty ids, ratings or times that cannot be read: error (default), drop."
        ),
    ] = None,
    min_rating: Annotated[float | None, typer.Option(help="Keep ratings from this on.")] = None,
    duplicates: Annotated[
        str | None, typer.Option(help="Of a repeated pair keep the last (default) or first.")
    ] = None,
    user_core: Annotated[
        int | None, typer.Option(help="Users with at least so many interactions (iterated).")
    ] = None,
    item_core: Annotated[
        int | None, typer.Option(help="Items with at least so many interactions (iterated).")
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            help="random (default), temporal-user, temporal-global, leave-one-out,"
            " leave-one-out-random."
        ),
    ] = None,
    ratios: Annotated[
        str | None, typer.Option(help="Training, validation, test; default 0.8,0.1,0.1.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the split; default 0.")] = None,
    items: Annotated[
        Path | None, typer.Option(help="Item table; its items stay even if nobody touched them.")
    ] = None,
    features: Annotated[
        list[str] | None,
        typer.Option(help="MODALITY=PATH of a feature store or a .npy; repeatable."),
    ] = None,
    feature_ids: Annotated[
        list[str] | None,
        typer.Option(help="MODALITY=FILE: line r is the item id of row r of the .npy."),
    ] = None,
    unknown_items: Annotated[
        str | None,
        typer.Option(
            help="Interactions with items in neither --items nor --features: keep, drop, error;"
            " default: drop with --items, else keep."
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace another dataset in --out.")] = False,
    project: Annotated[
        Path | None,
        typer.Option(
            help="Folder with interactions.csv, items.csv, features/ for what is left out."
        ),
    ] = None,
) -> None:
    """Filter and split interactions, join features by item id, write a dataset."""
    options = dict(locals())
    from mmssl.data.prepare import PrepareConfig
    from mmssl.data.prepare import prepare as run

    del options["project"]
    options["features"] = pairs("--features", features)
    options["feature_ids"] = pairs("--feature-ids", feature_ids)
    for line in run(PrepareConfig.parse(options, project)).lines():
        print(line)


if __name__ == "__main__":
    main()
