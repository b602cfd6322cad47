"""Interactions as people bring them: a table of users, items and perhaps ratings and times."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import polars as pl
from pydantic import BaseModel, ConfigDict

from extract.errors import InputError, nearest
from extract.tables import read_table
from mmssl.data.files.mmssl_json import read_mmssl_json
from mmssl.data.filters import Removed
from mmssl.data.ids import id_texts

InvalidRows = Literal["error", "drop"]

# ASCII digits only, as ``datetime.fromisoformat`` has them.
_PLAIN = {
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$": "%Y-%m-%d",
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}$": "%Y-%m-%d %H:%M:%S",
}

DEFAULT_NAMES: dict[str, tuple[str, ...]] = {
    "user": ("user", "user_id", "userId"),
    "item": ("item", "item_id", "itemId"),
    "rating": ("rating",),
    "timestamp": ("timestamp",),
}


class Columns(BaseModel):
    """Which column holds what, by name or by position from 0; an absent one is not read."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    user: str | int
    item: str | int
    rating: str | int | None = None
    timestamp: str | int | None = None

    @classmethod
    def parse(cls, text: str) -> "Columns":
        """Read ``user=NAME,item=NAME[,rating=NAME][,timestamp=NAME]``; digits are positions.

        Raises:
            InputError: not of this form, or user or item is not named.
        """
        named: dict[str, str | int] = {}
        for part in text.split(","):
            role, equals, column = part.partition("=")
            if not equals or not column:
                raise InputError(f"--columns {text}: '{part}' is not of the form user=NAME")
            if role not in DEFAULT_NAMES:
                raise InputError(
                    f"--columns {text}: no such column '{role}'{nearest(role, list(DEFAULT_NAMES))}"
                )
            if role in named:
                raise InputError(f"--columns {text}: '{role}' is named twice")
            named[role] = int(column) if column.isascii() and column.isdigit() else column
        for role in ("user", "item"):
            if role not in named:
                raise InputError(f"--columns {text}: {role}=NAME is missing")
        return cls.model_validate(named)

    @property
    def by_position(self) -> bool:
        """Whether any column is named by its position."""
        return any(isinstance(value, int) for _, value in self)


@dataclass(frozen=True)
class InteractionTable:
    """What was read from one file.

    ``frame``: ``user``, ``item`` (text, not empty), ``rating`` (float64, finite) and ``timestamp``
    (int64 or float64, finite; microseconds since 1970 where the file holds dates) if the file has
    them, and ``row`` (int64): the record's number in the file, the first after the header being 1.
    ``invalid``: which rows were dropped as invalid, a step a reason.
    """

    path: Path
    frame: pl.DataFrame
    invalid: tuple[Removed, ...] = ()


def read_interactions(
    path: Path,
    *,
    columns: Columns | None = None,
    header: bool | None = None,
    invalid_rows: InvalidRows = "error",
) -> InteractionTable:
    """Read a table of interactions: CSV, TSV, JSONL, Parquet, or the MMSSL family's JSON.

    Args:
        path: the file; its suffix says its kind.
        columns: where the values are; None looks for the names of ``DEFAULT_NAMES``.
        header: whether a CSV or TSV begins with a header row; None means yes, unless ``columns``
            are given by position.
        invalid_rows: a row with an empty id, a rating that is not a finite number or a timestamp
            that is neither a number nor an ISO 8601 date is an ``error``, or a counted ``drop``.
            A rating or timestamp column is checked whenever it is read; ``columns`` without it
            leaves it unread.

    Raises:
        InputError: the file cannot be read, lacks a column, or holds an invalid row (the message
            names file and row).
    """
    if path.suffix.lower() == ".json":
        table = read_mmssl_json(path)
        columns = Columns(user="user", item="item")
    else:
        if header is None:
            header = columns is None or not columns.by_position
        table = read_table(path, header=header)
        columns = columns or _default_columns(path, table)
    frame = pl.DataFrame(
        {role: _column(path, table, name) for role, name in columns if name is not None}
    ).with_columns(pl.int_range(1, pl.len() + 1, dtype=pl.Int64).alias("row"))
    if columns.by_position and not header and frame.height:
        _refuse_header_as_data(path, frame)
    names = dict(columns)

    def place(role: str, row: int) -> str:
        # Of the family's JSON the reader itself has refused what is no pair.
        name = names[role]
        return (
            f"row {row}, column {name}" if isinstance(name, int) else f"row {row}, column '{name}'"
        )

    return check_interactions(path, frame, invalid_rows, place, chosen=True)


def _default_columns(path: Path, table: pl.DataFrame) -> Columns:
    found: dict[str, str] = {}
    for role, names in DEFAULT_NAMES.items():
        there = [name for name in names if name in table.columns]
        if len(there) > 1:
            raise InputError(
                f"{path}: both '{there[0]}' and '{there[1]}' could be the {role}; say which:"
                f" --columns {role}={there[0]},..."
            )
        if there:
            found[role] = there[0]
        elif role in ("user", "item"):
            raise InputError(
                f"{path}: no {role} column (columns: {_named(table.columns)});"
                f"{_other_separator(table.columns)} name it: --columns user=NAME,item=NAME, or"
                " user=0,item=1 for a file without a header"
            )
    return Columns.model_validate(found)


def _named(columns: list[str]) -> str:
    """The names in one line: a quote that is not closed may have taken a whole file for one."""
    return ", ".join(" ".join(name.split())[:80] for name in columns)


def _other_separator(columns: list[str]) -> str:
    """A hint where a table seems to have one column because another separator stands in it."""
    name = columns[0]
    found = next((mark for mark in (";", "\t", "|", ",") if mark in name), None)
    if len(columns) > 1 or found is None:
        return ""
    return f" between its values stands {found!r}: save it with commas, or with tabs as .tsv; or"


def _column(path: Path, table: pl.DataFrame, name: str | int) -> pl.Series:
    if isinstance(name, int):
        if name >= table.width:
            raise InputError(f"{path}: no column at position {name}: it has {table.width} columns")
        return table.to_series(name)
    if name not in table.columns:
        raise InputError(f"{path}: no column '{name}'{nearest(name, table.columns)}")
    return table[name]


def _refuse_header_as_data(path: Path, frame: pl.DataFrame) -> None:
    if str(frame["user"][0]) in DEFAULT_NAMES["user"] and (
        str(frame["item"][0]) in DEFAULT_NAMES["item"]
    ):
        raise InputError(f"{path}: row 1 is a header, not an interaction; add --header")


def check_interactions(
    path: Path,
    frame: pl.DataFrame,
    invalid_rows: InvalidRows,
    place: Callable[[str, int], str],
    *,
    chosen: bool = False,
) -> InteractionTable:
    """Turn the columns of a file, as they were read, into those of an ``InteractionTable``.

    Args:
        path: the file, for messages.
        frame: ``user``, ``item``, perhaps ``rating`` and ``timestamp``, of whatever type the file
            gives them; ``row`` int64, rising.
        invalid_rows: as of ``read_interactions``.
        place: the words for where a role's value stands in the file, given role and ``row``.
        chosen: whether the person could leave a column out by ``--columns``.

    Raises:
        InputError: all rows are invalid, or an invalid one is an error.
    """
    raw = frame
    reasons: dict[str, pl.Series] = {}
    for role in ("user", "item"):
        ids = id_texts(path, frame[role])
        frame = frame.with_columns(ids.alias(role))
        reasons[f"empty {role} id"] = ids.is_null()
    if "rating" in frame.columns:
        ratings = _numbers(path, frame["rating"]).cast(pl.Float64, strict=False)
        frame = frame.with_columns(ratings.alias("rating"))
        reasons["rating that is not a finite number"] = ~ratings.is_finite().fill_null(False)
    if "timestamp" in frame.columns:
        times = _times(path, frame["timestamp"])
        frame = frame.with_columns(times.alias("timestamp"))
        reasons[
            "timestamp that is neither a finite number nor an ISO 8601 date"
        ] = ~times.is_finite().fill_null(False)
    kept = pl.repeat(True, frame.height, dtype=pl.Boolean, eager=True)
    invalid: list[Removed] = []
    for reason, wrong in reasons.items():
        places = (kept & wrong).arg_true()
        if not len(places):
            continue
        if invalid_rows == "error":
            raise _invalid_row(path, raw, reason, places, place, chosen=chosen)
        before, kept = frame.filter(kept), kept & ~wrong
        invalid.append(Removed.between(reason, before, frame.filter(kept)))
    if invalid:
        frame = frame.filter(kept)
    if raw.height and not frame.height:
        reasons_found = ", ".join(removed.step for removed in invalid)
        raise InputError(f"{path}: every row is invalid ({reasons_found})")
    return InteractionTable(path, frame, tuple(invalid))


def _invalid_row(
    path: Path,
    raw: pl.DataFrame,
    reason: str,
    places: pl.Series,
    place: Callable[[str, int], str],
    *,
    chosen: bool,
) -> InputError:
    role = next(role for role in DEFAULT_NAMES if role in reason.split())
    value = raw[role][places[0]]
    shown = "nothing there" if value is None else repr(value)
    more = f", and {len(places) - 1} more such rows" if len(places) > 1 else ""
    optional = chosen and role not in ("user", "item")
    way_out = f", or leave the {role} out with --columns" if optional else ""
    return InputError(
        f"{path}, {place(role, raw['row'][places[0]])}: {reason} ({shown}){more}; mend it, or drop"
        f" such rows with --invalid-rows drop{way_out}"
    )


def _numbers(path: Path, values: pl.Series) -> pl.Series:
    """The column itself, if its type can hold numbers."""
    if not (values.dtype.is_numeric() or values.dtype in (pl.String, pl.Null)):
        raise InputError(f"{path}: column '{values.name}' holds {values.dtype}, not numbers")
    return values


def _times(path: Path, values: pl.Series) -> pl.Series:
    """Times as int64, else float64; dates as microseconds since 1970; null where unreadable."""
    if values.dtype == pl.Date or isinstance(values.dtype, pl.Datetime):
        return values.cast(pl.Datetime("us")).cast(pl.Int64)
    values = _numbers(path, values)
    if values.dtype.is_integer():
        return values.cast(pl.Int64, strict=False)
    if values.dtype != pl.String:
        return values.cast(pl.Float64, strict=False)
    # Integers are kept exact: nanoseconds since 1970 do not fit a float's 53 bits.
    whole = values.cast(pl.Int64, strict=False)
    if whole.null_count() == values.null_count():
        return whole
    dates = _dates(values)
    numbers = values.cast(pl.Float64, strict=False)
    return numbers if numbers.count() >= dates.count() else dates


def _dates(values: pl.Series) -> pl.Series:
    """What ``_microseconds`` gives for each; millions of plain days or moments at once."""
    texts = values.drop_nulls()
    for shape, pattern in _PLAIN.items():
        if texts.str.contains(shape).all():
            found = texts.str.to_datetime(pattern, time_unit="us", strict=False)
            if not found.null_count():
                return values.str.to_datetime(pattern, time_unit="us").cast(pl.Int64)
    distinct = values.unique()
    known = {text: _microseconds(text) for text in distinct}
    return pl.Series([known[text] for text in values], dtype=pl.Int64)


def _microseconds(text: str | None) -> int | None:
    """An ISO 8601 date or moment as microseconds since 1970; without an offset it is UTC."""
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
