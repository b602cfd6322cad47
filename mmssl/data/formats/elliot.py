"""Elliot's files: TSVs without a header, and Ducho's features in folders beside them.

``elliot/dataset/dataset.py`` (0.3.1, ``DataSetLoader.__init__``) reads user, item, rating and
timestamp, of which the last two may be absent, from the ``dataset_path`` of strategy ``dataset`` or
the ``train_path``, ``test_path`` and perhaps ``validation_path`` of strategy ``fixed``. The names
are free there; these are those of its own data and splitter: ``dataset.tsv``, or ``train.tsv``,
``val.tsv`` (or ``validation.tsv``) and ``test.tsv``. ``VisualAttribute`` and ``TextualAttribute``
(``elliot/dataset/modular_loaders``) are given folders of one ``.npy`` an item.

Those loaders take ``int`` of a file's name, and pandas, which reads the TSVs, turns ``007`` into 7
and ``NA`` into nothing. So ids that are not plain whole numbers are numbered here, and
``user_ids.txt`` and ``item_ids.txt`` hold that of number r in line r, which Elliot does not look
at.
"""

from pathlib import Path
from typing import ClassVar

import polars as pl

from extract.errors import InputError
from mmssl.data.files.delimited import write_delimited
from mmssl.data.files.item_files import (
    find_item_folders,
    modality_folder,
    read_item_files,
    write_item_files,
)
from mmssl.data.files.matrices import write_ids
from mmssl.data.formats.base import RawDataset, WritableFormat, left_out
from mmssl.data.formats.tuples import (
    names_columns,
    read_names,
    read_split,
    read_tuples,
    tuple_frames,
)
from mmssl.data.ids import ordered_ids
from mmssl.data.interactions import InvalidRows

_WHOLE = "dataset.tsv"
_FILES = {"train": ("train.tsv",), "val": ("val.tsv", "validation.tsv"), "test": ("test.tsv",)}
_OPTIONS = {"train": "train_path", "val": "validation_path", "test": "test_path"}
_LOADERS = {"image": "Visual", "text": "Textual", "audio": "Audio"}


class Elliot(WritableFormat):
    """Elliot, and Ducho beside it."""

    name: ClassVar = "elliot"
    title: ClassVar = "Elliot: dataset.tsv or train|val|test.tsv without header, Ducho's .npy files"

    def recognises(self, source: Path) -> bool:
        """A folder of such a TSV, whose first line is no header."""
        return any(
            (source / name).is_file() and not names_columns(source / name)
            for name in ("train.tsv", _WHOLE)
        )

    def read(self, source: Path, invalid_rows: InvalidRows = "error") -> RawDataset:
        """Read a ready split, else ``dataset.tsv``, and all features; see ``Format.read``."""
        files = {
            part: path
            for part, names in _FILES.items()
            for path in [next((source / name for name in names if (source / name).is_file()), None)]
            if path is not None
        }
        names = read_names(source)
        warnings: tuple[str, ...] = ()
        if "train" in files:
            files.setdefault("test", source / "test.tsv")
            parts, warnings = read_split(files, "\t", invalid_rows, names)
        elif (source / _WHOLE).is_file():
            files = {"interactions": source / _WHOLE}
            parts = {"interactions": read_tuples(source / _WHOLE, "\t", invalid_rows, names)}
        else:
            raise InputError(f"{source}: holds neither {_WHOLE} nor train.tsv and test.tsv")
        known = RawDataset(parts).ids("item")
        features = {
            modality: read_item_files(folder, source, known, names.get("item"))
            for modality, folder in find_item_folders(source).items()
        }
        sources = files | {f"{kind} ids": source / f"{kind}_ids.txt" for kind in names}
        return RawDataset(parts, features, sources, warnings)

    def write(
        self, content: RawDataset, items: pl.DataFrame | None, folder: Path, name: str
    ) -> list[str]:
        """Write the TSVs and a folder a modality; see ``WritableFormat.write``."""
        frames, notes = tuple_frames(content, "Elliot")
        notes += left_out(content, items, holds=("rating", "timestamp", "features", "split"))
        numbers = {kind: _numbers(content.ids(kind)) for kind in ("user", "item")}
        for kind, number in numbers.items():
            if any(id_ != of for id_, of in number.items()):
                write_ids(list(number), folder / f"{kind}_ids.txt")
                notes.append(
                    f"{kind}s are numbered, for Elliot takes whole numbers; {kind}_ids.txt holds"
                    " the id of number r in line r, from 0"
                )
        for part, frame in frames.items():
            frame = frame.with_columns(
                pl.col(kind).replace_strict(number) for kind, number in numbers.items()
            )
            if "timestamp" in frame.columns and "rating" not in frame.columns:
                frame = frame.insert_column(2, pl.lit(None).alias("rating"))
            path = folder / (_WHOLE if part == "interactions" else f"{part}.tsv")
            write_delimited(frame, path, "\t", header=False)
        folders: dict[str, str] = {}
        for modality, source in content.features.items():
            inner = modality_folder(modality)
            if inner in folders:
                raise InputError(
                    f"--to {self.name}: {folders[inner]} and {modality} would both be the folder"
                    f" {inner}; rename one of them"
                )
            folders[inner] = modality
            write_item_files(source, numbers["item"], folder / inner)
            absent = int((~source.present).sum())
            if absent:
                notes.append(
                    f"{modality}: {absent:,} of {len(source.ids):,} items have no vector, and no"
                    " file; Elliot leaves such items out"
                )
        return notes + _configuration(name, list(frames), {m: f for f, m in folders.items()})


def _numbers(ids: set[str]) -> dict[str, str]:
    """Id to what stands for it: itself, where all are whole numbers that pandas reads as such."""
    ordered = ordered_ids(ids)
    plain = all(
        id_.isascii() and id_.isdigit() and len(id_) <= 18 and id_ == str(int(id_))
        for id_ in ordered
    )
    return {id_: id_ if plain else str(row) for row, id_ in enumerate(ordered)}


def _configuration(name: str, parts: list[str], folders: dict[str, str]) -> list[str]:
    """The lines of Elliot's configuration, for a file beside the folder that is written."""
    # Elliot formats its paths, and takes those that begin with a dot from the file's folder.
    home = f"./{name}".replace("{", "{{").replace("}", "}}").replace("'", "''")
    if parts == ["interactions"]:
        lines = ["    strategy: dataset", f"    dataset_path: '{home}/{_WHOLE}'"]
    else:
        lines = ["    strategy: fixed"]
        lines += [f"    {_OPTIONS[part]}: '{home}/{part}.tsv'" for part in parts]
    loaded = {modality: folder for modality, folder in folders.items() if modality in _LOADERS}
    if loaded:
        lines.append("    side_information:")
    for modality, folder in loaded.items():
        word = _LOADERS[modality]
        lines.append(f"      - dataloader: {word}Attribute")
        lines.append(f"        {word.lower()}_features: '{home}/{folder}'")
    others = [
        f"{modality}: in {folder}, for which Elliot has no loader of its own"
        for modality, folder in folders.items()
        if modality not in _LOADERS
    ]
    head = "Elliot finds the files by these lines of a configuration beside the folder:"
    return [*others, head, "experiment:", "  data_config:", *lines]
