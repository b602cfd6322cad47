"""What a layout of another tool is to us: recognised, read, written."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, cast

import polars as pl

from extract.errors import InputError
from mmssl.data.features import SourceFeatures
from mmssl.data.interactions import InteractionTable, InvalidRows

PARTS = ("train", "val", "test")
"""The names of a ready split's parts, as ``prepare`` has them."""
MEDIA = ("image", "audio", "video")
"""The columns of an item table that hold paths."""


@dataclass(frozen=True)
class RawDataset:
    """Interactions and features as files hold them, under their own ids: before ``prepare``.

    ``parts``: ``{"interactions": table}``, or ``train``, ``val`` and ``test`` of a ready split.
    ``features``: modality to vectors with the ids of their rows. ``sources``: every file that was
    read, by a name that tells it from the others. ``warnings``: one line each, for people.
    """

    parts: Mapping[str, InteractionTable]
    features: Mapping[str, SourceFeatures] = field(default_factory=dict)
    sources: Mapping[str, Path] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what there is nothing to learn from; other parts of a split may be empty.

        Raises:
            InputError: there are no interactions, or of a split none for training.
        """
        first = next(iter(self.parts.values()))
        if not first.frame.height:
            raise InputError(f"{first.path}: no interactions in it")

    @property
    def split(self) -> bool:
        """Whether the split is ready."""
        return "train" in self.parts

    def interacted(self, kind: str) -> set[str]:
        """The distinct ids of the interactions.

        Args:
            kind: ``user`` or ``item``.
        """
        found: set[str] = set()
        for table in self.parts.values():
            found.update(cast(list[str], table.frame[kind].unique().to_list()))
        return found

    def ids(self, kind: str) -> set[str]:
        """The distinct ids of the interactions; of items also those of the features.

        Args:
            kind: ``user`` or ``item``.
        """
        found = self.interacted(kind)
        if kind == "item":
            found.update(*(source.ids for source in self.features.values()))
        return found

    def together(self) -> pl.DataFrame:
        """The interactions of all parts, one after the other, with the columns that all have."""
        frames = [table.frame.drop("row") for table in self.parts.values()]
        shared = [
            name for name in frames[0].columns if all(name in each.columns for each in frames)
        ]
        return pl.concat([frame.select(shared) for frame in frames], how="vertical_relaxed")


class Format(ABC):
    """The layout of a tool's or a data set's files."""

    name: ClassVar[str]
    """What ``--from`` and ``--to`` call it."""
    title: ClassVar[str]
    """Whose it is and of which files, in some words."""

    @abstractmethod
    def recognises(self, source: Path) -> bool:
        """Whether the folder, or file, looks like this layout, by names and first lines alone.

        Never raises for what the files hold: a broken file of the right name is still recognised,
        so that ``read`` says what is wrong.
        """

    @abstractmethod
    def read(self, source: Path, invalid_rows: InvalidRows = "error") -> RawDataset:
        """Read interactions and features.

        Args:
            source: the folder, or the file that stands for it.
            invalid_rows: what an empty id, a rating or a timestamp that cannot be read leads to.

        Raises:
            InputError: a file is missing or broken; of lines it names file, line and column.
        """

    def read_items(self, source: Path) -> pl.DataFrame | None:
        """What the layout tells about its items, None where it tells nothing.

        Returns:
            ``item_id`` (text, distinct) and text columns, null where unknown: ``text``, what an
            encoder of texts should see; ``image``, ``audio`` and ``video``, paths of media,
            absolute; others by their names in the layout.

        Raises:
            InputError: as ``read``.
        """
        del source
        return None


class WritableFormat(Format):
    """A layout that is written, too."""

    @abstractmethod
    def write(
        self, content: RawDataset, items: pl.DataFrame | None, folder: Path, name: str
    ) -> list[str]:
        """Write a folder that ``read`` and the tool itself read.

        Args:
            content: interactions and features.
            items: as of ``read_items``.
            folder: empty; renamed to what the person named once all is written.
            name: of the data set, for tools whose files bear it.

        Returns:
            What the layout could not hold, and how the tool is told of the files: a line each.

        Raises:
            InputError: content that the layout cannot hold at all.
        """


def left_out(
    content: RawDataset, items: pl.DataFrame | None, *, holds: Collection[str]
) -> list[str]:
    """Notes on what a layout does not hold.

    Args:
        content: what is written.
        items: what is known of the items.
        holds: of ``rating``, ``timestamp``, ``features``, ``items`` and ``split`` what it holds.
    """
    there = {
        "ratings": ("rating", any("rating" in t.frame.columns for t in content.parts.values())),
        "timestamps": (
            "timestamp",
            any("timestamp" in table.frame.columns for table in content.parts.values()),
        ),
        "features": ("features", bool(content.features)),
        "descriptions of items": ("items", items is not None),
        "which part of the split an interaction is in": ("split", content.split),
    }
    lost = [words for words, (what, present) in there.items() if present and what not in holds]
    return [f"left out, for the layout has no place for it: {', '.join(lost)}"] if lost else []


def uneven(content: RawDataset) -> list[str]:
    """A note for each column that ``RawDataset.together`` leaves out, since not all parts have it.

    Args:
        content: what is written.
    """
    columns = [set(table.frame.columns) for table in content.parts.values()]
    lost = set().union(*columns) - set(columns[0]).intersection(*columns)
    return [f"left out, for not all parts have it: {name}" for name in sorted(lost)]


def require_split(content: RawDataset, name: str) -> None:
    """Refuse interactions that are not split, for a layout of three parts.

    Raises:
        InputError: says how to split them.
    """
    if not content.split:
        raise InputError(
            f"--to {name}: wants a training, a validation and a test part; split the interactions"
            " first, with `prepare`, and convert the dataset that it writes"
        )
