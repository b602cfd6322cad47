"""The commands that carry a trained model elsewhere: `export`, `push` and `pull`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from extract.errors import InputError

RunOption = Annotated[Path, typer.Option(help="A run, or a model folder.")]


def export(
    model: RunOption,
    out: Annotated[Path, typer.Option(help="The folder to make; an export there is replaced.")],
    format: Annotated[
        Literal["npy", "parquet", "safetensors"],
        typer.Option(help="How the vectors are written; the ids are Parquet each time."),
    ] = "parquet",
    index: Annotated[
        Literal["auto", "flat", "hnsw", "ivf"] | None,
        typer.Option(
            help="Also write a FAISS index of the items (extra index) and measure its recall@20;"
            " auto: by their number."
        ),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(
            help="Threads for the index; with more than 1 an HNSW differs from time to time."
            " Default: 1."
        ),
    ] = None,
    vectors_only: Annotated[
        bool,
        typer.Option(
            "--vectors-only",
            help="Also of a model whose score adds what a graph of items says: without that its"
            " vectors rank otherwise than the model.",
        ),
    ] = False,
) -> None:
    """Write a model's user and item vectors, with the original ids, for other programs."""
    if threads is not None and index is None:
        raise InputError("--threads does not apply: it is about --index")
    if threads is not None and threads < 1:
        raise InputError(f"--threads {threads}: at least 1")
    from mmssl.recommend.export import export_vectors
    from mmssl.recommend.model_folder import SavedModel

    report = export_vectors(
        SavedModel.load(model),
        out,
        format,
        index=index,
        threads=threads or 1,
        vectors_only=vectors_only,
    )
    print(*report.lines(), sep="\n")


def push(
    model: RunOption,
    to: Annotated[str, typer.Option(help="A folder, or hub:OWNER/NAME on the model hub.")],
    license: Annotated[
        str | None, typer.Option(help="Licence named in the card, as apache-2.0. Default: none.")
    ] = None,
    public: Annotated[
        bool,
        typer.Option(
            "--public",
            help="Also into a repository that everybody can read; a new one is private otherwise.",
        ),
    ] = False,
) -> None:
    """Copy a model to a folder or a model hub, with the users' ids and histories in it.

    users.parquet and seen.safetensors are part of every model folder: who was there, and what each
    of them interacted with. Give them only to those who may have them.
    """
    from mmssl.recommend.hub import push as run

    print(*run(model, to, license=license, public=public).lines(), sep="\n")


def pull(
    origin: Annotated[
        str, typer.Option("--from", help="A folder, or hub:OWNER/NAME, perhaps with @REVISION.")
    ],
    out: Annotated[Path, typer.Option(help="The folder to make; a model there is replaced.")],
) -> None:
    """Fetch a model from a folder or a model hub; every file is checked, none of it is run."""
    from mmssl.recommend.hub import pull as run

    print(*run(origin, out).lines(), sep="\n")
