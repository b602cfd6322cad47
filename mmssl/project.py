"""A project: the folder that holds items.csv, features/, data/ and runs/ when no path is typed."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from extract.errors import InputError


@dataclass(frozen=True)
class Project:
    """The folder layout behind the commands' defaults; ``root`` need not hold everything yet."""

    root: Path

    @classmethod
    def find(cls, given: Path | None) -> "Project":
        """The folder given, else the working folder if it holds items.csv, else ``quickstart/``.

        Raises:
            InputError: nothing was given and neither place holds an items.csv.
        """
        if given is not None:
            if not given.is_dir():
                raise InputError(f"--project {given}: no such folder")
            return cls(given)
        for root in (Path(), Path("quickstart")):
            if (root / "items.csv").is_file():
                return cls(root)
        raise InputError(
            "no project here: neither ./items.csv nor ./quickstart/items.csv exists; run"
            " `make quickstart`, or name a folder with --project DIR, or the paths themselves"
        )

    @property
    def items(self) -> Path:
        """The item table."""
        return self.root / "items.csv"

    def features(self, modality: str) -> Path:
        """The feature store of a modality."""
        return self.root / "features" / modality

    @property
    def data(self) -> Path:
        """The prepared dataset."""
        return self.root / "data"

    def next_run(self, stem: str, goes_on: Callable[[Path], bool] = lambda _: False) -> Path:
        """The run that a bare ``train`` makes: ``runs/<stem>-<n>``, so that none is overwritten.

        Args:
            stem: of its name.
            goes_on: says of the last one there is whether it is to be gone on with; otherwise the
                first free one is taken.
        """
        n = 1
        while (self.root / "runs" / f"{stem}-{n}").exists():
            n += 1
        last = self.root / "runs" / f"{stem}-{n - 1}"
        return last if n > 1 and goes_on(last) else self.root / "runs" / f"{stem}-{n}"

    def latest_run(self) -> Path:
        """The finished run written last.

        Raises:
            InputError: there is none.
        """
        finished = sorted(
            (self.root / "runs").glob("*/metrics.json"), key=lambda path: path.stat().st_mtime_ns
        )
        if not finished:
            raise InputError(f"{self.root / 'runs'}: no finished run; train one, or name a --model")
        return finished[-1].parent
