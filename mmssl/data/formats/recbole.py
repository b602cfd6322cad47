"""RecBole's atomic files: ``<name>.inter``, ``.item``, and vectors in files such as ``.itememb``.

All are tables with tabs whose header gives each column a type: ``user_id:token item_id:token
rating:float timestamp:float``; types are ``token``, ``float``, and sequences of both, separated by
blanks (``recbole/data/dataset/dataset.py``, ``Dataset._load_feat``). A ready split is three files,
``<name>.train.inter``, ``.valid.inter`` and ``.test.inter``, of which RecBole is told by
``benchmark_filename`` (``_load_inter_feat``). Vectors stand in additional files, an id and a
``float_seq`` a line (``_load_additional_feat``, ``_preload_weight_matrix``): the modality ``image``
is ``<name>.imageemb``, and RecBole's own ``.itememb`` the modality ``item``.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import polars as pl

from extract.errors import InputError
from extract.export.recbole import check_recbole_ids
from mmssl.data.features import SourceFeatures
from mmssl.data.files.delimited import write_delimited
from mmssl.data.files.finding import files_ending, first_line
from mmssl.data.formats.base import MEDIA, RawDataset, WritableFormat, left_out
from mmssl.data.formats.recbole_files import AtomicFile, read_atomic, read_vectors, write_vectors
from mmssl.data.ids import ordered_ids
from mmssl.data.interactions import InteractionTable, InvalidRows

_PARTS = {"train": "train", "val": "valid", "test": "test"}
_ROLES = {
    "user": "user_id:token",
    "item": "item_id:token",
    "rating": "rating:float",
    "timestamp": "timestamp:float",
}
_NOT_READ = ("user", "kg", "link", "net")
_EMBEDDING = "emb"
_TEXT_NAME = re.compile(r"title|name|description|brand|categor|genre", re.IGNORECASE)
_FIELD_NAME = re.compile(r'[^\s:"]+')
# Fields that are not the items' own: RecBole has one space of names for all its files.
_TAKEN = ("user_id", "item_id", "rating", "timestamp", "label")


class RecBole(WritableFormat):
    """A folder of atomic files."""

    name: ClassVar = "recbole"
    title: ClassVar = "RecBole: <name>.inter, or .train|valid|test.inter, .item, .<modality>emb"

    def recognises(self, source: Path) -> bool:
        """A ``.inter`` whose header gives types."""
        return any(":" in first_line(path) for path in files_ending(source, ".inter"))

    def read(self, source: Path, invalid_rows: InvalidRows = "error") -> RawDataset:
        """Read the interactions, and the vectors of all additional files; see ``Format.read``."""
        folder, name, files = _data_set(source)
        parts: dict[str, InteractionTable] = {}
        warnings: list[str] = []
        for part, path in files.items():
            file = read_atomic(path)
            columns = _columns(file)
            others = [each for each in file.table.frame.columns if each not in columns.values()]
            if others:
                warnings.append(f"{path}: not read: {', '.join(others)}")
            parts[part] = file.table.interactions(columns, invalid_rows)
        whole = folder / f"{name}.inter"
        unread = [whole] if "train" in files else []
        unread += [folder / f"{name}.{suffix}" for suffix in _NOT_READ]
        warnings += [f"{path}: not read" for path in unread if path.is_file()]
        features: dict[str, SourceFeatures] = {}
        for path in _vector_files(folder, name):
            suffix = path.name.removeprefix(f"{name}.")
            modality = suffix.removesuffix(_EMBEDDING) or suffix
            if modality in features:
                raise InputError(f"{path}: a second file of vectors for '{modality}'; rename one")
            features[modality] = read_vectors(path)
        if "item" in features:
            warnings.append(
                f"{folder / name}.itememb: read as the modality 'item', since the name does not say"
                f" which it is; as {name}.imageemb it would be 'image'"
            )
        return RawDataset(parts, features, files, tuple(warnings))

    def read_items(self, source: Path) -> pl.DataFrame | None:
        """Read ``<name>.item``, of lines with one id the first, as RecBole does.

        ``text`` is the field of that name; without one, the sequences of tokens, and what is called
        a title, name, description, brand, category or genre, joined by ``". "``.
        """
        folder, name, _ = _data_set(source)
        path = folder / f"{name}.item"
        if not path.is_file():
            return None
        file = read_atomic(path)
        key = file.id_field("item_id")
        frame = file.table.frame
        ids = frame[file.column(key)]
        empty = ids.is_null().arg_true()
        if len(empty):
            raise file.table.fault(file.column(key), file.table.rows[empty[0]], "the id is empty")
        own: dict[str, pl.Series] = {}
        for field in (each for each in file.types if each != key):
            name = field
            # A column of a medium's name would hold paths.
            while name in (*MEDIA, "item_id", *own):
                name = f"item_{name}"
            own[name] = frame[file.column(field)]
        texts = [
            file.column(field)
            for field, its in file.types.items()
            if field != key and (its == "token_seq" or _TEXT_NAME.search(field))
        ]
        if texts and "text" not in own:
            joined = pl.concat_str(texts, separator=". ", ignore_nulls=True)
            own["text"] = frame.select(pl.when(joined != "").then(joined)).to_series()
        columns = [each.alias(field) for field, each in own.items()]
        return pl.DataFrame([ids.alias("item_id"), *columns]).unique(
            "item_id", keep="first", maintain_order=True
        )

    def write(
        self, content: RawDataset, items: pl.DataFrame | None, folder: Path, name: str
    ) -> list[str]:
        """Write all under the ids that they have; see ``WritableFormat.write``."""
        roles = [role for role in _ROLES if role in content.together().columns]
        for part, table in content.parts.items():
            for kind in ("user", "item"):
                check_recbole_ids(kind, table.frame[kind])
            file = f"{name}.{_PARTS[part]}.inter" if content.split else f"{name}.inter"
            named = table.frame.select(pl.col(role).alias(_ROLES[role]) for role in roles)
            write_delimited(named, folder / file, "\t", header=True)
        notes = left_out(content, None, holds={"features", "split", *roles})
        written: list[tuple[str, str, str]] = []
        for modality, source in content.features.items():
            if source.present.any():
                written.append(write_vectors(source, folder, name, modality))
            else:
                notes.append(f"{modality}: left out, for no item has a vector")
        if items is not None:
            taken = {*_TAKEN, *(field for _, *fields in written for field in fields)}
            notes += _write_items(items, content.ids("item"), folder / f"{name}.item", taken)
        else:
            notes += _unknown(content)
        return [*notes, _configuration(content, name, roles, written)]


def _data_set(source: Path) -> tuple[Path, str, dict[str, Path]]:
    """The folder, the data set's name, and its files of interactions by part.

    Raises:
        InputError: there is none, or of several none bears the folder's name.
    """
    folder = source if source.is_dir() else source.parent
    found: dict[str, dict[str, Path]] = {}
    for path in files_ending(source, ".inter"):
        stem = path.name.removesuffix(".inter")
        base, _, part = stem.rpartition(".")
        split = {ours: folder / f"{base}.{theirs}.inter" for ours, theirs in _PARTS.items()}
        if part in _PARTS.values() and all(each.is_file() for each in split.values()):
            found[base] = split
        else:
            found.setdefault(stem, {"interactions": path})
    if not found:
        raise InputError(f"{source}: holds no <name>.inter, which RecBole has")
    name = folder.resolve().name
    if len(found) > 1 and name not in found:
        raise InputError(
            f"{source}: several data sets ({', '.join(found)}); name the .inter of one. A ready"
            " split is <name>.train.inter, <name>.valid.inter and <name>.test.inter"
        )
    name = name if name in found else next(iter(found))
    return folder, name, found[name]


def _columns(file: AtomicFile) -> dict[str, str]:
    """Role to column.

    Raises:
        InputError: users or items cannot be told.
    """
    # Each is looked for among what is not the other's by its name.
    user = file.id_field("user_id", "item_id")
    fields = {"user": user, "item": file.id_field("item_id", user)}
    fields |= {role: role for role in ("rating", "timestamp") if role in file.types}
    return {role: file.column(field) for role, field in fields.items()}


def _vector_files(folder: Path, name: str) -> list[Path]:
    """The additional files: a suffix that is none of RecBole's own, and a ``float_seq``."""
    return [
        path
        for path in sorted(folder.iterdir())
        if path.name.startswith(f"{name}.")
        and "." not in (suffix := path.name.removeprefix(f"{name}."))
        and suffix not in ("inter", "item", *_NOT_READ)
        and ":float_seq" in first_line(path)
    ]


def _write_items(items: pl.DataFrame, ids: set[str], path: Path, taken: set[str]) -> list[str]:
    """Write the ``.item``; a note names the columns that it cannot hold.

    Of the items in ``ids`` that the table does not describe there are lines without values: once
    the file is loaded, RecBole drops interactions with items that have no line.
    """
    others = pl.Series("item_id", ordered_ids(ids - set(items["item_id"])), dtype=pl.String)
    items = pl.concat([items, others.to_frame()], how="diagonal")
    check_recbole_ids("item", items["item_id"])
    columns = [name for name in items.columns if name != "item_id"]
    held = [
        name
        for name in columns
        if name not in MEDIA and name not in taken and _FIELD_NAME.fullmatch(name)
    ]
    named = items.select(
        pl.col("item_id").alias("item_id:token"),
        *(pl.col(each).alias(f"{each}:{_type(each)}") for each in held),
    )
    write_delimited(named, path, "\t", header=True, quoted=True)
    lost = [name for name in columns if name not in held]
    return [f"{path.name}: has no place for {', '.join(lost)}"] * bool(lost)


def _type(column: str) -> str:
    return "token_seq" if column == "text" else "token"


def _unknown(content: RawDataset) -> list[str]:
    """A note on items of which no file has a line."""
    known = content.interacted("item")
    for source in content.features.values():
        known.update(pl.Series(source.ids, dtype=pl.String).filter(pl.Series(source.present)))
    lost = len(content.ids("item") - known)
    return [f"left out {lost:,} items without interactions and vectors"] * bool(lost)


def _configuration(
    content: RawDataset, name: str, roles: Sequence[str], written: Sequence[tuple[str, str, str]]
) -> str:
    """What to tell RecBole, as one line of YAML."""
    inter = ", ".join(_ROLES[role].partition(":")[0] for role in roles)
    loaded = "".join(f", {suffix}: [{', '.join(fields)}]" for suffix, *fields in written)
    told = [f"dataset: {name}"]
    if content.split:
        told.append(f"benchmark_filename: [{', '.join(_PARTS.values())}]")
    told.append(f"load_col: {{inter: [{inter}]{loaded}}}")
    if written:
        weights = ", ".join(f"{id_field}: {field}" for _, id_field, field in written)
        told += [
            f"additional_feat_suffix: [{', '.join(suffix for suffix, *_ in written)}]",
            f"alias_of_item_id: [{', '.join(id_field for _, id_field, _ in written)}]",
            f"preload_weight: {{{weights}}}",
        ]
    return f"in RecBole's configuration: {{{', '.join(told)}}}, and data_path: the folder above"
