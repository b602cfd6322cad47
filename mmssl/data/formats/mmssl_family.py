"""The folder of MMSSL and LATTICE: ``train|val|test.json`` and ``<modality>_feat.npy``.

A JSON maps a user's number to a list of items' numbers, and row i of a matrix is item i. LATTICE
(``utility/load_data.py``, ``Data.__init__``) has the JSONs in ``5-core/`` and the matrices above;
MMSSL (``utility/load_data.py`` and ``main.py``, ``Trainer.__init__``) has all in one folder, and
beside them the same interactions again as ``train_mat``, a pickle, which is not read: it can run
anything. Where original ids are known, ``user_ids.txt`` and ``item_ids.txt`` hold that of number r
in line r; that is our addition, which those tools do not look at.
"""

import json
from pathlib import Path
from typing import ClassVar

import numpy as np
import polars as pl

from extract.errors import InputError
from extract.files import atomic_path
from extract.tables import read_id_lines
from mmssl.data.files.matrices import (
    find_matrices,
    read_matrix,
    row_order,
    write_ids,
    write_matrices,
)
from mmssl.data.formats.base import PARTS, RawDataset, WritableFormat, left_out, require_split
from mmssl.data.ids import IdMap, ordered_ids
from mmssl.data.interactions import InteractionTable, InvalidRows, read_interactions

_CORE = "5-core"


class MMSSLFamily(WritableFormat):
    """MMSSL, LATTICE and what descends from them."""

    name: ClassVar = "mmssl"
    title: ClassVar = "MMSSL, LATTICE: train|val|test.json, <modality>_feat.npy"

    def recognises(self, source: Path) -> bool:
        """A folder with a training part."""
        return _home(source) is not None

    def read(self, source: Path, invalid_rows: InvalidRows = "error") -> RawDataset:
        """Read the three parts and all the matrices; see ``Format.read``."""
        home = _home(source)
        if home is None:
            raise InputError(f"{source}: holds no train.json; MMSSL and LATTICE have one")
        for part in PARTS:
            if not (home / f"{part}.json").is_file() and (home / f"{part}_mat").exists():
                raise InputError(
                    f"{home / f'{part}_mat'}: a pickle, which can run anything and is not read; in"
                    " the environment of who made it, write it as JSON:"
                    f" json.dump({{u: row.tolist() for u, row in enumerate(matrix.tolil().rows)}},"
                    f" open('{part}.json', 'w'))"
                )
        files = {part: home / f"{part}.json" for part in PARTS}
        names = {
            kind: _named(home / f"{kind}_ids.txt")
            for kind in ("user", "item")
            if (home / f"{kind}_ids.txt").is_file()
        }
        parts = {
            part: _with_names(read_interactions(path, invalid_rows=invalid_rows), names)
            for part, path in files.items()
        }
        matrices = find_matrices(source) | find_matrices(home)
        return RawDataset(
            parts,
            {modality: read_matrix(path, names.get("item")) for modality, path in matrices.items()},
            files | {f"{kind} ids": home / f"{kind}_ids.txt" for kind in names},
        )

    def write(
        self, content: RawDataset, items: pl.DataFrame | None, folder: Path, name: str
    ) -> list[str]:
        """Write all into one folder; see ``WritableFormat.write``."""
        del name
        require_split(content, self.name)
        interacted = {
            id_ for table in content.parts.values() for id_ in table.frame["item"].unique()
        }
        item_ids = IdMap(row_order(interacted, ordered_ids(content.ids("item"))), "item")
        user_ids = IdMap(ordered_ids(content.ids("user")), "user")
        for part in PARTS:
            frame = content.parts[part].frame
            lists: dict[str, list[int]] = {}
            users, rows = user_ids.rows(frame["user"]), item_ids.rows(frame["item"])
            for at in np.lexsort((rows, users)):
                lists.setdefault(str(users[at]), []).append(int(rows[at]))
            with atomic_path(folder / f"{part}.json") as temporary:
                temporary.write_text(json.dumps(lists) + "\n", encoding="utf-8")
        for kind, ids in (("user", user_ids), ("item", item_ids)):
            if ids.ids != [str(row) for row in range(len(ids))]:
                write_ids(ids.ids, folder / f"{kind}_ids.txt")
        notes = left_out(content, items, holds=("features", "split"))
        return notes + write_matrices(content.features, item_ids, folder)


def _home(source: Path) -> Path | None:
    """The folder of the JSONs, LATTICE's or MMSSL's."""
    for folder in (source / _CORE, source):
        if (folder / "train.json").is_file() or (folder / "train_mat").is_file():
            return folder
    return None


def _named(path: Path) -> list[str]:
    ids = read_id_lines(path)
    IdMap(ids)
    return ids


def _with_names(table: InteractionTable, names: dict[str, list[str]]) -> InteractionTable:
    """The table with original ids in place of numbers.

    Raises:
        InputError: a number beyond the list of ids.
    """
    frame = table.frame
    for kind, ids in names.items():
        numbers = frame[kind].cast(pl.UInt32, strict=False)
        wrong = (numbers.is_null() | (numbers >= len(ids))).arg_true()
        if len(wrong):
            raise InputError(
                f"{table.path}: {kind} {frame[kind][wrong[0]]!r} is no line of {kind}_ids.txt,"
                f" which has {len(ids)}, from 0; mend one of them"
            )
        frame = frame.with_columns(pl.Series(kind, ids, dtype=pl.String).gather(numbers))
    return InteractionTable(table.path, frame, table.invalid)
