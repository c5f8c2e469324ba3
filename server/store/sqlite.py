"""All statements of the embedded store, in plain SQL that other databases understand as well.

Four tables: entities by key, rows of all indexes, names of the indexes, and a few numbers. Nothing here knows
Datastore's messages; keys, values and entities are bytes.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from server.store.indexes import Row

SCHEMA_VERSION = 1
SCHEMA = (
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL)",
    "CREATE TABLE entity (key BLOB PRIMARY KEY, version INTEGER NOT NULL, data BLOB NOT NULL)",
    "CREATE TABLE index_name (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE,"
    " declared INTEGER NOT NULL DEFAULT 0)",
    "CREATE TABLE index_row (index_id INTEGER NOT NULL, value BLOB NOT NULL, key BLOB NOT NULL,"
    " several INTEGER NOT NULL, PRIMARY KEY (index_id, value, key)) WITHOUT ROWID",
    f"INSERT INTO meta (name, value) VALUES ('schema_version', {SCHEMA_VERSION}), ('commits', 0),"
    f" ('next_id', {1 << 52})",
)
# How far index rows are counted to find the filter that leaves the fewest.
_COUNT_UP_TO = 256
# How many rows or keys go into one statement where there may be many more.
PIECE = 500

Position = tuple[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Stored:
    """An entity as it stands in the store."""

    version: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Hit:
    """One index row of a scan; without entity if only keys were asked for."""

    value: bytes
    key: bytes
    several: bool
    entity: Stored | None


class View:
    """Reads through one connection."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def entities(self, keys: Sequence[bytes]) -> dict[bytes, Stored]:
        """Those of the entities that exist."""
        found = {}
        for start in range(0, len(keys), PIECE):
            some = keys[start : start + PIECE]
            marks = ",".join("?" * len(some))
            rows = self._connection.execute(f"SELECT key, version, data FROM entity WHERE key IN ({marks})", some)
            found.update({key: Stored(version, data) for key, version, data in rows})
        return found

    def index_id(self, name: str) -> int | None:
        """The number of an index, or None if nothing was ever in it."""
        row = self._connection.execute("SELECT id FROM index_name WHERE name = ?", (name,)).fetchone()
        return row[0] if row else None

    def declared(self) -> set[str]:
        """Names of the declared indexes."""
        return {name for (name,) in self._connection.execute("SELECT name FROM index_name WHERE declared = 1")}

    def names_ending_with(self, end: str) -> list[str]:
        """Names of the other indexes that end so."""
        names = self._connection.execute("SELECT name FROM index_name WHERE declared = 0 ORDER BY id")
        return [name for (name,) in names if name.endswith(end)]

    def all_rows(self, index: str) -> Iterator[Hit]:
        """Every row of an index whose values are all empty, read in pieces."""
        low: Position = (b"", b"")
        while hits := self.scan(index, low, (b"\x00", b""), limit=PIECE):
            yield from hits
            low = (b"", hits[-1].key + b"\x00")

    def scan(
        self,
        index: str,
        low: Position,
        high: Position,
        *,
        limit: int,
        also: Sequence[tuple[str, bytes]] = (),
        reverse: bool = False,
        keys_only: bool = False,
    ) -> list[Hit]:
        """The rows of an index from `low` up to but not including `high`, at most `limit`.

        With `also`, only entities that have these rows too; then all rows of the range have the value of `low`.
        """
        filters = [(self.index_id(name), value) for name, value in [(index, low[0]), *also]]
        if any(number is None for number, _ in filters):
            return []
        if also:
            filters.sort(key=lambda row: self._few(row, low[1], high[1]))
            low, high = (filters[0][1], low[1]), (filters[0][1], high[1])
        columns = "" if keys_only else ", e.version, e.data"
        join = "" if keys_only else " CROSS JOIN entity AS e"
        conditions = "" if keys_only else " AND e.key = a.key"
        for _ in filters[1:]:
            conditions += (
                " AND EXISTS (SELECT 1 FROM index_row AS b WHERE b.index_id = ? AND b.value = ? AND b.key = a.key)"
            )
        direction = " DESC" if reverse else ""
        rows = self._connection.execute(
            f"SELECT a.value, a.key, a.several{columns} FROM index_row AS a{join}"
            f" WHERE a.index_id = ? AND (a.value, a.key) >= (?, ?) AND (a.value, a.key) < (?, ?){conditions}"
            f" ORDER BY a.value{direction}, a.key{direction} LIMIT ?",
            [filters[0][0], *low, *high, *(part for row in filters[1:] for part in row), limit],
        )
        return [Hit(row[0], row[1], bool(row[2]), None if keys_only else Stored(row[3], row[4])) for row in rows]

    def _few(self, row: tuple[int | None, bytes], low: bytes, high: bytes) -> int:
        (count,) = self._connection.execute(
            "SELECT COUNT(*) FROM (SELECT 1 FROM index_row WHERE index_id = ? AND value = ? AND key >= ? AND key < ?"
            " LIMIT ?) AS some",
            (*row, low, high, _COUNT_UP_TO),
        ).fetchone()
        return int(count)


class Writer(View):
    """Reads and writes through the one connection that may write."""

    def __init__(self, connection: sqlite3.Connection, known_ids: Mapping[str, int]) -> None:
        super().__init__(connection)
        self._known_ids = known_ids
        self.new_ids: dict[str, int] = {}

    def count(self, name: str, amount: int) -> int:
        """Adds to one of the numbers and returns it."""
        self._connection.execute("UPDATE meta SET value = value + ? WHERE name = ?", (amount, name))
        (value,) = self._connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return int(value)

    def declare(self, name: str) -> None:
        """Makes an empty declared index."""
        self._connection.execute("INSERT INTO index_name (name, declared) VALUES (?, 1)", (name,))

    def forget(self, name: str) -> None:
        """Removes an index and its rows."""
        self._connection.execute("DELETE FROM index_row WHERE index_id = ?", (self.index_id(name),))
        self._connection.execute("DELETE FROM index_name WHERE name = ?", (name,))

    def put(self, key: bytes, version: int, data: bytes) -> None:
        """Writes an entity."""
        self._connection.execute(
            "INSERT INTO entity (key, version, data) VALUES (?, ?, ?)"
            " ON CONFLICT (key) DO UPDATE SET version = excluded.version, data = excluded.data",
            (key, version, data),
        )

    def delete(self, key: bytes) -> None:
        """Deletes an entity, but not its index rows."""
        self._connection.execute("DELETE FROM entity WHERE key = ?", (key,))

    def add_rows(self, key: bytes, rows: Iterable[Row]) -> None:
        """Enters an entity into indexes."""
        self._connection.executemany(
            "INSERT INTO index_row (index_id, value, key, several) VALUES (?, ?, ?, ?)",
            [(self._id(row.index), row.value, key, row.several) for row in rows],
        )

    def remove_rows(self, key: bytes, rows: Iterable[Row]) -> None:
        """Takes an entity out of indexes."""
        self._connection.executemany(
            "DELETE FROM index_row WHERE index_id = ? AND value = ? AND key = ?",
            [(self._id(row.index), row.value, key) for row in rows],
        )

    def _id(self, name: str) -> int:
        number = self._known_ids.get(name) or self.new_ids.get(name) or self.index_id(name)
        if number is None:
            self._connection.execute("INSERT INTO index_name (name) VALUES (?)", (name,))
            number = self.index_id(name)
        assert number is not None
        self.new_ids[name] = number
        return number
