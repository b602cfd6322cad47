"""The order of rows that another tool expects: a list of ids, or a table of ids and row numbers."""

from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from extract.errors import InputError, nearest
from extract.tables import read_id_lines, read_table

# Columns that hold the number of a row, from 0: MMRec's i_id_mapping.csv has itemID beside the
# original id (preprocessing/0rating2inter.ipynb), a dataset's items.parquet has row beside id.
_ROW_COLUMNS = ("itemID", "row")
_ID_COLUMNS = ("item_id", "id", "item")


def read_order(path: Path, id_column: str | None = None) -> pl.Series:
    """Distinct item ids, as strings, in the wanted order of rows.

    Args:
        path: ``.txt``, an id a line; or a table (CSV, TSV, JSONL, Parquet). A table of two columns,
            one of them ``itemID`` or ``row``, says the row of each id: MMRec's
            ``i_id_mapping.csv`` (separated by tabs in spite of its name), a dataset's
            ``items.parquet``. Of any other table the rows are taken as they stand.
        id_column: the column of the ids; None: the one beside the row numbers, else ``item_id``,
            ``id`` or ``item``.

    Raises:
        InputError: unreadable; no such column; an id that is empty or stands in two rows; row
            numbers that are not 0 to n - 1, each once.
    """
    if path.suffix.lower() == ".txt":
        if id_column is not None:
            raise InputError(f"{path}: --id-column {id_column}: a list of ids has no columns")
        return _distinct(path, pl.Series("id", read_id_lines(path), dtype=pl.String))
    table = _read(path)
    if not table.height:
        raise InputError(f"{path}: the table holds no items")
    row_column = next((name for name in _ROW_COLUMNS if name in table.columns), None)
    if table.width != 2:
        row_column = None
    if id_column is None:
        beside = [name for name in table.columns if row_column and name != row_column]
        usual = [name for name in _ID_COLUMNS if name in table.columns]
        if not beside + usual:
            raise InputError(
                f"{path}: none of the columns {', '.join(_ID_COLUMNS)}; name one with --id-column"
                f" (the table has: {', '.join(table.columns)})"
            )
        id_column = (beside + usual)[0]
    elif id_column not in table.columns:
        raise InputError(
            f"{path}: no column {id_column!r}, named by --id-column"
            f"{nearest(id_column, table.columns)}"
        )
    ids = table[id_column]
    if not (ids.dtype == pl.String or ids.dtype.is_integer()):
        raise InputError(
            f"{path}: column {id_column!r} holds {ids.dtype}; item ids are text or integers"
        )
    if row_column is not None:
        ids = ids[_by_row(path, table[row_column])]
    return _distinct(path, ids.cast(pl.String).alias("id"))


def _read(path: Path) -> pl.DataFrame:
    """A table, also one that is named .csv and separated by tabs, as pandas writes it."""
    if path.suffix.lower() != ".csv" or not path.is_file():
        return read_table(path)
    with path.open("rb") as handle:
        head = handle.readline()
    if b"\t" not in head or b"," in head:
        return read_table(path)
    try:
        return pl.read_csv(path, separator="\t", infer_schema=False, glob=False)
    except pl.exceptions.PolarsError as error:
        problem = str(error).splitlines()[0]
        raise InputError(f"{path}: not readable as a table of tabs ({problem})") from None


def _by_row(path: Path, column: pl.Series) -> NDArray[np.intp]:
    rows = column.cast(pl.Int64, strict=False)
    if rows.null_count() or (rows.sort() != pl.int_range(len(rows), eager=True)).any():
        raise InputError(
            f"{path}: column {column.name!r} must hold the row numbers 0 to {len(rows) - 1}, each"
            " once; take the column out to use the rows as they stand"
        )
    return np.argsort(rows.to_numpy())


def _distinct(path: Path, ids: pl.Series) -> pl.Series:
    if not len(ids):
        raise InputError(f"{path}: holds no ids")
    empty = (ids.is_null() | (ids.str.strip_chars() == "")).arg_true()
    if len(empty):
        raise InputError(f"{path}: the item id of row {empty[0]} (from 0) is empty")
    repeated = ids.is_duplicated().arg_true()
    if len(repeated):
        name = ids[int(repeated[0])]
        rows = (ids == name).arg_true()
        raise InputError(f"{path}: item id {name!r} has the rows {rows[0]} and {rows[1]} (from 0)")
    return ids
