"""The files of Amazon's review data sets: which of a folder's are read, reviews as interactions.

Each category has files of its own: reviews or ratings, and ``meta_<Category>`` for its items. A
folder may hold one of them; of several, one is named by its file.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import polars as pl

from extract.errors import InputError
from mmssl.data.files.json_lines import LINE, read_json_lines
from mmssl.data.formats.base import RawDataset
from mmssl.data.interactions import InteractionTable, InvalidRows, check_interactions

META = "meta_"
SPLIT_MARKS = {"train": ".train", "val": ".valid", "test": ".test"}
"""What stands before ``.csv`` in the name of a ready split's part."""
_SUFFIX = re.compile(r"\.(jsonl?|csv)(\.gz)?$")
_MARK = re.compile(r"\.(train|valid|test)$")
# Names of this toolkit's tables and of MMSSL's files: no category is called so.
_OTHERS = {"interactions", "items", "train", "val", "test"}


@dataclass(frozen=True)
class CategoryFiles:
    """The files of one category: ``parts`` as of ``RawDataset``, ``meta`` where it is there."""

    parts: dict[str, Path]
    meta: Path | None
    folder: Path


def kind_of(path: Path) -> str:
    """``json``, ``jsonl`` or ``csv``, packed or not; "" for a name that is none of a category."""
    found = _SUFFIX.search(path.name)
    if found is None or path.name.startswith((META, ".")) or _stem(path) in _OTHERS:
        return ""
    return found[1]


def category(path: Path) -> str:
    """Of a file of reviews or ratings, as its metadata is named after it."""
    stem = _MARK.sub("", _stem(path))
    return stem.removeprefix("reviews_").removeprefix("ratings_").removesuffix("_5")


def meta_kind(path: Path) -> str:
    """The kind of the metadata beside a file of reviews or ratings; "" where there is none."""
    meta = _meta_file(path)
    found = _SUFFIX.search(meta.name) if meta else None
    return found[1] if found else ""


def claimed(source: Path, claims: Callable[[Path], bool]) -> list[Path]:
    """The file, or those of a folder, that are of a layout, in the order of their names."""
    try:
        paths = sorted(source.iterdir()) if source.is_dir() else [source]
    except OSError:
        return []
    return [path for path in paths if path.is_file() and claims(path)]


def find_category(source: Path, claims: Callable[[Path], bool], wanted: str) -> CategoryFiles:
    """The files to read; those of a ready split, ``<Category>.train.csv`` and its like, are one.

    Args:
        source: a folder, or a file of reviews or ratings in it, whatever it holds.
        claims: whether a file is of the layout.
        wanted: words for what a folder should hold, for messages.

    Raises:
        InputError: none, or several categories or files; the message names them.
    """
    if source.is_file() and source.name.startswith(META):
        raise InputError(
            f"{source}: holds what is known of the items; name the file of reviews or ratings, or"
            " the folder"
        )
    if source.is_file() and not kind_of(source):
        raise InputError(f"{source}: of no such name; wanted is {wanted}")
    paths = claimed(source, claims) if source.is_dir() else [source]
    if not paths:
        raise InputError(f"{source}: holds no file of reviews or ratings; wanted is {wanted}")
    if len({_shared_name(path) for path in paths}) > 1:
        names = ", ".join(path.name for path in paths)
        raise InputError(
            f"{source}: one category's reviews or ratings are read, and these files may be them:"
            f" {names}; name one of them in place of the folder"
        )
    first = min(paths, key=lambda path: path.suffix == ".gz")
    parts = {"interactions": first}
    if _is_part(first):
        parts = {part: _part_file(first, mark) for part, mark in SPLIT_MARKS.items()}
    return CategoryFiles(parts, _meta_file(first), first.parent)


def require_category_name(name: str) -> None:
    """Refuse a name of a data set under which its files would not be found again.

    Raises:
        InputError: says why.
    """
    if not kind_of(Path(f"{name}.json")):
        raise InputError(
            f"--out: the files bear the folder's name, and in this layout '{name}' names other"
            " ones; choose another folder"
        )


def unit_notes(content: RawDataset, *, milliseconds: bool) -> list[str]:
    """A note where timestamps, whose unit no source tells, cannot be of the layout's unit.

    Args:
        content: what is written, timestamps as they are.
        milliseconds: whether the layout has milliseconds since 1970; else seconds.
    """
    tables = [each.frame for each in content.parts.values() if "timestamp" in each.frame.columns]
    latest = max(
        (cast(float, frame["timestamp"].max()) for frame in tables if frame.height), default=None
    )
    # 10^11 seconds are the year 5138, as many milliseconds 1973.
    if latest is None or (latest > 10**11) == milliseconds:
        return []
    unit = "milliseconds" if milliseconds else "seconds"
    return [f"timestamps: written as they are, up to {latest}; tools take them for {unit}"]


def read_reviews(path: Path, keys: dict[str, str], invalid_rows: InvalidRows) -> InteractionTable:
    """Reviews as interactions, without their texts.

    Args:
        path: objects, one a line.
        keys: role to key, as ``{"user": "reviewerID"}``.
        invalid_rows: as of ``read_interactions``.

    Raises:
        InputError: as ``read_json_lines`` and ``check_interactions``.
    """
    wanted = dict.fromkeys(keys.values(), pl.String())
    frame = read_json_lines(path, wanted, (keys["user"], keys["item"]))
    roles = {role: key for role, key in keys.items() if key in frame.columns}
    frame = frame.select(*(pl.col(key).alias(role) for role, key in roles.items()), row=LINE)
    return check_interactions(
        path, frame, invalid_rows, lambda role, line: f"line {line}, column '{roles[role]}'"
    )


def _stem(path: Path) -> str:
    return _SUFFIX.sub("", path.name)


def _is_part(path: Path) -> bool:
    return kind_of(path) == "csv" and _MARK.search(_stem(path)) is not None


def _shared_name(path: Path) -> str:
    """The same for the parts of a split, and for a file packed and unpacked."""
    return f"{_MARK.sub('', _stem(path))}.*" if _is_part(path) else path.name.removesuffix(".gz")


def _part_file(path: Path, mark: str) -> Path:
    name = f"{_MARK.sub('', _stem(path))}{mark}.csv"
    for each in (name, f"{name}.gz"):
        if (there := path.parent / each).is_file():
            return there
    raise InputError(f"{path.parent / name}: no such file, but {path.name} is one of three parts")


def _meta_file(path: Path) -> Path | None:
    """The unpacked one, if both are there."""
    names = [
        f"{META}{category(path)}.{kind}{packed}"
        for packed in ("", ".gz")
        for kind in ("json", "jsonl")
    ]
    return next((there for each in names if (there := path.parent / each).is_file()), None)
