"""The quickstart's project folder: items.csv with its media, and the simulated interactions."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import polars as pl

from examples.quickstart import drawn, stamps
from examples.quickstart.simulate import Simulation, simulate
from extract.errors import InputError
from extract.files import read_json, write_json
from extract.tables import write_table

Choice = Literal["auto", "stamps", "drawn"]
# File names say it too: these people do not exist.
INTERACTIONS = "simulated_interactions.csv"
TASTES = "simulated_tastes.csv"
STAMPS_USERS = Simulation()
# Fewer items need fewer users to be as sparse.
DRAWN_USERS = replace(STAMPS_USERS, users=300)
STAMPS_SOURCE = (
    "The pictures, words and sounds are the Tux Paint stamps (Debian package"
    f" {stamps.PACKAGE}, GPL-2). A stamp's sound is a sound effect where it has one, else its"
    " description spoken in English, else in French; the audio encoder was trained on English"
    " speech only, so it hears little in the French ones."
)
DRAWN_SOURCE = "The pictures, words and sounds were drawn by the quickstart itself ({reason})."
USERS_SOURCE = "The {users:,} users and their {likes:,} likes are simulated."


@dataclass(frozen=True)
class Request:
    """What the person asked for; None: the default of the sample."""

    sample: Choice = "auto"
    items: int | None = None
    users: int | None = None


def make_sample(project: Path, request: Request) -> str:
    """Make the sample in ``project`` unless it is there, and say in a few lines what it is.

    ``items.csv`` is written last, so a sample that was interrupted is made again.

    Raises:
        InputError: the folder holds something else, or the stamps were asked for by name and
            cannot be had.
    """
    record = project / "sample.json"
    if (project / "items.csv").exists():
        if not record.exists():
            raise InputError(f"{project}/items.csv is not the quickstart's; use another --project")
        known = read_json(record)
        if known["request"] != asdict(request):
            raise InputError(
                f"{project} holds a sample made with other options ({known['request']});"
                " use another --project, or remove the folder"
            )
        return str(known["source"])
    project.mkdir(parents=True, exist_ok=True)
    records, source, settings = find_catalogue(project, request)
    if request.users is not None:
        settings = replace(settings, users=request.users)
    likes = simulate(
        [str(r["item_id"]) for r in records], [str(r["category"]) for r in records], settings
    )
    source += " " + USERS_SOURCE.format(users=settings.users, likes=len(likes.pairs))
    write_table(
        pl.DataFrame(likes.pairs, schema=["user_id", "item_id"], orient="row"),
        project / INTERACTIONS,
    )
    write_table(
        pl.DataFrame(
            {"user_id": list(likes.tastes), "tastes": map("; ".join, likes.tastes.values())}
        ),
        project / TASTES,
    )
    write_json(
        record, {"source": source, "request": asdict(request), "simulation": asdict(settings)}
    )
    write_table(pl.DataFrame(records, infer_schema_length=None), project / "items.csv")
    return source


def find_catalogue(
    project: Path, request: Request
) -> tuple[list[dict[str, str | None]], str, Simulation]:
    """Fetch the stamps, or draw, into ``project``; records, what they are, and how users behave."""
    reason = "as asked"
    if request.sample != "drawn":
        if request.items is not None:
            raise InputError("--items applies to the drawn sample: add --sample drawn")
        try:
            folder = stamps.fetch(project / "media" / "stamps")
        except stamps.StampsError as error:
            if request.sample == "stamps":
                raise InputError(f"the Tux Paint stamps cannot be had: {error}") from None
            reason = f"the Tux Paint stamps cannot be had: {error}"
        else:
            return stamps.catalogue(folder, project), STAMPS_SOURCE, STAMPS_USERS
    items = 200 if request.items is None else request.items
    records = drawn.catalogue(project, items, DRAWN_USERS.seed)
    return records, DRAWN_SOURCE.format(reason=reason), DRAWN_USERS
