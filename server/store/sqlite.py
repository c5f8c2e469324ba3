"""All statements of the embedded store, in plain SQL that other databases understand as well.

Four tables: entities by key, rows of all indexes, names of the indexes, and a few numbers. Nothing here knows
Datastore's messages; keys, values and entities are bytes.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from server import errors
from server.store.indexes import Row
from server.store.sqlite_pool import FILE_NAME, Pool, Synchronous, check_existing, setup_lock, typed

SCHEMA_VERSION = 1
_SCHEMA = (
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL)",
    "CREATE TABLE entity (key BLOB PRIMARY KEY, version INTEGER NOT NULL, data BLOB NOT NULL)",
    "CREATE TABLE index_name (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE)",
    "CREATE TABLE index_row (index_id INTEGER NOT NULL, value BLOB NOT NULL, key BLOB NOT NULL,"
    " several INTEGER NOT NULL, PRIMARY KEY (index_id, value, key)) WITHOUT ROWID",
    f"INSERT INTO meta (name, value) VALUES ('schema_version', {SCHEMA_VERSION}), ('commits', 0),"
    f" ('next_id', {1 << 52})",
)
# How far index rows are counted to find the filter that leaves the fewest.
_COUNT_UP_TO = 256

Position = tuple[bytes, bytes]


class VersionChanged(Exception):
    """Something that was read has another version by now."""


class Precondition(Exception):
    """An entity that had to exist does not, or the other way round; `exists` says which."""

    def __init__(self, exists: bool) -> None:
        super().__init__(exists)
        self.exists = exists


@dataclass(frozen=True, slots=True)
class Stored:
    """An entity as it stands in the store."""

    version: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Change:
    """What a commit does to one entity: `data` None deletes it; `must_exist` None does not care."""

    key: bytes
    data: bytes | None
    rows: frozenset[Row] | set[Row]
    must_exist: bool | None = None


@dataclass(frozen=True, slots=True)
class Hit:
    """One index row of a scan; without entity if only keys were asked for."""

    value: bytes
    key: bytes
    several: bool
    entity: Stored | None


class Sqlite:
    """The tables in one file of a folder."""

    def __init__(self, folder: Path, *, connections: int, busy_timeout_s: float, synchronous: Synchronous) -> None:
        """Opens the file, or creates it.

        Raises:
            StoreCorrupt: it is damaged, of a newer version or not a store.
            StoreUnavailable: it cannot be opened.
        """
        path = folder / FILE_NAME
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with setup_lock(folder):
                if not check_existing(path, SCHEMA_VERSION):
                    _create(path)
        except OSError as error:
            raise errors.StoreUnavailable(f"the store {path} cannot be opened: {error}") from error
        self.path = path
        self._pool = Pool(path, size=connections, busy_timeout_s=busy_timeout_s, synchronous=synchronous)
        self._writing = threading.Lock()
        self._ids: dict[str, int] = {}
        self._watching = threading.Lock()
        self._watcher: sqlite3.Connection | None = None

    def close(self) -> None:
        """Gives the file free."""
        self._pool.close()
        with self._watching:
            if self._watcher:
                self._watcher.close()
                self._watcher = None

    def data_version(self) -> int:
        """A number that changes with every commit of anybody; asked of a connection that never writes."""
        with self._watching:
            try:
                self._watcher = self._watcher or self._pool.open()
                (version,) = self._watcher.execute("PRAGMA data_version").fetchone()
            except sqlite3.Error as error:
                raise typed(error, self.path) from error
        return int(version)

    @contextmanager
    def reading(self) -> Iterator[View]:
        """One state of the store for all reads of the block."""
        with self._pool.connection() as connection:
            connection.execute("BEGIN")
            yield View(connection)
            connection.execute("COMMIT")

    def entities(self, keys: Sequence[bytes]) -> dict[bytes, Stored]:
        """Those of the entities that exist, all in one state of the store."""
        with self._pool.connection() as connection:
            return View(connection).entities(keys)

    def commit(
        self,
        expected: Mapping[bytes, int],
        changes: Sequence[Change],
        rows_of: Callable[[Stored], Iterable[Row]],
    ) -> int:
        """Applies changes in their order, all or none, if everything in `expected` still has its version (0: absent).

        Returns:
            the version that the changed entities got.

        Raises:
            VersionChanged: nothing was changed; somebody else committed first.
            Precondition: nothing was changed.
        """
        with self._transaction() as writer:
            current = writer.entities([*expected, *(change.key for change in changes)])
            for key, version in expected.items():
                found = current.get(key)
                if (found.version if found else 0) != version:
                    raise VersionChanged
            version = writer.count("commits", 1)
            for change in changes:
                _apply(writer, change, current, version, rows_of)
            return version

    def allocate(self, count: int) -> int:
        """Takes `count` numbers that nobody had before; returns the first."""
        with self._transaction() as writer:
            return writer.count("next_id", count) - count

    @contextmanager
    def _transaction(self) -> Iterator[Writer]:
        """The only one that writes, in this process and in all others."""
        if not self._writing.acquire(timeout=self._pool.busy_timeout_s):
            raise errors.StoreUnavailable(f"the store {self.path} is busy: another commit has not ended")
        try:
            with self._pool.connection() as connection:
                connection.execute("BEGIN IMMEDIATE")
                writer = Writer(connection, self._ids)
                try:
                    yield writer
                    connection.execute("COMMIT")
                except BaseException:
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
                    raise
                # Only now: the names of a transaction that was rolled back do not exist.
                self._ids.update(writer.new_ids)
        finally:
            self._writing.release()


class View:
    """Reads through one connection."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def entities(self, keys: Sequence[bytes]) -> dict[bytes, Stored]:
        """Those of the entities that exist."""
        marks = ",".join("?" * len(keys))
        rows = self._connection.execute(f"SELECT key, version, data FROM entity WHERE key IN ({marks})", keys)
        return {key: Stored(version, data) for key, version, data in rows}

    def index_id(self, name: str) -> int | None:
        """The number of an index, or None if nothing was ever in it."""
        row = self._connection.execute("SELECT id FROM index_name WHERE name = ?", (name,)).fetchone()
        return row[0] if row else None

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


def _apply(
    writer: Writer,
    change: Change,
    current: dict[bytes, Stored],
    version: int,
    rows_of: Callable[[Stored], Iterable[Row]],
) -> None:
    old = current.get(change.key)
    if change.must_exist is not None and change.must_exist != (old is not None):
        raise Precondition(exists=old is not None)
    old_rows = set(rows_of(old)) if old else set()
    writer.remove_rows(change.key, old_rows - change.rows)
    writer.add_rows(change.key, change.rows - old_rows)
    if change.data is not None:
        writer.put(change.key, version, change.data)
        current[change.key] = Stored(version, change.data)
    elif old is not None:
        writer.delete(change.key)
        del current[change.key]


def _create(path: Path) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        path.chmod(0o600)  # the keys that sign session tokens are kept in here
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("BEGIN IMMEDIATE")
        for statement in _SCHEMA:
            connection.execute(statement)
        connection.execute("COMMIT")
    finally:
        connection.close()
