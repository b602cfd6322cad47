"""The catalogue: which items there are, and where each one's medium is, however many there are.

The item table is read block by block, never whole. What a run needs of it out of order is kept in
a database in a temporary file (SQLite's, deleted when it is closed), so memory does not grow with
the table.
"""

import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain

import numpy as np
import polars as pl
from numpy.typing import NDArray

from extract.errors import InputError
from extract.locations import Location

_LOOKUPS = 500

_CHANGED = "the item table changed while it was being read; run the same command again"


@dataclass(frozen=True, slots=True)
class Item:
    """One row: at most one of ``path`` and ``text``; neither where the row has no such medium."""

    id: str
    path: str | None
    text: str | None
    in_table: bool = True
    """False for an item of a store that the table does not have any more."""


@dataclass(frozen=True)
class Difference:
    """How a table's items differ from a store's."""

    added: Iterable[str]
    """Ids that the store lacks, in the table's order; to be gone through once."""
    removed: int
    """How many of the store's items the table lacks."""
    removed_examples: list[str]


class Catalog:
    """The items of one modality in the table's order; ids are unique and never empty.

    Built by ``extract.item_table.read_catalog``, which has seen every row once.
    """

    def __init__(
        self,
        blocks: Callable[[], Iterator[pl.DataFrame]],
        hashes: NDArray[np.uint64],
        *,
        holds_text: bool,
        source: str,
        base: Location,
    ) -> None:
        """Take a table that can be read again and again.

        Args:
            blocks: reads it: frames with the columns ``id`` and ``medium``, a text or a path, null
                where the row has none.
            hashes: of the ids, as ``id_hashes`` gives them, of all blocks together.
            holds_text: whether ``medium`` is the text itself; otherwise it is a path.
            source: in words, where the medium comes from: a column, a template or a folder.
            base: the folder that relative paths belong to.
        """
        self._blocks = blocks
        self._hashes = hashes
        self.holds_text = holds_text
        self.source = source
        self.base = base
        self._database: sqlite3.Connection | None = None
        self._indexed = False

    def __len__(self) -> int:
        return len(self._hashes)

    def ids(self) -> Iterator[str]:
        """All ids in the table's order, read anew."""
        return _each(block["id"] for block in self._read_again())

    def items(self, start: int, stop: int) -> list[Item]:
        """Rows ``start`` to ``stop`` (excluded) of the table.

        Raises:
            InputError: the table cannot be read any more, or there is no room for a temporary file.
        """
        with _database_errors():
            return [self._item(name, medium) for name, medium in self._slice(start, stop)]

    def find(self, ids: Sequence[str], near: int = 0) -> list[Item]:
        """The items of the given ids, in their order; one that is not in the table says so.

        Args:
            ids: of any items.
            near: the row at which they stand if nothing has changed: there they are looked for
                first.

        Raises:
            InputError: as ``items``.
        """
        with _database_errors():
            rows = self._slice(near, near + len(ids))
            if [name for name, _ in rows] == list(ids):
                return [self._item(name, medium) for name, medium in rows]
            found: dict[str, str | None] = {}
            for start in range(0, len(ids), _LOOKUPS):
                some = ids[start : start + _LOOKUPS]
                marks = ",".join("?" * len(some))
                query = f"SELECT id, medium FROM items WHERE id IN ({marks})"
                found.update(self._by_id().execute(query, some))
        return [
            self._item(name, found[name]) if name in found else Item(name, None, None, False)
            for name in ids
        ]

    def difference(self, known: Callable[[], Iterable[pl.Series]]) -> Difference:
        """Compare the table's ids with a store's.

        Args:
            known: gives the store's ids, in blocks; called more than once.

        Raises:
            InputError: as ``items``.
        """
        if (rest := self._ids_after(known())) is not None:
            return Difference(_each(rest), 0, [])
        removed, examples = 0, list[str]()
        with _database_errors():
            database = self._by_id()
            database.execute("DROP TABLE IF EXISTS known")
            database.execute("CREATE TABLE known (id TEXT PRIMARY KEY) WITHOUT ROWID")
            for block in known():
                database.executemany(
                    "INSERT INTO known VALUES (?)", ((name,) for name in block.to_list())
                )
            gone = database.execute("SELECT id FROM known WHERE id NOT IN (SELECT id FROM items)")
            for (name,) in gone:
                removed += 1
                if len(examples) < 3:
                    examples.append(name)
            query = "SELECT id FROM items WHERE id NOT IN (SELECT id FROM known) ORDER BY rowid"
        return Difference(self._names(query), removed, examples)

    def _names(self, query: str) -> Iterator[str]:
        with _database_errors():
            for (name,) in self._by_id().execute(query):
                yield str(name)

    def _ids_after(self, known: Iterable[pl.Series]) -> Iterator[pl.Series] | None:
        """The table's ids after the known ones, if it begins with just these: the usual case.

        The hashes alone are compared, and the table is read only if it goes on. That another id
        in the same row has the same 64 bits happens once in 2^64 rows.
        """
        row = 0
        for block in known:
            if not np.array_equal(id_hashes(block), self._hashes[row : row + len(block)]):
                return None
            row += len(block)
        return self._ids_from(row)

    def _ids_from(self, row: int) -> Iterator[pl.Series]:
        if row == len(self):
            return
        for block in self._read_again():
            yield block["id"].slice(row)
            row = max(0, row - block.height)

    def _read_again(self) -> Iterator[pl.DataFrame]:
        """The table's blocks, whose ids are still those that were looked at at the beginning."""
        row = 0
        for block in self._blocks():
            held = self._hashes[row : row + block.height]
            if not np.array_equal(id_hashes(block["id"]), held):
                raise InputError(_CHANGED)
            row += block.height
            yield block
        if row != len(self):
            raise InputError(_CHANGED)

    def _item(self, name: str, medium: str | None) -> Item:
        if self.holds_text:
            return Item(name, None, medium)
        # A cell of spaces names no file.
        return Item(name, medium if medium and medium.strip() else None, None)

    def _slice(self, start: int, stop: int) -> list[tuple[str, str | None]]:
        query = "SELECT id, medium FROM items WHERE rowid > ? AND rowid <= ? ORDER BY rowid"
        return self._spooled().execute(query, (start, stop)).fetchall()

    def _spooled(self) -> sqlite3.Connection:
        """The table as a database; made on first use."""
        if self._database is None:
            # The empty name is a file of SQLite's own in the folder for temporary files; it belongs
            # to this connection alone and is gone with it, killed or not.
            database = sqlite3.connect("", check_same_thread=False, isolation_level=None)
            database.execute("PRAGMA journal_mode = OFF")
            database.execute("PRAGMA synchronous = OFF")
            database.execute("CREATE TABLE items (id TEXT, medium TEXT)")
            for block in self._read_again():
                database.execute("BEGIN")
                database.executemany("INSERT INTO items VALUES (?, ?)", block.iter_rows())
                database.execute("COMMIT")
            self._database = database
        return self._database

    def _by_id(self) -> sqlite3.Connection:
        database = self._spooled()
        if not self._indexed:
            database.execute("CREATE UNIQUE INDEX by_id ON items (id)")
            self._indexed = True
        return database


def id_hashes(ids: pl.Series) -> NDArray[np.uint64]:
    """64 bits of each id, the same for the same id as long as the process lasts."""
    return ids.hash().to_numpy()


def _each(blocks: Iterable[pl.Series]) -> Iterator[str]:
    return chain.from_iterable(block.to_list() for block in blocks)


@contextmanager
def _database_errors() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        what = f"the item table could not be copied into a temporary file ({error})"
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in _NO_ROOM:
            raise InputError(
                f"{what}; make room in {_database_folder()}, or name another folder with the"
                " variable SQLITE_TMPDIR"
            ) from None
        raise InputError(what) from None


# An error's first byte tells its kind.
_NO_ROOM = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN)


def _database_folder() -> str:
    """Where SQLite puts a database without a name."""
    named = os.environ.get("SQLITE_TMPDIR") or os.environ.get("TMPDIR")
    return named or ("/var/tmp" if os.name == "posix" else tempfile.gettempdir())
