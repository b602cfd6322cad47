"""RecBole's additional feature file, as its guide "Load Pre-trained Embedding" describes it.

``data/ml-100k/ml-100k.itememb`` is a header ``iid:token<tab>item_emb:float_seq`` and a line an
item, the numbers separated by blanks. RecBole's configuration then has::

    additional_feat_suffix: [itememb]
    load_col:
      inter: [user_id, item_id]
      itememb: [iid, item_emb]
    alias_of_item_id: [iid]
    preload_weight:
      iid: item_emb

and a model gets the matrix, row i the item that RecBole numbers i, zeros where the file has no
line, by ``dataset.get_preload_weight("iid")``.

Field names must differ between files: a suffix other than ``itememb``, for a second modality,
gives the fields ``<suffix>_id`` and ``<suffix>``.
"""

from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from extract.blocks import blocks
from extract.errors import InputError
from extract.export.summary import ExportSummary, begin_summary
from extract.files import atomic_path
from extract.store import FeatureStore

_OTHER_FILES = ("inter", "user", "item", "kg", "link", "net")
# What pandas.read_csv, with which RecBole reads its files, takes for a missing value.
_NOT_AN_ID = (
    *("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN"),
    *("<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"),
)


def recbole_fields(out: Path) -> tuple[str, str]:
    """The names of the id field and the vector field of a file.

    Raises:
        InputError: the suffix is not one that RecBole could be told of.
    """
    suffix = out.suffix.removeprefix(".")
    if not suffix.replace("-", "_").isidentifier() or suffix in _OTHER_FILES or not out.stem:
        raise InputError(
            f"{out}: RecBole wants <dataset>.itememb, or another suffix of letters that is none of"
            f" {', '.join(_OTHER_FILES)}"
        )
    return ("iid", "item_emb") if suffix == "itememb" else (f"{suffix}_id", suffix)


def write_recbole(store: FeatureStore, out: Path) -> ExportSummary:
    """Write the atomic file; items without a vector have no line, and in RecBole zeros.

    The numbers are the shortest that read back as the same float32.

    Raises:
        InputError: an unusable suffix; an id that RecBole would read as another, or as none; the
            disk is full.
    """
    id_field, vector_field = recbole_fields(out)
    summary = begin_summary("recbole", store)
    summary.files, summary.written = [out], summary.statuses["ok"]
    with atomic_path(out) as temporary, temporary.open("wb") as handle:
        handle.write(f"{id_field}:token\t{vector_field}:float_seq\n".encode())
        for block in blocks(store):
            handle.write(recbole_lines(block.ok_ids, block.ok_vectors))
    suffix = out.suffix.removeprefix(".")
    summary.notes.append(
        f"in RecBole's configuration: additional_feat_suffix: [{suffix}],"
        f" load_col: {{inter: [user_id, item_id], {suffix}: [{id_field}, {vector_field}]}},"
        f" alias_of_item_id: [{id_field}], preload_weight: {{{id_field}: {vector_field}}}"
    )
    return summary


def recbole_lines(ids: pl.Series, vectors: NDArray[np.float32]) -> bytes:
    """The lines of items: the id, a tab, the numbers of its vector.

    Args:
        ids: text.
        vectors: float32 (n, dim).

    Raises:
        InputError: an id that RecBole would read as another, or as none.
    """
    check_recbole_ids("item", ids)
    numbers = pl.Series(vectors.reshape(-1)).cast(pl.String)
    frame = pl.DataFrame({"id": ids, "vector": numbers.reshape(vectors.shape).arr.join(" ")})
    return frame.write_csv(include_header=False, separator="\t", quote_style="never").encode()


def check_recbole_ids(kind: str, ids: pl.Series) -> None:
    """Refuse ids that RecBole would read as something else.

    Raises:
        InputError: names the first.
    """
    odd = ids.str.contains(r'[\t\n\r\x00]|^"') | ids.is_in(list(_NOT_AN_ID))
    if odd.any():
        raise InputError(
            f"{kind} id {ids.filter(odd)[0]!r} cannot stand in a RecBole file: it would be read as"
            " something else (a tab, a line break, a quotation mark in front, or a word for a"
            " missing value)"
        )
