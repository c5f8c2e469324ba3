"""The embedded store's file as a whole: opened, read, committed to by one at a time, indexed, swept, backed up."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from server import errors
from server.store.indexes import Row
from server.store.sqlite import PIECE, SCHEMA, SCHEMA_VERSION, Stored, View, Writer
from server.store.sqlite_pool import FILE_NAME, Pool, Synchronous, check_existing, setup_lock, typed


class VersionChanged(Exception):
    """Something that was read has another version by now."""


class Precondition(Exception):
    """An entity that had to exist does not, or the other way round; `exists` says which."""

    def __init__(self, exists: bool) -> None:
        super().__init__(exists)
        self.exists = exists


@dataclass(frozen=True, slots=True)
class Change:
    """What a commit does to one entity: `data` None deletes it; `must_exist` None does not care."""

    key: bytes
    data: bytes | None
    rows: frozenset[Row] | set[Row]
    must_exist: bool | None = None


class Storage:
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
            connection.execute("ROLLBACK")

    def entities(self, keys: Sequence[bytes]) -> dict[bytes, Stored]:
        """Those of the entities that exist, all in one state of the store."""
        if len(keys) > PIECE:
            with self.reading() as view:
                return view.entities(keys)
        with self._pool.connection() as connection:
            return View(connection).entities(keys)  # a single statement sees one state by itself

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

    def declare(self, wanted: Mapping[str, str], rows_of: Callable[[Stored], Iterable[Row]]) -> None:
        """Keeps exactly these declared indexes: fills the new ones, empties those that are no longer wanted.

        Args:
            wanted: name of each index, and name of the index that holds all entities of its kind.
            rows_of: all rows of an entity, those in the declared indexes among them.
        """
        with self.reading() as view:
            if view.declared() == set(wanted):
                return
        with self._transaction() as writer:
            found = writer.declared()
            for name in found - set(wanted):
                writer.forget(name)
            new = set(wanted) - found
            for name in new:
                writer.declare(name)
            for kind in {wanted[name] for name in new}:
                for hit in writer.all_rows(kind):
                    assert hit.entity
                    writer.add_rows(hit.key, [row for row in rows_of(hit.entity) if row.index in new])
        self._ids.clear()

    def expired(self, name: str, ranges: Sequence[tuple[bytes, bytes]], limit: int) -> list[bytes]:
        """Keys of entities of any kind whose indexed property has a value in one of the half-open ranges."""
        found: list[bytes] = []
        with self.reading() as view:
            for index in view.names_ending_with(name):
                for low, high in ranges:
                    hits = view.scan(index, (low, b""), (high, b""), limit=limit - len(found), keys_only=True)
                    found.extend(hit.key for hit in hits)
        return found

    def delete_all(
        self, keys: Sequence[bytes], still: Callable[[Stored], bool], rows_of: Callable[[Stored], Iterable[Row]]
    ) -> int:
        """Deletes those of the entities of which `still` is true at that moment; returns how many."""
        with self._transaction() as writer:
            current = writer.entities(keys)
            changes = [Change(key, None, frozenset()) for key, stored in current.items() if still(stored)]
            version = writer.count("commits", 1)
            for change in changes:
                _apply(writer, change, current, version, rows_of)
            return len(changes)

    def backup(self, target: Path) -> None:
        """Copies one state of the whole store into a new file, while others go on reading and writing.

        Raises:
            AlreadyExists: there is something at `target`.
            StoreUnavailable: it cannot be written.
        """
        if target.exists():
            raise errors.AlreadyExists(f"{target} exists already; a backup never overwrites")
        part = target.with_name(target.name + ".part")
        try:
            part.unlink(missing_ok=True)
            source, copy = self._pool.open(), sqlite3.connect(part)
            try:
                part.chmod(0o600)
                source.backup(copy)  # in one step: readers do not hold up writers, and nothing makes it start again
            finally:
                copy.close()
                source.close()
            part.rename(target)
        except OSError as error:
            raise errors.StoreUnavailable(f"the backup {target} cannot be written: {error}") from error
        except sqlite3.Error as error:
            raise typed(error, self.path) from error

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
        (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
        if mode != "wal":
            raise errors.StoreUnavailable(f"{path} needs a local file system with shared memory, not a network drive")
        connection.execute("BEGIN IMMEDIATE")
        for statement in SCHEMA:
            connection.execute(statement)
        connection.execute("COMMIT")
    finally:
        connection.close()
