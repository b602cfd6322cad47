"""Original ids and row numbers: the only place where the two meet."""

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from extract.errors import InputError


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
            InputError: some ids are unknown; the message counts them and names the first three.
        """
        wanted = list(ids)
        rows = np.fromiter((self._row.get(id_, -1) for id_ in wanted), np.int64, len(wanted))
        unknown = np.flatnonzero(rows < 0)
        if len(unknown):
            names = list(dict.fromkeys(wanted[place] for place in unknown))
            shown = ", ".join(f"'{name}'" for name in names[:3]) + (", ..." if names[3:] else "")
            plural = f"{self.kind} id" + ("s" if len(names) > 1 else "")
            raise InputError(f"{len(names)} unknown {plural}: {shown}")
        return rows
