"""The commands `encoders` and `features`, and options that they share with others.

A command parses its options, calls one function and prints the result. Nothing heavy is imported
before it runs.
"""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda:N or mps.")]
IdColumnOption = Annotated[
    str | None, typer.Option(help="Column of the item ids. Default: item_id, id or item.")
]
TextTemplateOption = Annotated[
    str | None, typer.Option(help="Text from several columns, as '{title}. {description}'.")
]
MediaRootOption = Annotated[
    list[str] | None,
    typer.Option(help="Folder or URL, besides the table's, whose files may be read; repeatable."),
]

encoders = typer.Typer(help="Encoders: which there are, what one is, whether one keeps the rules.")
ModalityOption = Annotated[
    Literal["image", "text", "audio", "video"] | None, typer.Option(help="Only this modality.")
]


@encoders.command("list")
def list_encoders(
    pattern: Annotated[
        str, typer.Argument(help="Part of a URI, or a pattern with *. Default: all.")
    ] = "*",
    modality: ModalityOption = None,
) -> None:
    """List encoders: packaged, plug-ins, built in, and examples of the hubs' models."""
    from extract.encoders.describe import list_lines

    print(*list_lines(modality, pattern), sep="\n")


@encoders.command("show")
def show_encoder(
    uri: Annotated[str, typer.Argument(help="scheme:name[@revision][?key=value&...]")],
    modality: ModalityOption = None,
    device: DeviceOption = "cpu",
) -> None:
    """Load an encoder and show what its vectors are and depend on."""
    from extract.encoders.describe import show_lines

    print(*show_lines(uri, modality, device), sep="\n")


@encoders.command("check")
def check_encoder(
    uri: Annotated[str, typer.Argument(help="package.module:Class[?key=value], or any other URI.")],
    device: DeviceOption = "cpu",
) -> None:
    """Run the contract on an encoder, a line a check; exit code 2 where it does not hold."""
    from extract.encoders.describe import check_lines

    lines, passed = check_lines(uri, device)
    print(*lines, sep="\n")
    if not passed:
        raise typer.Exit(2)


features = typer.Typer(help="Feature stores: look at them, compare, transform, export.")
StoreArgument = Annotated[str, typer.Argument(help="Folder of a feature store, or its URL.")]
LabelOption = Annotated[
    str | None, typer.Option(help="Column of the item table with a label, as category.")
]
SampleOption = Annotated[
    int,
    typer.Option(
        help="Of a larger store, so many items drawn at random are compared with all the others."
    ),
]
JsonOption = Annotated[Path | None, typer.Option(help="Write the figures here as JSON.")]


@features.command("show")
def show_features(
    store: StoreArgument,
    sheet: Annotated[
        Path | None,
        typer.Option(
            help="Write a page of nearest neighbours here (.html), with pictures, texts and sounds"
            " where --items is given."
        ),
    ] = None,
    items: Annotated[
        str | None,
        typer.Option(help="The item table, or the folder, that was extracted from; or its URL."),
    ] = None,
    id_column: IdColumnOption = None,
    column: Annotated[
        list[str] | None,
        typer.Option(
            help="Column of the store's own medium, or MODALITY=NAME of any; repeatable."
            " Default: the usual names."
        ),
    ] = None,
    text_template: TextTemplateOption = None,
    media_root: MediaRootOption = None,
    label: LabelOption = None,
    queries: Annotated[
        int | None, typer.Option(help="Items drawn for the sheet. Default: 20.")
    ] = None,
    neighbours: Annotated[
        int | None, typer.Option(help="Nearest items shown of each. Default: 6.")
    ] = None,
    threshold: Annotated[
        float, typer.Option(help="Cosine (mean removed) from which on items are near-duplicates.")
    ] = 0.98,
    sample: SampleOption = 10_000,
    seed: Annotated[int, typer.Option(help="Seed of what is drawn.")] = 0,
    json: JsonOption = None,
) -> None:
    """Counts, failures, norms, duplicates of a store; with --sheet, what lies near what."""
    from extract.files import require_writable, write_json
    from extract.inspect.sheet import sheet_options
    from extract.inspect.show import show
    from extract.locations import location

    options = sheet_options(
        sheet,
        items=None if items is None else location(items),
        id_column=id_column,
        columns=column,
        text_template=text_template,
        media_roots=None if media_root is None else [location(root) for root in media_root],
        label=label,
        queries=queries,
        neighbours=neighbours,
        seed=seed,
    )
    if json is not None:
        require_writable(json)
    report = show(location(store), threshold=threshold, sample=sample, seed=seed, sheet=options)
    print(*report.lines(), sep="\n")
    if sheet is not None:
        print(f"sheet: {sheet}")
    if json is not None:
        write_json(json, report.as_json())


@features.command("compare")
def compare_features(
    a: StoreArgument,
    b: Annotated[str, typer.Argument(help="Another; items are joined by id.")],
    k: Annotated[int, typer.Option(help="Neighbours whose overlap is measured.")] = 10,
    cka: Annotated[
        bool, typer.Option("--cka", help="Also linear CKA (debiased); memory dim x dim.")
    ] = False,
    items: Annotated[
        str | None, typer.Option(help="Item table with labels, or its URL: a leave-one-out kNN.")
    ] = None,
    label: LabelOption = None,
    id_column: IdColumnOption = None,
    label_k: Annotated[
        int | None, typer.Option(help="Neighbours that vote on the label. Default: 5.")
    ] = None,
    sample: SampleOption = 10_000,
    seed: Annotated[int, typer.Option(help="Seed of what is drawn and of the interval.")] = 0,
    json: JsonOption = None,
) -> None:
    """Do two stores agree on what is near what, and which one's neighbours share a label?"""
    from extract.files import require_writable, write_json
    from extract.inspect.compare import compare, label_options
    from extract.locations import location

    labels = label_options(
        items=None if items is None else location(items),
        column=label,
        id_column=id_column,
        k=label_k,
    )
    if json is not None:
        require_writable(json)
    found = compare(location(a), location(b), k=k, sample=sample, seed=seed, cka=cka, labels=labels)
    print(*found.lines(), sep="\n")
    if json is not None:
        write_json(json, found.as_json())


@features.command("transform")
def transform_features(
    store: StoreArgument,
    out: Annotated[str, typer.Option(help="Folder of the new feature store, or its URL.")],
    method: Annotated[
        Literal["pca", "whitening", "normalise", "center"] | None,
        typer.Option(help="Fitted on the items that have a vector; normalise: length (L2) 1."),
    ] = None,
    dim: Annotated[
        int | None,
        typer.Option(help="pca, whitening: dimensions kept. Default: all that vary."),
    ] = None,
    shrinkage: Annotated[
        float | None,
        typer.Option(
            help="whitening: 0 to 1, how far the covariance is drawn to a multiple of the identity."
            " Default: 0."
        ),
    ] = None,
    fitted: Annotated[
        str | None,
        typer.Option(help="Apply the transform that made this store, instead of fitting one."),
    ] = None,
    layer: Annotated[
        str | None,
        typer.Option(help="Keep one of the layers of an encoder URI with ?layer=A,B."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace another store in --out.")
    ] = False,
) -> None:
    """Write features anew: PCA, whitening, centred, of length 1, or one layer of several."""
    from extract.locations import location
    from extract.transform.run import transform

    summary = transform(
        location(store),
        location(out),
        method=method,
        dim=dim,
        shrinkage=shrinkage,
        fitted=None if fitted is None else location(fitted),
        layer=layer,
        overwrite=overwrite,
        progress=sys.stderr.isatty(),
    )
    print(*summary.lines(), sep="\n")


@features.command("export")
def export_features(
    store: StoreArgument,
    to: Annotated[
        Literal["npy", "parquet", "ducho", "recbole"],
        typer.Option(
            help="npy: a matrix and its ids, as MMRec, MMSSL and LATTICE read it; ducho: a file an"
            " item; recbole: DATASET.itememb."
        ),
    ],
    out: Annotated[Path, typer.Option(help="The file; a folder for ducho.")],
    order: Annotated[
        Path | None,
        typer.Option(
            help="npy: which item stands in which row: ids (.txt), a table, a dataset's"
            " items.parquet or MMRec's i_id_mapping.csv. Default: the items that have a vector."
        ),
    ] = None,
    id_column: Annotated[str | None, typer.Option(help="The column of the ids in --order.")] = None,
    missing: Annotated[
        Literal["zero", "mean", "nan", "error"] | None,
        typer.Option(help="--order: the rows of items without a vector. Default: error."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace what an export left in --out.")
    ] = False,
) -> None:
    """Write features as other tools read them."""
    from extract.export.run import export
    from extract.locations import location

    summary = export(
        location(store),
        to,
        out,
        order=order,
        id_column=id_column,
        missing=missing,
        overwrite=overwrite,
    )
    print(*summary.lines(), sep="\n")
