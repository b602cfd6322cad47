"""Original ids and row numbers: the only place where the two meet."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from extract.errors import InputError, did_you_mean


def ordered_ids(ids: Iterable[str]) -> list[str]:
    """The distinct ids in the order that gives them their rows.

    When every id is a plain integer ("0", "17"; not "007"), the order is numeric, so that ids
    0..n-1 get the rows 0..n-1. Otherwise it is lexicographic by code point. Either way the order
    depends on the set of ids alone, never on the order of a file.
    """
    distinct = set(ids)
    if all(id_.isascii() and id_.isdigit() and (id_ == "0" or id_[0] != "0") for id_ in distinct):
        # By length, then text: numeric order without a limit on the number of digits.
        return sorted(distinct, key=lambda id_: (len(id_), id_))
    return sorted(distinct)


def id_texts(path: Path, values: pl.Series) -> pl.Series:
    """A column of ids as text, null where there is none; the whole number 12.0 is the id ``12``.

    Args:
        path: the table that the column is from, for messages.
        values: the column, named as in the table.

    Raises:
        InputError: the column holds neither text nor whole numbers, or numbers too large to be
            exact.
    """
    if values.dtype.is_float():
        # A data frame with a gap turns integer ids into floats: 12.0 is the id "12".
        values = values.fill_nan(None)
        whole = values.is_finite() & (values == values.floor())
        if not bool(whole.fill_null(True).all()):
            raise InputError(
                f"{path}: column '{values.name}' holds numbers with a fraction, not ids"
            )
        # Beyond this, several integers share one floating-point number.
        exact = 2**24 if values.dtype == pl.Float32 else 2**53
        large = values.filter(values.abs() > exact)
        if len(large):
            raise InputError(
                f"{path}: column '{values.name}' holds {large[0]:g}, too large to be exact as a"
                " floating-point number; write such ids as text"
            )
        values = values.cast(pl.Int64)
    if not (values.dtype.is_integer() or values.dtype in (pl.String, pl.Categorical, pl.Null)):
        raise InputError(
            f"{path}: column '{values.name}' holds {values.dtype}, but ids are text or integers"
        )
    text = values.cast(pl.String)
    named = text.str.contains(r"\S")
    return text if named.all() else pl.select(pl.when(named).then(text)).to_series()


# Looking for a like one takes 5 microseconds an id.
_SEARCHED = 100_000
# Ids are alike by nature ("user-0001", "user-0002"): only a slip of the keyboard is near enough.
_LIKENESS = 0.8


class UnknownIdsError(InputError):
    """Ids that are in no map; what to do about them only the caller can say."""

    def __init__(self, message: str, kind: str) -> None:
        super().__init__(message)
        self.kind = kind


class IdMap:
    """Distinct original ids; an id's row is its place in the list.

    Args:
        ids: distinct ids, in row order.
        kind: what the ids name ("user", "item"), for messages.

    Raises:
        InputError: an id occurs twice; the message names it and both rows.
    """

    def __init__(self, ids: Sequence[str], kind: str = "item") -> None:
        self.ids: list[str] = list(ids)
        self.kind = kind
        self._row: dict[str, int] = {id_: row for row, id_ in enumerate(self.ids)}
        if len(self._row) != len(self.ids):
            first: dict[str, int] = {}
            for row, id_ in enumerate(self.ids):
                if first.setdefault(id_, row) != row:
                    raise InputError(f"{kind} id '{id_}' occurs in rows {first[id_]} and {row}")

    def __len__(self) -> int:
        return len(self.ids)

    def __contains__(self, id_: object) -> bool:
        return id_ in self._row

    def rows(self, ids: Iterable[str]) -> npt.NDArray[np.int64]:
        """Row numbers, int64 (n,), in the order of ``ids``.

        Raises:
            UnknownIdsError: some ids are unknown; the message counts them and names the first
                three, with the nearest known ones.
        """
        wanted = list(ids)
        rows = np.fromiter((self._row.get(id_, -1) for id_ in wanted), np.int64, len(wanted))
        unknown = np.flatnonzero(rows < 0)
        if len(unknown):
            names = list(dict.fromkeys(wanted[place] for place in unknown))
            shown = ", ".join(f"'{name}'{self._like(name)}" for name in names[:3])
            shown += ", ..." if names[3:] else ""
            plural = f"{self.kind} id" + ("s" if len(names) > 1 else "")
            raise UnknownIdsError(f"{len(names)} unknown {plural}: {shown}", self.kind)
        return rows

    def _like(self, name: str) -> str:
        return did_you_mean(name, self.ids, _LIKENESS) if len(self) <= _SEARCHED else ""
