"""Our own layout of sources, which is also a project's folder: tables with header, and features.

``interactions.csv``, or ``train.csv``, ``val.csv`` and ``test.csv``, with columns ``user_id``,
``item_id``, perhaps ``rating`` and ``timestamp``; ``items.csv``; features as stores in
``features/<modality>/`` or matrices ``<modality>_feat.npy`` (with ``<modality>_feat.ids.txt``).
Tables may also be TSV, JSONL or Parquet.
"""

import os
from pathlib import Path
from typing import ClassVar

import numpy as np
import polars as pl

from extract.errors import InputError
from extract.files import atomic_path
from extract.locations import is_url
from extract.tables import TABLE_SUFFIXES, read_table, write_table
from mmssl.data.features import SourceFeatures, read_features
from mmssl.data.files.matrices import find_matrices, read_matrix, write_ids
from mmssl.data.formats.base import MEDIA, PARTS, RawDataset, WritableFormat
from mmssl.data.formats.tuples import names_columns
from mmssl.data.interactions import InvalidRows, read_interactions
from mmssl.data.manifest import MANIFEST


class Tables(WritableFormat):
    """A folder of tables and features."""

    name: ClassVar = "tables"
    title: ClassVar = "this toolkit's own: interactions.csv or train|val|test.csv, items.csv"

    def recognises(self, source: Path) -> bool:
        """A folder of interactions, split or not, that `prepare` did not write.

        A ``train.tsv`` without a header is another tool's.
        """
        files = find_interactions(source)
        train = files.get("train")
        if train is not None and train.suffix == ".tsv" and not names_columns(train):
            return False
        return bool(files) and not (source / MANIFEST).is_file()

    def read(self, source: Path, invalid_rows: InvalidRows = "error") -> RawDataset:
        """Read the interactions and all features; see ``Format.read``."""
        files = find_interactions(source)
        if not files:
            raise InputError(
                f"{source}: holds neither interactions.csv nor train.csv, val.csv and test.csv"
                f" (or {', '.join(TABLE_SUFFIXES[1:])})"
            )
        parts = {
            part: read_interactions(path, invalid_rows=invalid_rows) for part, path in files.items()
        }
        features = {modality: read_matrix(path) for modality, path in find_matrices(source).items()}
        for manifest in sorted((source / "features").glob("*/manifest.json")):
            features[manifest.parent.name] = read_features(manifest.parent)
        return RawDataset(parts, features, files)

    def read_items(self, source: Path) -> pl.DataFrame | None:
        """Read ``items.csv``; see ``Format.read_items``."""
        path = _table(source, "items")
        if path is None:
            return None
        # Imported here: extraction's tables of items load torch.
        from extract.item_table import ID_COLUMNS, read_item_ids

        frame = read_table(path)
        column = next((name for name in ID_COLUMNS if name in frame.columns), None)
        if column is None:
            raise InputError(f"{path}: none of the columns {', '.join(ID_COLUMNS)}")
        ids = pl.Series("item_id", read_item_ids(path, column), dtype=pl.String)
        others = [
            frame[name].cast(pl.String, strict=False)
            for name in frame.columns
            if name != column and not frame[name].dtype.is_nested()
        ]
        home = path.resolve().parent
        found = pl.DataFrame([ids, *others])
        return found.with_columns(
            pl.col(medium).map_elements(
                lambda name: name if is_url(name) else str(home / name), return_dtype=pl.String
            )
            for medium in MEDIA
            if medium in found.columns
        )

    def write(
        self, content: RawDataset, items: pl.DataFrame | None, folder: Path, name: str
    ) -> list[str]:
        """Write CSV tables and matrices; see ``WritableFormat.write``."""
        del name
        for part, table in content.parts.items():
            named = {"user": "user_id", "item": "item_id"}
            write_table(table.frame.drop("row").rename(named), folder / f"{part}.csv")
        for modality, source in content.features.items():
            _write_matrix(source, folder / f"{modality}_feat.npy")
        if items is None:
            return []
        write_table(items, folder / "items.csv")
        media = [medium for medium in MEDIA if medium in items.columns]
        roots = sorted({root for medium in media for root in _root(items[medium])})
        return [
            f"{', '.join(media)}: the files stay where they are; `extract` may read them with"
            + "".join(f" --media-root {root}" for root in roots)
        ] * bool(roots)


def _root(paths: pl.Series) -> list[str]:
    """The folder that holds all files of a medium, if there are files; a URL is none."""
    folders = [str(Path(path).parent) for path in paths.drop_nulls() if not is_url(path)]
    return [os.path.commonpath(folders)] if folders else []


def _table(folder: Path, stem: str) -> Path | None:
    return next(
        (path for suffix in TABLE_SUFFIXES if (path := folder / f"{stem}{suffix}").is_file()), None
    )


def find_interactions(folder: Path) -> dict[str, Path]:
    """The files of the interactions by part; a ready split's only where all three are there."""
    if (path := _table(folder, "interactions")) is not None:
        return {"interactions": path}
    parts = {part: path for part in PARTS if (path := _table(folder, part)) is not None}
    return parts if len(parts) == len(PARTS) else {}


def _write_matrix(source: SourceFeatures, path: Path) -> None:
    vectors = source.vectors.copy()
    vectors[~source.present] = np.nan
    with atomic_path(path) as temporary, temporary.open("wb") as handle:
        np.save(handle, vectors, allow_pickle=False)
    write_ids(source.ids, path.with_suffix(".ids.txt"))
