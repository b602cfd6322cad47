"""``python -m examples.quickstart``: the whole path, each step by the command one would type."""

import os
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

import cli
from examples.quickstart.sample import INTERACTIONS, Choice, Request, make_sample
from mmssl.config import TrainingConfig
from mmssl.project import Project
from mmssl.settings import shipped
from mmssl.training.run_folder import goes_on

MODALITIES = ("image", "text", "audio")
STEPS = 6 + len(MODALITIES)
RECOMMENDED = 12


def quickstart(
    settings: Annotated[
        list[str] | None, typer.Argument(help="Training settings as key.sub=value.")
    ] = None,
    project: Annotated[Path, typer.Option(help="Where everything goes.")] = Path("quickstart"),
    sample: Annotated[
        Choice, typer.Option(help="The stamps, a drawn sample, or auto: drawn if need be.")
    ] = "auto",
    items: Annotated[int | None, typer.Option(min=2, help="Items of a drawn sample.")] = None,
    users: Annotated[int | None, typer.Option(min=2, help="Simulated users.")] = None,
) -> None:
    """Sample media to embeddings, to a trained model, to a page of recommendations."""
    started = time.perf_counter()
    steps = Steps()
    with steps.timed("Sample media and simulated users"):
        source = make_sample(project, Request(sample, items, users))
        print(source)
    place, at = Project(project), ["--project", str(project)]
    for modality in MODALITIES:
        steps.command(f"Embeddings of {modality}", "extract", "--modality", modality, *at)
    stores = [
        argument
        for modality in MODALITIES
        for argument in ("--features", f"{modality}={place.features(modality)}")
    ]
    steps.command(
        "Dataset from the simulated users and the embeddings",
        *("prepare", "--interactions", str(project / INTERACTIONS)),
        *("--items", str(place.items), *stores, "--out", str(place.data), "--overwrite"),
    )
    config = TrainingConfig.load(shipped("quickstart.yaml"), settings or [])
    run = place.next_run("quickstart", lambda path: goes_on(path, config, place.data))
    steps.command("Training", "train", *at, "--out", str(run), *(settings or []))
    validation = run / "validation.json"
    steps.command(
        "Validation",
        *("evaluate", "--model", str(run), "--split", "val", "--json", str(validation)),
    )
    recommendations = run / "recommendations.csv"
    steps.command(
        "Recommendations",
        *("recommend", "--model", str(run), "--top-k", str(RECOMMENDED)),
        *("--out", str(recommendations)),
    )
    page_path = project / "index.html"
    with steps.timed("The page"):
        from examples.quickstart import page, showcase

        page.write(page_path, *showcase.gather(place, source, validation, recommendations))
        print(page_path)
    print(f"\nDone in {time.perf_counter() - started:.0f} s. The users are simulated.")
    print(f"Open {page_path.resolve()} in a browser. To go on by hand:\n")
    for line in _next_commands(place, run):
        print(f"  {_program()} {line}")


class Steps:
    """Numbers, announces and times the steps."""

    def __init__(self) -> None:
        self.done = 0

    @contextmanager
    def timed(self, title: str) -> Iterator[None]:
        """Announce a step and, after it, its time."""
        self.done += 1
        print(f"\n[{self.done}/{STEPS}] {title}", flush=True)
        start = time.perf_counter()
        yield
        print(f"({time.perf_counter() - start:.1f} s)", flush=True)

    def command(self, title: str, *arguments: str) -> None:
        """Run a command of the front door in this process, after printing it."""
        with self.timed(title):
            print(f"$ {_program()} {shlex.join(arguments)}", flush=True)
            cli.app(list(arguments), standalone_mode=False)


def _program() -> str:
    """The front door as one types it here: with this environment's own interpreter."""
    python = Path(sys.executable)
    here = python.is_relative_to(Path.cwd())
    return f"{os.path.relpath(python) if here else 'python'} cli.py"


def _next_commands(place: Project, run: Path) -> list[str]:
    # Where the working folder is a project itself, that is the one that a bare command takes.
    bare = place.root == Path("quickstart") and not Project(Path()).items.exists()
    at = "" if bare else f" --project {shlex.quote(str(place.root))}"
    return [
        f"extract --modality image{at}",
        f"train{at} seed=2",
        f"evaluate --model {shlex.quote(str(run))} --split val",
        f"recommend --model {shlex.quote(str(run))} --users user-0001 --top-k 20 --out recs.csv",
    ]


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(quickstart)
    cli.run(app, sys.argv[1:])
