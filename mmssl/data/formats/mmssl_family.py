"""The folder of MMSSL and LATTICE: ``train|val|test.json`` and ``<modality>_feat.npy``.

A JSON maps a user's number to a list of items' numbers, and row i of a matrix is item i. LATTICE
(``codes/utility/load_data.py``, ``Data.__init__``) has the JSONs in ``5-core/``, or another number,
and the matrices above; MMSSL (``MMSSL/main.py``, ``Trainer.__init__``) and what follows it have all
in one folder, and beside them the training part again as ``train_mat``, a pickled sparse matrix,
which is neither read, for a pickle can run anything, nor written. Where original ids are known,
``user_ids.txt`` and ``item_ids.txt`` hold that of number r in line r; that is our addition, which
those tools do not look at.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import polars as pl

from extract.errors import InputError
from extract.files import atomic_path
from extract.tables import read_id_lines
from mmssl.data.features import SourceFeatures
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

# In MMSSL's environment, where SciPy is: its model reads the training part from this file alone.
_TRAIN_MAT = (
    'python -c "import json, pickle, scipy.sparse as sp;'
    " pairs = [(int(u), i) for u, items in json.load(open('train.json')).items() for i in items];"
    " rows, columns = zip(*pairs);"
    " pickle.dump(sp.csr_matrix(([1.0] * len(pairs), (rows, columns)),"
    " shape=({users}, {items})), open('train_mat', 'wb'))\""
)


class MMSSLFamily(WritableFormat):
    """MMSSL, LATTICE and what descends from them."""

    name: ClassVar = "mmssl"
    title: ClassVar = "MMSSL, LATTICE: train|val|test.json, <modality>_feat.npy"

    def recognises(self, source: Path) -> bool:
        """A folder with a training part."""
        return bool(_homes(source))

    def read(self, source: Path, invalid_rows: InvalidRows = "error") -> RawDataset:
        """Read the three parts and all the matrices; see ``Format.read``."""
        homes = _homes(source)
        if not homes:
            raise InputError(f"{source}: holds no train.json; MMSSL and LATTICE have one")
        if len(homes) > 1:
            raise InputError(
                f"{source}: several folders hold a split"
                f" ({', '.join(each.name or str(each) for each in homes)}); keep one of them there"
            )
        (home,) = homes
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
            {modality: _rows(path, names.get("item")) for modality, path in matrices.items()},
            files | {f"{kind} ids": home / f"{kind}_ids.txt" for kind in names},
        )

    def write(
        self, content: RawDataset, items: pl.DataFrame | None, folder: Path, name: str
    ) -> list[str]:
        """Write all into one folder; see ``WritableFormat.write``."""
        del name
        require_split(content, self.name)
        order = row_order(content.interacted("item"), ordered_ids(content.ids("item")))
        item_ids = IdMap(order, "item")
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
        notes += write_matrices(content.features, item_ids, folder)
        command = _TRAIN_MAT.format(users=len(user_ids), items=len(item_ids))
        return [
            *notes,
            "LATTICE: wants the three JSONs in a folder 5-core/ within",
            "MMSSL: wants train_mat too, a pickle, which is not written here; in its environment,"
            f" within the folder: {command}",
        ]


def _homes(source: Path) -> list[Path]:
    """The folders that hold JSONs, LATTICE's or MMSSL's."""
    cores = sorted(each for each in source.glob("*-core") if each.name[:-5].isdigit())
    return [
        folder
        for folder in (*cores, source)
        if (folder / "train.json").is_file() or (folder / "train_mat").is_file()
    ]


def _rows(path: Path, ids: list[str] | None) -> SourceFeatures:
    """A matrix; without ids its rows are items' numbers, whatever list of ids lies beside it."""
    source = read_matrix(path, ids)
    return source if ids else replace(source, ids=[str(row) for row in range(len(source.ids))])


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
