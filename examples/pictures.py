"""``python -m examples.pictures``: what the tutorial begins with, for who has no catalogue.

A folder of pictures (and one of sounds), a table with their words, and who liked what. The likes
are simulated, and every user's id says so.
"""

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import polars as pl
import typer

import cli
from examples.quickstart.sample import Choice, Request, find_catalogue
from examples.quickstart.simulate import simulate
from extract.errors import InputError
from extract.files import write_json
from extract.tables import write_table

MADE = ("pictures", "sounds", "items.csv", "likes.csv", "sample.json")


def pictures(
    out: Annotated[Path, typer.Option(help="Where everything goes.")] = Path(),
    sample: Annotated[
        Choice, typer.Option(help="The stamps, a drawn sample, or auto: drawn if need be.")
    ] = "auto",
) -> None:
    """Fetch (or draw) pictures, and simulate who likes which."""
    for name in MADE:
        if (out / name).exists():
            raise InputError(f"{out / name} is there already: name another folder by --out")
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out, prefix=".pictures-") as name:
        records, source, settings = find_catalogue(Path(name), Request(sample))
        table = [_taken(record, Path(name), out) for record in records]
    ids = [str(row["item_id"]) for row in table]
    likes = simulate(ids, [str(row["category"]) for row in table], settings)
    pairs = [(user.replace("user", "simulated"), item) for user, item in likes.pairs]
    source += f" The {settings.users:,} users and their {len(pairs):,} likes are simulated."
    write_json(out / "sample.json", {"source": source})
    write_table(pl.DataFrame(table, infer_schema_length=None), out / "items.csv")
    write_table(pl.DataFrame(pairs, schema=["user_id", "item_id"], orient="row"), out / "likes.csv")
    print(source)
    print(f"{out / 'pictures'}: {len(ids):,} pictures; {out / 'likes.csv'}: {len(pairs):,} likes")


def _taken(record: dict[str, str | None], scratch: Path, out: Path) -> dict[str, str | None]:
    """A record whose media lie in ``out`` under its id, which is then a file's stem."""
    item = str(record["item_id"]).replace("/", "-")
    row: dict[str, str | None] = {"item_id": item}
    for modality, folder in (("image", "pictures"), ("audio", "sounds")):
        path = record[modality]
        row[modality] = None
        if path is not None:
            kept = Path(folder) / f"{item}{Path(path).suffix}"
            (out / folder).mkdir(exist_ok=True)
            shutil.move(scratch / path, out / kept)
            row[modality] = kept.as_posix()
    return {**row, "text": record["text"], "category": record["category"]}


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(pictures)
    cli.run(app, sys.argv[1:])
