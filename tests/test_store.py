"""The store as the server uses it: contexts, tries, threads, expiry, backups."""

from __future__ import annotations

import datetime
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from google.cloud import ndb

from server import errors
from server.store.client import Store
from server.store.sqlite_pool import FILE_NAME


class Note(ndb.Model):
    """A number and a time to go."""

    value = ndb.IntegerProperty(default=0)
    expire_at = ndb.DateTimeProperty()


class Log(ndb.Model):
    """Another kind, whose time to go is a number."""

    expire_at = ndb.FloatProperty()


class Kept(ndb.Model):
    """A kind whose time to go is not indexed, so nobody can find it."""

    expire_at = ndb.FloatProperty(indexed=False)


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A folder for a store."""
    return f"embedded:{tmp_path / 'data'}"


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    """An empty store."""
    opened = Store.open(url, rng=random.Random(1))
    yield opened
    opened.close()


def _meanwhile(work: Callable[[], object]) -> None:
    """Somebody else does this now, in a thread of their own."""
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


@pytest.mark.parametrize("bad", ["", "embedded", "embedded:", "datastore:", "mysql:x", "/some/folder"])
def test_what_is_not_a_stores_address_is_refused(bad: str) -> None:
    with pytest.raises(ValueError, match="not a store"):
        Store.open(bad)


def test_a_store_opened_again_has_everything(store: Store, url: str) -> None:
    with store.context():
        Note(id="n", value=5).put()
    store.close()
    again = Store.open(url)
    with again.context():
        assert ndb.Key(Note, "n").get().value == 5
    again.close()


def test_the_file_is_for_its_owner_only(store: Store, tmp_path: Path) -> None:
    assert (tmp_path / "data" / FILE_NAME).stat().st_mode & 0o077 == 0


def test_a_closed_store_says_so(store: Store) -> None:
    store.close()
    with store.context(), pytest.raises(errors.StoreUnavailable, match="was closed"):
        ndb.Key(Note, "n").get()


def test_a_transaction_that_loses_five_times_says_contention(store: Store, url: str) -> None:
    rival = Store.open(url)
    tries: list[int] = []

    def work() -> None:
        note = ndb.Key(Note, "n").get() or Note(id="n")
        tries.append(note.value)
        _meanwhile(lambda: rival.transaction(lambda: Note(id="n", value=len(tries)).put()))
        note.put()

    began = time.monotonic()
    with pytest.raises(errors.Contention):
        store.transaction(work)
    assert tries == [0, 1, 2, 3, 4]
    assert time.monotonic() - began < 1.0
    rival.close()


def test_a_transaction_that_loses_once_sees_the_news_and_wins(store: Store, url: str) -> None:
    rival = Store.open(url)
    tries: list[int] = []

    def work() -> int:
        note = ndb.Key(Note, "n").get() or Note(id="n")
        if not tries:
            _meanwhile(lambda: rival.transaction(lambda: Note(id="n", value=41).put()))
        tries.append(note.value)
        note.value += 1
        note.put()
        return note.value

    assert store.transaction(work) == 42
    assert tries == [0, 41]
    rival.close()


def test_a_doomed_transaction_hears_it_at_its_next_look_up(store: Store, url: str) -> None:
    """So it never decides, and raises, by a state that there never was."""
    with store.context():
        ndb.put_multi([Note(id="a", value=1), Note(id="b", value=1)])
    rival = Store.open(url)
    pairs: list[tuple[int, int]] = []
    tries: list[int] = []

    def work() -> None:
        first = ndb.Key(Note, "a").get().value
        tries.append(first)
        if len(tries) == 1:
            both = [("a", 2), ("b", 2)]
            _meanwhile(lambda: rival.transaction(lambda: ndb.put_multi([Note(id=n, value=v) for n, v in both])))
        pairs.append((first, ndb.Key(Note, "b").get().value))

    store.transaction(work)
    assert tries == [1, 2]
    assert pairs == [(2, 2)]
    rival.close()


def test_a_record_deleted_and_made_anew_is_another_one(store: Store, url: str) -> None:
    with store.context():
        Note(id="n", value=1).put()
    rival = Store.open(url)
    tries: list[int] = []

    def swap() -> None:
        with rival.context():
            ndb.Key(Note, "n").delete()
            Note(id="n", value=1).put()

    def work() -> None:
        note = ndb.Key(Note, "n").get()
        if not tries:
            _meanwhile(swap)
        tries.append(note.value)
        note.put()

    store.transaction(work)
    assert len(tries) == 2
    rival.close()


def test_a_thread_in_the_context_of_one_store_cannot_use_another(store: Store, tmp_path: Path) -> None:
    another = Store.open(f"embedded:{tmp_path / 'another'}")
    with store.context(), pytest.raises(RuntimeError, match="another store"), another.context():
        pass
    another.close()


def test_a_failing_call_is_not_repeated_behind_our_back(store: Store) -> None:
    store.close()
    began = time.monotonic()
    with store.ops.measure() as ops, store.context(), pytest.raises(errors.StoreUnavailable):
        Note(id="n").put()
    assert ops.calls == 1
    assert time.monotonic() - began < 0.5


def test_hundreds_of_threads_share_a_few_connections(url: str) -> None:
    store = Store.open(url, connections=4)
    failures: list[BaseException] = []

    def work() -> None:
        try:
            with store.context():
                Note().put()
                Note.query(Note.value == 0).fetch(3)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    with store.context():
        assert Note.query().count() == 200
    assert len(store._embedded.storage._pool._idle) <= 4  # type: ignore[union-attr]
    store.close()


def test_the_data_version_changes_when_somebody_wrote_and_only_then(store: Store, url: str) -> None:
    before = store.data_version()
    assert before is not None
    with store.context():
        ndb.Key(Note, "n").get()
    assert store.data_version() == before
    rival = Store.open(url)
    with rival.context():
        Note(id="n").put()
    changed = store.data_version()
    assert changed != before
    with store.context():
        Note(id="n", value=2).put()
    assert store.data_version() != changed
    rival.close()


@pytest.mark.parametrize("synchronous", ["NORMAL", "FULL"])
def test_how_hard_it_writes_is_a_setting(url: str, synchronous: str) -> None:
    store = Store.open(url, synchronous=synchronous)  # type: ignore[arg-type]
    with store._embedded.storage._pool.connection() as connection:  # type: ignore[union-attr]
        assert connection.execute("PRAGMA synchronous").fetchone() == ({"NORMAL": 1, "FULL": 2}[synchronous],)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    store.close()


NOW = datetime.datetime(2027, 1, 15, 8, 0, 0)
NOW_S = NOW.replace(tzinfo=datetime.UTC).timestamp()
SECOND = datetime.timedelta(seconds=1)


def test_a_sweep_deletes_what_expired_of_any_kind_and_nothing_else(store: Store) -> None:
    with store.context():
        Note(id="past", expire_at=NOW - SECOND).put()
        Note(id="future", expire_at=NOW + SECOND).put()
        Note(id="never").put()
        Log(id="past", expire_at=NOW_S - 1).put()
        Log(id="future", expire_at=NOW_S + 1).put()
        Kept(id="past", expire_at=1.0).put()
    assert store.sweep_expired(NOW_S) == 2
    with store.context():
        assert sorted(note.key.id() for note in Note.query().fetch()) == ["future", "never"]
        assert [log.key.id() for log in Log.query().fetch()] == ["future"]
        assert Note.query(Note.value == 0).count() == 2
        assert ndb.Key(Kept, "past").get()
    assert store.sweep_expired(NOW_S) == 0


def test_a_sweep_works_in_batches_and_stops_where_it_is_told(store: Store) -> None:
    with store.context():
        ndb.put_multi([Note(expire_at=NOW - SECOND) for _ in range(25)])
    with store.ops.measure() as ops:
        assert store.sweep_expired(NOW_S, batch=10, most=20) == 20
    assert (ops.calls, ops.writes) == (2, 20)
    assert store.sweep_expired(NOW_S, batch=10) == 5


def test_a_record_that_got_a_longer_life_in_time_stays(store: Store) -> None:
    with store.context():
        key = Note(expire_at=NOW - SECOND).put()
        Note(key=key, expire_at=NOW + SECOND).put()
    assert store.sweep_expired(NOW_S) == 0


def test_a_transaction_that_read_what_a_sweep_deleted_does_not_bring_it_back_unawares(store: Store) -> None:
    with store.context():
        key = Note(id="n", expire_at=NOW - SECOND).put()
    tries: list[bool] = []

    def work() -> None:
        note = key.get()
        tries.append(note is not None)
        if len(tries) == 1:
            _meanwhile(lambda: store.sweep_expired(NOW_S))
        if note:
            note.put()

    store.transaction(work)
    assert tries == [True, False]


def test_a_backup_made_while_others_write_is_a_whole_store(store: Store, tmp_path: Path) -> None:
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            store.transaction(lambda n=number: ndb.put_multi([Note(id="a", value=n), Note(id="b", value=n)]))

    with store.context():
        ndb.put_multi([Note(value=7) for _ in range(300)])
    writer = threading.Thread(target=write)
    writer.start()
    folder = tmp_path / "restored"
    folder.mkdir()
    try:
        store.backup(folder / FILE_NAME)
    finally:
        stop.set()
        writer.join()
    restored = Store.open(f"embedded:{folder}")
    with restored.context():
        assert Note.query(Note.value == 7).count() >= 300
        a, b = (ndb.Key(Note, name).get() for name in "ab")
        assert (a and a.value) == (b and b.value)
        Note(id="new").put()
    restored.close()
    assert [path.name for path in folder.iterdir() if path.name.endswith(".part")] == []


def test_a_backup_never_overwrites(store: Store, tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_text("x")
    with pytest.raises(errors.AlreadyExists):
        store.backup(target)
    assert target.read_text() == "x"


def test_a_failed_backup_leaves_nothing_behind(store: Store, tmp_path: Path) -> None:
    with pytest.raises(errors.StoreUnavailable):
        store.backup(tmp_path / "nowhere" / "copy")
    assert not (tmp_path / "nowhere").exists()


def test_a_store_of_another_process_is_readable_with_plain_sqlite(store: Store, tmp_path: Path) -> None:
    """Nothing of ours is needed to look into the file after a disaster."""
    with store.context():
        Note(id="n", value=3).put()
    database = sqlite3.connect(tmp_path / "data" / FILE_NAME)
    assert database.execute("SELECT COUNT(*) FROM entity").fetchone() == (1,)
    database.close()
