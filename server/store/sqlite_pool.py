"""Connections to the one SQLite file of an embedded store: opened carefully, shared by threads, errors typed."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from server import errors

Synchronous = Literal["NORMAL", "FULL"]

FILE_NAME = "pilotlight.db"
_LOCK_NAME = "setup.lock"
# A full check reads the whole file: about 0.1 s for this size.
_CHECK_AT_MOST_BYTES = 32 * 1024 * 1024
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_GONE = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_PROTOCOL,
}


def typed(error: sqlite3.Error, path: Path) -> Exception:
    """What SQLite's error means for the caller; errors that can only be ours stay what they are."""
    code = getattr(error, "sqlite_errorcode", None)
    primary = code & 0xFF if isinstance(code, int) else None
    if primary in _DAMAGED:
        return errors.StoreCorrupt(f"the store {path} is damaged ({error}); it was left as it is: restore a backup")
    if primary in _GONE:
        return errors.StoreUnavailable(f"the store {path} does not answer: {error}")
    return error


class Pool:
    """A bounded number of connections for any number of threads.

    Connections that belong to a thread would cost memory for every thread that ever asked; here a thread has one only
    while a statement runs.
    """

    def __init__(self, path: Path, *, size: int, busy_timeout_s: float, synchronous: Synchronous) -> None:
        self.path = path
        self.busy_timeout_s = busy_timeout_s
        self._synchronous = synchronous
        self._free = threading.Semaphore(size)
        self._idle: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        self._process = os.getpid()
        self._file = _identity(path)
        self._closed = False

    @contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        """A connection in autocommit mode, for this block alone.

        Raises:
            StoreUnavailable: the file is locked, gone, full or cannot be read.
            StoreCorrupt: the file is damaged.
        """
        self._check_file()
        if not self._free.acquire(timeout=self.busy_timeout_s):
            raise errors.StoreUnavailable(f"the store {self.path} is busy: all its connections are in use")
        try:
            connection = self._take()
            try:
                yield connection
            except BaseException as error:
                if isinstance(error, sqlite3.Error) or connection.in_transaction:
                    connection.close()
                else:
                    self._put_back(connection)
                raise
            self._put_back(connection)
        except sqlite3.Error as error:
            raise typed(error, self.path) from error
        finally:
            self._free.release()

    def open(self) -> sqlite3.Connection:
        """One more connection, outside the bound; the caller closes it. Never makes a new file."""
        connection = sqlite3.connect(
            f"{_uri(self.path)}?mode=rw",
            uri=True,
            timeout=self.busy_timeout_s,
            isolation_level=None,
            check_same_thread=False,
        )
        connection.execute(f"PRAGMA synchronous={self._synchronous}")
        connection.execute("PRAGMA journal_size_limit=67108864")
        return connection

    def close(self) -> None:
        """Closes the idle connections; one that is in use closes when it comes back."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _take(self) -> sqlite3.Connection:
        with self._lock:
            if self._closed:
                raise errors.StoreUnavailable(f"the store {self.path} was closed")
            if self._idle:
                return self._idle.pop()
        return self.open()

    def _put_back(self, connection: sqlite3.Connection) -> None:
        with self._lock:
            if not self._closed:
                self._idle.append(connection)
                return
        connection.close()

    def _check_file(self) -> None:
        if os.getpid() != self._process:
            raise RuntimeError("a store does not survive a fork; open it in the process that uses it")
        found = _identity(self.path)
        if found is None:
            raise errors.StoreUnavailable(f"the store {self.path} is gone")
        if found != self._file:
            raise errors.StoreUnavailable(f"the store {self.path} was replaced while in use; restart the server")


@contextmanager
def setup_lock(folder: Path) -> Iterator[None]:
    """Only one process at a time creates, checks or re-indexes the file."""
    with open(folder / _LOCK_NAME, "ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def check_existing(path: Path, schema_version: int) -> bool:
    """Whether there is a store in this file already; looks without writing to it.

    The file is never opened except by SQLite: closing any other descriptor would drop the locks of the connections that
    this process holds on it.

    Raises:
        StoreCorrupt: damaged, of a newer version, or not a store.
        StoreUnavailable: it cannot be read.
    """
    if not path.exists() or path.stat().st_size == 0:
        return False
    try:
        connection = sqlite3.connect(f"{_uri(path)}?mode=ro", uri=True, timeout=5.0)
        try:
            return _check_contents(connection, path, schema_version)
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise typed(error, path) from error


def _check_contents(connection: sqlite3.Connection, path: Path, schema_version: int) -> bool:
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not tables:
        return False
    if "meta" not in tables:
        raise errors.StoreCorrupt(f"{path} is a database, but not a store of Pilotlight; it was left as it is")
    row = connection.execute("SELECT value FROM meta WHERE name = 'schema_version'").fetchone()
    if row is None or row[0] > schema_version:
        found = "nothing" if row is None else row[0]
        raise errors.StoreCorrupt(
            f"the store {path} has schema version {found}, this Pilotlight knows up to {schema_version}; "
            "it was left as it is: use the newer Pilotlight or a backup"
        )
    if path.stat().st_size <= _CHECK_AT_MOST_BYTES:
        (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise errors.StoreCorrupt(f"the store {path} is damaged ({verdict}); left as it is: restore a backup")
    return True


def _uri(path: Path) -> str:
    return f"file:{quote(str(path.absolute()))}"


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
