"""One of RecBole's atomic files: a table with tabs, whose header gives each column a type."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from extract.errors import InputError
from extract.export.recbole import recbole_fields, recbole_lines
from extract.files import atomic_path, sha256_file
from mmssl.data.features import SourceFeatures
from mmssl.data.files.delimited import DelimitedTable, read_delimited

TYPES = ("token", "token_seq", "float", "float_seq")
# Lines whose numbers are parsed, or written, at once.
_BLOCK = 1024


@dataclass(frozen=True)
class AtomicFile:
    """What a file holds: ``table``, its columns named ``field:type``, and the types by field."""

    table: DelimitedTable
    types: dict[str, str]

    def column(self, field: str) -> str:
        """The name of a field's column."""
        return f"{field}:{self.types[field]}"

    def fields(self, *types: str) -> list[str]:
        """The fields of some types, in the order of the file."""
        return [field for field, its in self.types.items() if its in types]

    def id_field(self, name: str, *others: str) -> str:
        """The field of the ids: the one of that name, else the only token ending in ``_id``.

        Args:
            name: the usual name.
            others: fields that are something else.

        Raises:
            InputError: there is none, or several could be meant.
        """
        if self.types.get(name) == "token":
            return name
        ids = [each for each in self.fields("token") if each.endswith("_id") and each not in others]
        if len(ids) == 1:
            return ids[0]
        found = f" ({' or '.join(ids)}?)" if ids else ""
        raise InputError(
            f"{self.table.path}, line 1: no column '{name}:token'{found}; name the column so"
        )


def read_atomic(path: Path) -> AtomicFile:
    """Read a file.

    Raises:
        InputError: not readable, or a column of the header without a type.
    """
    # RecBole reads with pandas, to which quotes count.
    table = read_delimited(path, "\t", quoted=True)
    types: dict[str, str] = {}
    for place, column in enumerate(table.frame.columns, start=1):
        field, _, its = column.partition(":")
        if not field or its not in TYPES or field in types:
            raise InputError(
                f"{path}, line 1, column {place}: '{column}' is no name and type of its own, as in"
                f" 'item_id:token'; types are {', '.join(TYPES)}"
            )
        types[field] = its
    return AtomicFile(table, types)


def read_vectors(path: Path) -> SourceFeatures:
    """Read an additional file: an id and a ``float_seq`` a line; an empty one is no vector.

    Raises:
        InputError: no such columns, an id twice, what is no number, or vectors of several lengths.
    """
    file = read_atomic(path)
    tokens, sequences = file.fields("token"), file.fields("float_seq")
    if not tokens or len(sequences) != 1:
        raise InputError(
            f"{path}, line 1: wants one column of ids, 'iid:token', and one of vectors,"
            " 'item_emb:float_seq'"
        )
    ids = file.table.unique_ids(file.column(tokens[0]))
    vectors, present = _numbers(file.table, file.column(sequences[0]))
    return SourceFeatures(ids.to_list(), vectors, present, None, sha256_file(path))


def write_vectors(
    source: SourceFeatures, folder: Path, name: str, modality: str
) -> tuple[str, str, str]:
    """Write ``<name>.<modality>emb``, a line for each item with a vector.

    Returns:
        The file's suffix, and its fields of ids and of vectors.

    Raises:
        InputError: a modality or an id that RecBole cannot have.
    """
    suffix = f"{modality}emb"
    path = folder / f"{name}.{suffix}"
    if "." in modality:
        raise InputError(f"--to recbole: the modality '{modality}' has a point in it; rename it")
    id_field, vector_field = recbole_fields(path)
    ids = pl.Series(source.ids, dtype=pl.String).filter(pl.Series(source.present))
    vectors = source.vectors[source.present]
    with atomic_path(path) as temporary, temporary.open("wb") as handle:
        handle.write(f"{id_field}:token\t{vector_field}:float_seq\n".encode())
        for start in range(0, len(ids), _BLOCK):
            block = slice(start, start + _BLOCK)
            handle.write(recbole_lines(ids[block], vectors[block]))
    return suffix, id_field, vector_field


def _numbers(table: DelimitedTable, column: str) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Vectors (n, dim) and present (n,) of a column of numbers with blanks between them."""
    texts = table.frame[column].fill_null("")
    blocks: list[NDArray[Any]] = []
    lengths = np.zeros(len(texts), dtype=np.int64)
    for start in range(0, len(texts), _BLOCK):
        words = texts[start : start + _BLOCK].str.split(" ")
        words = words.list.eval(pl.element().filter(pl.element() != ""))
        its = words.list.len().to_numpy()
        lengths[start : start + _BLOCK] = its
        flat = words.filter(pl.Series(its > 0)).explode()
        numbers = flat.cast(pl.Float32, strict=False)
        wrong = numbers.is_null().arg_true()
        if len(wrong):
            at = start + int(np.searchsorted(its.cumsum(), wrong[0], side="right"))
            raise table.fault(column, table.rows[at], f"{flat[wrong[0]]!r} is no number")
        blocks.append(numbers.to_numpy())
    present = lengths > 0
    if not present.any():
        raise InputError(f"{table.path}: no vector in it")
    dim = lengths[present][0]
    odd = np.flatnonzero(present & (lengths != dim))
    if len(odd):
        raise table.fault(
            column, table.rows[int(odd[0])], f"{lengths[odd[0]]} numbers, where {dim} came before"
        )
    vectors = np.zeros((len(texts), dim), dtype=np.float32)
    vectors[present] = np.concatenate(blocks).reshape(-1, dim)
    present &= np.isfinite(vectors).all(axis=1)
    vectors[~present] = 0
    return vectors, present
