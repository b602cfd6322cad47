"""Tables that people bring - CSV, TSV, JSONL, Parquet - as polars frames of text columns."""

from pathlib import Path

import polars as pl

from extract.errors import InputError

TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")


def table_suffix(path: Path) -> str:
    """The suffix that says what kind of table a path is, in lower case.

    Raises:
        InputError: it is none of ``TABLE_SUFFIXES``.
    """
    suffix = path.suffix.lower()
    if suffix not in TABLE_SUFFIXES:
        raise InputError(f"{path}: unknown kind of table; use one of {', '.join(TABLE_SUFFIXES)}")
    return suffix


def read_table(path: Path, *, header: bool = True) -> pl.DataFrame:
    """Read a table by its suffix; CSV and TSV values stay text, so that an id ``007`` stays itself.

    Args:
        path: a ``.csv``, ``.tsv``, ``.jsonl`` or ``.parquet`` file.
        header: False for CSV or TSV without a header row; columns are then ``"0"``, ``"1"``...

    Returns:
        One row per record. CSV and TSV columns are strings (an empty field is null); JSONL and
        Parquet keep the types they carry.

    Raises:
        InputError: unknown suffix, missing file, or content that is not such a table.
    """
    suffix = table_suffix(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        if suffix == ".parquet":
            return pl.read_parquet(path)
        if path.stat().st_size == 0:
            raise InputError(f"{path}: the file is empty")
        if suffix == ".jsonl":
            return pl.read_ndjson(path, infer_schema_length=None)
        frame = pl.read_csv(
            path,
            separator="\t" if suffix == ".tsv" else ",",
            has_header=header,
            infer_schema=False,
        )
    except (pl.exceptions.PolarsError, OSError) as error:
        first_line = str(error).strip().splitlines()[0]
        raise InputError(f"{path}: not readable as {suffix[1:]} ({first_line})") from None
    if not header:
        frame = frame.rename({name: str(i) for i, name in enumerate(frame.columns)})
    return frame


def write_table(frame: pl.DataFrame, path: Path) -> None:
    """Write a frame atomically as ``.csv``, ``.tsv``, ``.jsonl`` or ``.parquet``, by the suffix.

    Raises:
        InputError: unknown suffix.
    """
    from extract.files import atomic_path

    suffix = table_suffix(path)
    with atomic_path(path) as temporary:
        if suffix == ".parquet":
            frame.write_parquet(temporary)
        elif suffix == ".jsonl":
            frame.write_ndjson(temporary)
        else:
            frame.write_csv(temporary, separator="\t" if suffix == ".tsv" else ",")
