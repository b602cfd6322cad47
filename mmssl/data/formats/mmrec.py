"""MMRec's folder: ``<name>.inter``, ``<modality>_feat.npy``, and what its numbers stand for.

The ``.inter`` is a table with tabs and a header, ``userID itemID rating timestamp x_label``; MMRec
reads the two ids and ``x_label``, which is 0 for training, 1 for validation and 2 for test
(``src/utils/dataset.py``, ``RecDataset``). Ids are numbers from 0, and the number of items is the
highest one plus 1; row i of ``image_feat.npy`` and ``text_feat.npy`` is item i, and their models
want as many rows as there are items (``src/common/abstract_recommender.py``,
``GeneralRecommender``). ``i_id_mapping.csv`` and ``u_id_mapping.csv``, separated by tabs, have the
original ids (``preprocessing/0rating2inter.ipynb``); MMRec itself does without them. The graphs of
users beside them, ``user_graph_dict.npy``, are pickles and are not read.
"""

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import polars as pl

from extract.errors import InputError
from mmssl.data.features import SourceFeatures
from mmssl.data.files.delimited import DelimitedTable, read_delimited, write_delimited
from mmssl.data.files.finding import files_ending, first_line
from mmssl.data.files.matrices import find_matrices, read_matrix, row_order, write_matrices
from mmssl.data.formats.base import PARTS, RawDataset, WritableFormat, left_out, require_split
from mmssl.data.ids import IdMap, ordered_ids
from mmssl.data.interactions import InteractionTable, InvalidRows

_NUMBERS = {"user": "userID", "item": "itemID"}
_MAPPINGS = {"user": "u_id_mapping.csv", "item": "i_id_mapping.csv"}
_ORIGINALS = {"user": "user_id", "item": "asin"}
_LABEL = "x_label"
_READ = (*_NUMBERS.values(), "rating", "timestamp", _LABEL)
_CONFIGURED = {"image": "vision_feature_file", "text": "text_feature_file"}


class MMRec(WritableFormat):
    """MMRec's data sets, as Baby, Sports and MicroLens are shared."""

    name: ClassVar = "mmrec"
    title: ClassVar = "MMRec: <name>.inter with x_label, <modality>_feat.npy"

    def recognises(self, source: Path) -> bool:
        """A ``.inter`` whose header gives no types; with types it is RecBole's."""
        return any(":" not in first_line(path) for path in files_ending(source, ".inter"))

    def read(self, source: Path, invalid_rows: InvalidRows = "error") -> RawDataset:
        """Read the interactions by their label, and all the matrices; see ``Format.read``."""
        path = _inter_file(source)
        table = read_delimited(path, "\t", columns=_READ)
        table.require(*_NUMBERS.values(), _LABEL)
        mappings = {
            kind: path.with_name(name)
            for kind, name in _MAPPINGS.items()
            if path.with_name(name).is_file()
        }
        names = {kind: _read_mapping(each, kind) for kind, each in mappings.items()}
        parts = {
            part: _with_names(piece, piece.interactions(_columns(piece), invalid_rows), names)
            for part, piece in _by_label(table).items()
        }
        features = {
            modality: _read_rows(matrix, names.get("item"))
            for modality, matrix in find_matrices(path.parent).items()
        }
        highest = table.frame[_NUMBERS["item"]].cast(pl.Int64, strict=False).max() or 0
        warnings = [
            f"{path.with_name(modality)}_feat.npy: {len(each.ids):,} rows, while the highest"
            f" {_NUMBERS['item']} is {highest!r}: MMRec's models want one more than that"
            for modality, each in features.items()
            if len(each.ids) - 1 != highest
        ]
        warnings += [
            f"{graph}: not read, for it is a pickle, which can run anything"
            for graph in sorted(path.parent.glob("*_dict.npy"))
        ]
        sources = {"interactions": path} | {f"{kind} ids": each for kind, each in mappings.items()}
        return RawDataset(parts, features, sources, tuple(warnings))

    def write(
        self, content: RawDataset, items: pl.DataFrame | None, folder: Path, name: str
    ) -> list[str]:
        """Write all, numbered from 0; see ``WritableFormat.write``."""
        require_split(content, self.name)
        ids = {
            "user": IdMap(ordered_ids(content.ids("user")), "user"),
            "item": IdMap(
                row_order(content.interacted("item"), ordered_ids(content.ids("item"))), "item"
            ),
        }
        labels = [
            pl.repeat(label, content.parts[part].frame.height, dtype=pl.Int64, eager=True)
            for label, part in enumerate(PARTS)
        ]
        together = RawDataset({part: content.parts[part] for part in PARTS}).together()
        numbered = together.select(
            *(
                pl.Series(column, ids[kind].rows(together[kind]))
                for kind, column in _NUMBERS.items()
            ),
            *(column for column in ("rating", "timestamp") if column in together.columns),
            pl.concat(labels).alias(_LABEL),
        )
        write_delimited(numbered, folder / f"{name}.inter", "\t", header=True)
        for kind, mapping in _MAPPINGS.items():
            lines = {_ORIGINALS[kind]: ids[kind].ids, _NUMBERS[kind]: range(len(ids[kind]))}
            write_delimited(pl.DataFrame(lines), folder / mapping, "\t", header=True, quoted=True)
        holds = {"features", "split"} | set(together.columns) & {"rating", "timestamp"}
        return [
            *left_out(content, items, holds=holds),
            *write_matrices(content.features, ids["item"], folder),
            *_cold_users(content),
            *_configuration(content, name),
        ]


def _inter_file(source: Path) -> Path:
    """The one file of interactions, in a folder of several the one that bears its name.

    Raises:
        InputError: there is none, or it cannot be told.
    """
    files = files_ending(source, ".inter")
    if not files:
        raise InputError(f"{source}: holds no <name>.inter, which MMRec has")
    named = source / f"{source.resolve().name}.inter"
    if len(files) > 1 and named not in files:
        names = ", ".join(each.name for each in files)
        raise InputError(f"{source}: several files of interactions ({names}); name one of them")
    return named if named in files else files[0]


def _columns(table: DelimitedTable) -> dict[str, str]:
    there = [name for name in ("rating", "timestamp") if name in table.frame.columns]
    return _NUMBERS | {name: name for name in there}


def _by_label(table: DelimitedTable) -> dict[str, DelimitedTable]:
    """The table's three parts.

    Raises:
        InputError: a label is none of 0, 1 and 2.
    """
    labels = table.numbers(_LABEL)
    wrong = (~labels.is_between(0, 2)).arg_true()
    if len(wrong):
        raise table.fault(
            _LABEL,
            table.rows[wrong[0]],
            f"{labels[wrong[0]]} is no part of a split: 0 is training, 1 validation, 2 test",
        )
    parts = {}
    for label, part in enumerate(PARTS):
        its = labels == label
        parts[part] = replace(table, frame=table.frame.filter(its), rows=table.rows.filter(its))
    return parts


def _read_mapping(path: Path, kind: str) -> pl.DataFrame:
    """``number`` (int64) and ``id`` (text), both distinct.

    Raises:
        InputError: a column is missing, or a value is empty, no number, or there twice.
    """
    table = read_delimited(path, "\t", quoted=True)
    column = _NUMBERS[kind]
    numbers = table.numbers(column)
    originals = [name for name in table.frame.columns if name != column]
    if not originals:
        raise InputError(f"{path}, line 1: no column of original ids beside '{column}'")
    repeated = (~numbers.is_first_distinct() | (numbers < 0)).arg_true()
    if len(repeated):
        raise table.fault(
            column,
            table.rows[repeated[0]],
            f"{numbers[repeated[0]]} is below 0, or stands there twice",
        )
    return pl.DataFrame({"number": numbers, "id": table.unique_ids(originals[0])})


def _with_names(
    file: DelimitedTable, table: InteractionTable, names: dict[str, pl.DataFrame]
) -> InteractionTable:
    """The interactions under their original ids, or where they are not known, plain numbers.

    Raises:
        InputError: what should be a number is none, or no number that the mapping knows.
    """
    frame = table.frame
    for kind, column in _NUMBERS.items():
        # As unsigned numbers, so that -1 is none.
        numbers = frame[kind].cast(pl.UInt32, strict=False).cast(pl.Int64)
        known = names.get(kind)
        ids = numbers.cast(pl.String) if known is None else _names_of(numbers, known)
        unknown = ids.is_null().arg_true()
        if len(unknown):
            value, row = frame[kind][unknown[0]], frame["row"][unknown[0]]
            problem = (
                f"{value!r} is no number from 0"
                if numbers[unknown[0]] is None
                else f"{value} has no line in {_MAPPINGS[kind]}; mend one of them"
            )
            raise file.fault(column, row, problem)
        frame = frame.with_columns(ids.alias(kind))
    return InteractionTable(table.path, frame, table.invalid)


def _names_of(numbers: pl.Series, known: pl.DataFrame) -> pl.Series:
    """The ids of numbers, null where unknown."""
    asked = pl.DataFrame({"number": numbers})
    return asked.join(known, on="number", how="left", maintain_order="left")["id"]


def _read_rows(path: Path, known: pl.DataFrame | None) -> SourceFeatures:
    """A matrix, its rows under their original ids.

    Raises:
        InputError: not a matrix, or a row whose number has no original id.
    """
    source = read_matrix(path)
    numbers = pl.int_range(len(source.ids), dtype=pl.Int64, eager=True)
    ids = numbers.cast(pl.String) if known is None else _names_of(numbers, known)
    unknown = ids.is_null().arg_true()
    if len(unknown):
        raise InputError(
            f"{path}: row {unknown[0]} of {len(ids)}, from 0, has no line in {_MAPPINGS['item']};"
            " mend one of them"
        )
    return replace(source, ids=ids.to_list())


def _cold_users(content: RawDataset) -> list[str]:
    trained = content.parts["train"].frame["user"].unique().implode()
    cold = sum(int((~content.parts[part].frame["user"].is_in(trained)).sum()) for part in PARTS[1:])
    return [
        f"{cold:,} interactions of validation and test are of users whom nothing trains; MMRec"
        " leaves them out (filter_out_cod_start_users)"
    ] * bool(cold)


def _configuration(content: RawDataset, name: str) -> list[str]:
    """What to tell MMRec, and which modalities it has no place for."""
    # MMRec asks for both, there or not.
    files = "".join(
        f", {option}: '{modality}_feat.npy'" for modality, option in _CONFIGURED.items()
    )
    others = [modality for modality in content.features if modality not in _CONFIGURED]
    notes = [
        f"in MMRec: the folder as data/{name}, and in src/configs/dataset/{name}.yaml:"
        f" USER_ID_FIELD: userID, ITEM_ID_FIELD: itemID, inter_file_name: '{name}.inter',"
        f' field_separator: "\\t"{files}'
    ]
    if others:
        notes.append(
            f"{', '.join(others)}: written, but MMRec reads image and text only; give a matrix"
            " that name to have it read"
        )
    if not content.features.keys() & _CONFIGURED.keys():
        notes.append("without image or text features MMRec runs only models that need none")
    return notes
