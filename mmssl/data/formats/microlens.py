"""MicroLens, short videos with covers, titles and sounds, as westlake-repl publishes it.

``MicroLens-<size>_pairs.csv`` (user, item, timestamp in milliseconds) and the same as
``_pairs.tsv``: a user, a tab, the items in order of time between blanks, as the loaders of
westlake-repl/MicroLens read it (``Code/VideoRec/*/utils/load_data.py``, ``read_behaviors``).
Titles, ``item,title``, split at the first comma of a line (``read_texts``): ``_titles.csv`` of 50k
with a header, ``_title_en.csv`` of 100k and ``_title.csv`` of 1M without; beside them
``_likes_and_views.txt`` and ``tags_to_summary.csv``. ``extracted_modality_features/`` has matrices
whose row r is item r + 1 (``Data Processing/video_feature_extraction_(from_lmdb).py``). Covers,
videos and sounds lie in folders by item. The comments are not read: a comment is what an
interaction is, so their words would tell a model what it is to find out.
"""

import re
from pathlib import Path
from typing import ClassVar

import polars as pl

from extract.errors import InputError
from extract.media.audio import AUDIO_SUFFIXES
from extract.media.containers import VIDEO_SUFFIXES
from mmssl.data.features import SourceFeatures
from mmssl.data.files.delimited import read_delimited, write_delimited
from mmssl.data.files.finding import files_ending
from mmssl.data.files.matrices import read_matrix, write_ids, write_matrices
from mmssl.data.formats.base import RawDataset, WritableFormat, left_out, uneven
from mmssl.data.formats.item_tables import (
    PICTURES,
    items_left_out,
    media_by_id,
    with_media,
)
from mmssl.data.formats.microlens_titles import read_first_comma, write_first_comma
from mmssl.data.ids import IdMap, ordered_ids
from mmssl.data.interactions import InteractionTable, InvalidRows, check_interactions

_FEATURES = "extracted_modality_features"
# Of the matrices that are written; those of MicroLens bear the encoder's name there.
_ENDING = "_features_converted"
_TITLES = ("_title_en.csv", "_titles.csv", "_title.csv")
_MEDIA = {
    "image": (re.compile(r"(^|_)covers?(_|$)", re.IGNORECASE), PICTURES),
    "video": (re.compile(r"(^|_)videos?(_|$)", re.IGNORECASE), VIDEO_SUFFIXES),
    "audio": (re.compile(r"(^|_)audios?(_|$)", re.IGNORECASE), (*AUDIO_SUFFIXES, ".m4a")),
}


class MicroLens(WritableFormat):
    """MicroLens 50k, 100k and 1M."""

    name: ClassVar = "microlens"
    title: ClassVar = "MicroLens: MicroLens-*_pairs.csv or .tsv, titles, covers, videos, sounds"

    def recognises(self, source: Path) -> bool:
        """A folder with pairs that bear the name of MicroLens."""
        return any(path.name.lower().startswith("microlens") for path in _pairs(source))

    def read(self, source: Path, invalid_rows: InvalidRows = "error") -> RawDataset:
        """Read the pairs and the extracted features; see ``Format.read``.

        Of a ``.tsv`` without the ``.csv`` the timestamp is the place in the user's list, from 1,
        with a warning.
        """
        path = _chosen(source)
        warnings: tuple[str, ...] = ()
        if path.suffix == ".csv":
            found = read_delimited(path, ",", quoted=True, columns=("user", "item", "timestamp"))
            roles = {role: role for role in ("user", "item", "timestamp")}
            if "timestamp" not in found.frame.columns:
                del roles["timestamp"]
            table = found.interactions(roles, invalid_rows)
        else:
            table = _sequences(path, invalid_rows)
            warnings = (
                f"{path}: has the order of a user's items, not their times: a timestamp is the"
                " place in the list; good for splits by user, not for those by time",
            )
        return RawDataset(
            {"interactions": table}, _features(source, _stem(path)), {"pairs": path}, warnings
        )

    def read_items(self, source: Path) -> pl.DataFrame | None:
        """Read titles, likes and views, tags and media; see ``Format.read_items``."""
        stem = _stem(_chosen(source))
        tables = [
            read_first_comma(path, "title")
            for path in (source / f"{stem}{ending}" for ending in _TITLES)
            if path.is_file()
        ][:1]
        if (likes := source / f"{stem}_likes_and_views.txt").is_file():
            table = read_delimited(likes, "\t", names=("item_id", "likes", "views"))
            table.unique_ids("item_id")
            tables.append(table.frame)
        if (tags := source / "tags_to_summary.csv").is_file():
            tables.append(read_first_comma(tags, "tag"))
        media = {
            medium: media_by_id(
                (each for each in sorted(source.iterdir()) if folders.search(each.name)), suffixes
            )
            for medium, (folders, suffixes) in _MEDIA.items()
        }
        ids = [id_ for table in tables for id_ in table["item_id"]]
        ids += [id_ for paths in media.values() for id_ in ordered_ids(paths)]
        if not ids:
            return None
        items = pl.DataFrame({"item_id": list(dict.fromkeys(ids))}, schema={"item_id": pl.String})
        for each in tables:
            items = items.join(each, on="item_id", how="left", maintain_order="left")
        if "title" in items.columns:
            items = items.select(
                "item_id", pl.col("title").alias("text"), pl.all().exclude("item_id")
            )
        for medium, paths in media.items():
            items = with_media(items, medium, paths)
        return items

    def write(
        self, content: RawDataset, items: pl.DataFrame | None, folder: Path, name: str
    ) -> list[str]:
        """Write pairs, titles and features; see ``WritableFormat.write``.

        Ids are written as they are. Titles are those of the table, else its texts.
        """
        stem = name if name.lower().startswith("microlens") else f"MicroLens-{name}"
        notes = uneven(content) + left_out(content, items, holds=("timestamp", "features", "items"))
        frame = content.together()
        there = [role for role in ("user", "item", "timestamp") if role in frame.columns]
        pairs = folder / f"{stem}_pairs.csv"
        write_delimited(frame.select(there), pairs, ",", header=True, quoted=True)
        notes += _write_sequences(frame, pairs.with_suffix(".tsv"))
        item_ids = IdMap(ordered_ids(content.ids("item")), "item")
        numbered = item_ids.ids == [str(row + 1) for row in range(len(item_ids))]
        if not numbered:
            notes.append(
                "item: the ids are written as they are; MicroLens' own loaders want whole numbers"
                " from 1"
            )
        if content.features:
            named = {f"{stem}_{modality}": each for modality, each in content.features.items()}
            (folder / _FEATURES).mkdir()
            notes += write_matrices(named, item_ids, folder / _FEATURES, _ENDING)
            for each in named if not numbered else ():
                write_ids(item_ids.ids, folder / _FEATURES / f"{each}{_ENDING}.ids.txt")
        return notes + ([] if items is None else _write_items(items, folder, stem))


def _pairs(source: Path) -> list[Path]:
    """Tables of pairs, those with times first."""
    return [*files_ending(source, "_pairs.csv"), *files_ending(source, "_pairs.tsv")]


def _stem(path: Path) -> str:
    return path.stem.removesuffix("_pairs")


def _chosen(source: Path) -> Path:
    found = _pairs(source)
    if not found:
        raise InputError(f"{source}: holds no MicroLens-*_pairs.csv or .tsv")
    stems = sorted({_stem(path) for path in found})
    if len(stems) > 1:
        raise InputError(
            f"{source}: holds the pairs of several data sets ({', '.join(stems)}); give each a"
            " folder of its own"
        )
    return found[0]


def _sequences(path: Path, invalid_rows: InvalidRows) -> InteractionTable:
    """The interactions of lines of a user and its items."""
    table = read_delimited(path, "\t", names=("user", "items"))
    if not table.frame.height:
        raise InputError(f"{path}: no interactions in it")
    frame = (
        table.frame.select(
            "user",
            pl.col("items").str.extract_all(r"\S+").alias("item"),
            table.rows.alias("row"),
        )
        .with_columns(pl.int_ranges(1, pl.col("item").list.len() + 1).alias("timestamp"))
        .explode("item", "timestamp")
        .select("user", "item", "timestamp", "row")
    )
    return check_interactions(
        path,
        frame,
        invalid_rows,
        lambda role, row: table.place("user" if role == "user" else "items", row),
    )


def _write_sequences(frame: pl.DataFrame, path: Path) -> list[str]:
    if any(frame[role].str.contains(r"\s").any() for role in ("user", "item")):
        return [f"{path.name}: not written, for ids hold blanks, which are its separators"]
    if "timestamp" in frame.columns:
        frame = frame.sort("timestamp", maintain_order=True)
    lists = frame.group_by("user", maintain_order=True).agg(pl.col("item").str.join(" "))
    write_delimited(lists, path, "\t", header=False)
    return []


def _features(source: Path, stem: str) -> dict[str, SourceFeatures]:
    """The matrices by modality; by modality and encoder where one has several."""
    named: dict[str, dict[str, Path]] = {}
    pattern = re.compile(rf"{re.escape(stem)}_(.+)_features_(.+)\.npy")
    for folder in (source / _FEATURES, source):
        for path in files_ending(folder, ".npy"):
            match = pattern.fullmatch(path.name)
            if match and not path.name.endswith(".mask.npy"):
                modality = "text" if re.fullmatch(r"title(_.+)?_text", match[1]) else match[1]
                named.setdefault(modality, {}).setdefault(match[2], path)
    return {
        modality if len(paths) == 1 else f"{modality}_{encoder}": _matrix(path)
        for modality, paths in named.items()
        for encoder, path in paths.items()
    }


def _matrix(path: Path) -> SourceFeatures:
    source = read_matrix(path)
    if path.with_suffix(".ids.txt").is_file():
        return source
    ids = [str(row + 1) for row in range(len(source.ids))]
    return SourceFeatures(ids, source.vectors, source.present, source.encoder, source.digest)


def _write_items(items: pl.DataFrame, folder: Path, stem: str) -> list[str]:
    notes, held = [], []
    title = next((name for name in ("title", "text") if name in items.columns), None)
    if title is not None:
        notes += write_first_comma(items.select("item_id", title), folder / f"{stem}_title.csv")
        held.append("title")
    if title == "title" and "text" in items.columns:
        changed = items.filter(pl.col("text") != pl.col("title")).height
        notes += [f"text of {changed:,} items: not the title, and left out"] * bool(changed)
    if {"likes", "views"} <= set(items.columns):
        likes = items.select("item_id", "likes", "views")
        write_delimited(likes, folder / f"{stem}_likes_and_views.txt", "\t", header=False)
        held += ["likes", "views"]
    if "tag" in items.columns:
        notes += write_first_comma(items.select("item_id", "tag"), folder / "tags_to_summary.csv")
        held.append("tag")
    media = (
        f"image in {stem}_covers/<item>.jpg, video in {stem}_videos/<item>.mp4 and audio in"
        f" {stem}_audios/<item>.wav"
    )
    return notes + items_left_out(items, holds=held, media=media)
