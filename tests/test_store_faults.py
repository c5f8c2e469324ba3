"""A store that is damaged, newer, locked or gone: a clear typed error, and nothing changed."""

from __future__ import annotations

import contextlib
import os
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from google.cloud import ndb

from server import errors
from server.store.client import Store
from server.store.sqlite import SCHEMA_VERSION
from server.store.sqlite_pool import FILE_NAME


class Note(ndb.Model):
    """Something to keep."""

    value = ndb.IntegerProperty(default=0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a store of a few hundred records, closed."""
    store = Store.open(f"embedded:{tmp_path / 'data'}")
    with store.context():
        ndb.put_multi([Note(id=f"n{number}", value=number) for number in range(400)])
    store.close()
    return tmp_path / "data"


@pytest.fixture
def store(folder: Path) -> Iterator[Store]:
    """That store, opened, impatient."""
    opened = Store.open(f"embedded:{folder}", busy_timeout_s=0.2)
    yield opened
    opened.close()


def _garbage(path: Path) -> None:
    path.write_bytes(b"this is not a database at all\n" * 1000)


def _truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _flip_a_page(path: Path) -> None:
    with open(path, "r+b") as file:
        file.seek(4096 * 3)
        file.write(b"\xa5" * 4096)


def _flip_the_header(path: Path) -> None:
    with open(path, "r+b") as file:
        file.write(b"\x00" * 16)


def _newer(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode=DELETE")
        database.execute("UPDATE meta SET value = ? WHERE name = 'schema_version'", (SCHEMA_VERSION + 1,))
        database.commit()


def _somebody_elses(path: Path) -> None:
    path.unlink()
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE songs (title TEXT)")


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (_garbage, "damaged"),
        (_truncate, "damaged"),
        (_flip_a_page, "damaged"),
        (_flip_the_header, "damaged"),
        (_newer, f"schema version {SCHEMA_VERSION + 1}, this Pilotlight knows up to {SCHEMA_VERSION}"),
        (_somebody_elses, "not a store of Pilotlight"),
    ],
)
def test_a_file_that_is_no_good_is_refused_and_left_byte_for_byte(
    folder: Path, spoil: Callable[[Path], None], text: str
) -> None:
    path = folder / FILE_NAME
    spoil(path)
    before = path.read_bytes()
    with pytest.raises(errors.StoreCorrupt, match=text) as caught:
        Store.open(f"embedded:{folder}")
    assert str(path) in caught.value.text
    assert path.read_bytes() == before


def test_damage_that_shows_later_is_told_as_damage(folder: Path) -> None:
    store = Store.open(f"embedded:{folder}")
    with contextlib.closing(sqlite3.connect(folder / FILE_NAME)) as database:
        database.execute("UPDATE entity SET data = x'ffff' WHERE key LIKE '%n7%' OR 1")
        database.commit()
    with store.context(), pytest.raises(errors.StoreCorrupt):
        ndb.Key(Note, "n7").get()
    store.close()


def test_an_empty_file_is_a_new_store(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).touch()
    store = Store.open(f"embedded:{tmp_path}")
    with store.context():
        Note(id="n").put()
    store.close()


def test_a_file_that_another_program_locked_is_unavailable_until_it_lets_go(store: Store, folder: Path) -> None:
    with contextlib.closing(sqlite3.connect(folder / FILE_NAME, isolation_level=None)) as intruder:
        intruder.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        with pytest.raises(errors.StoreUnavailable):
            store.transaction(lambda: Note(id="new").put())
        assert time.monotonic() - began < 2.0
        with store.context():
            assert ndb.Key(Note, "n5").get().value == 5  # reading goes on
        intruder.execute("ROLLBACK")
    store.transaction(lambda: Note(id="new").put())
    with store.context():
        assert ndb.Key(Note, "new").get()


def test_a_store_whose_folder_went_away_is_unavailable_and_works_when_it_is_back(store: Store, folder: Path) -> None:
    with store.context():
        assert ndb.Key(Note, "n5").get()
    elsewhere = folder.with_name("elsewhere")
    folder.rename(elsewhere)
    with store.context(), pytest.raises(errors.StoreUnavailable, match="gone"):
        Note(id="new").put()
    with pytest.raises(errors.StoreUnavailable):
        store.transaction(lambda: ndb.Key(Note, "n5").get())
    assert not folder.exists()
    elsewhere.rename(folder)
    with store.context():
        assert ndb.Key(Note, "new").get() is None
        Note(id="new").put()


def test_a_file_that_was_replaced_under_a_running_server_is_not_written_to(store: Store, folder: Path) -> None:
    store.backup(folder / "copy")
    (folder / "copy").rename(folder / FILE_NAME)
    with store.context(), pytest.raises(errors.StoreUnavailable, match="replaced"):
        Note(id="new").put()


def test_a_full_disk_is_unavailable_and_nothing_is_lost(store: Store, folder: Path) -> None:
    with store._embedded.storage._pool.connection() as connection:  # type: ignore[union-attr]
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count={pages}")
    with store.context():
        with pytest.raises(errors.StoreUnavailable, match="full"):
            ndb.put_multi([Note(id=f"n{number}", value=-1) for number in range(300)] + [Note() for _ in range(200)])
        assert ndb.Key(Note, "n5").get().value == 5
        assert Note.query().count() == 400


def test_a_folder_that_cannot_be_made_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(errors.StoreUnavailable, match="cannot be opened"):
        Store.open(f"embedded:{tmp_path / 'file' / 'data'}")


def test_a_store_is_not_used_across_a_fork(store: Store) -> None:
    child = os.fork()
    if child == 0:
        try:
            with store.context():
                ndb.Key(Note, "n5").get()
        except RuntimeError as error:
            os._exit(7 if "fork" in str(error) else 1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 7


def test_a_datastore_that_does_not_answer_is_unavailable_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("DATASTORE_EMULATOR_HOST", f"127.0.0.1:{unused.getsockname()[1]}")
        store = Store.open("datastore:nobody")
        began = time.monotonic()
        with pytest.raises(errors.StoreUnavailable):
            store.transaction(lambda: ndb.Key(Note, "n").get())
        with store.context(), pytest.raises(errors.StoreUnavailable):
            Note.query().fetch()
        assert time.monotonic() - began < 5.0
        store.close()
