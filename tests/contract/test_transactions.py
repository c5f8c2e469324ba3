"""Transactions: all or nothing, and as if one ran after the other.

Who wins a race is up to the store: the emulator makes the later one wait, the embedded store lets the first to commit
win. What comes out in the end is the same.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from google.cloud import ndb

from server import errors
from server.store.client import Store
from tests.contract.things import Counter, Thing


def test_all_writes_of_a_transaction_come_together(store: Store) -> None:
    def work() -> str:
        assert ndb.Key(Thing, "a").get() is None
        ndb.put_multi([Thing(id="a", size=1), Thing(id="b", size=2)])
        return "done"

    assert store.transaction(work) == "done"
    with store.context():
        assert [thing.size for thing in ndb.get_multi([ndb.Key(Thing, "a"), ndb.Key(Thing, "b")])] == [1, 2]


def test_a_transaction_that_raises_writes_nothing_and_its_error_comes_out(store: Store) -> None:
    def work() -> None:
        Thing(id="a").put()
        raise errors.FailedPrecondition("no")

    with pytest.raises(errors.FailedPrecondition, match="no"):
        store.transaction(work)
    with store.context():
        assert ndb.Key(Thing, "a").get() is None


def test_a_transaction_does_not_see_its_own_writes(store: Store) -> None:
    with store.context():
        Thing(id="a", size=1).put()

    def work() -> int:
        Thing(id="a", size=2).put()
        return ndb.Key(Thing, "a").get().size

    assert store.transaction(work) == 1


def test_the_last_of_two_writes_in_a_transaction_counts(store: Store) -> None:
    def work() -> None:
        Thing(id="a", size=1, tags=["x"]).put()
        Thing(id="a", size=2, tags=["y"]).put()
        Thing(id="b", size=1).put()
        ndb.Key(Thing, "b").delete()

    store.transaction(work)
    with store.context():
        assert ndb.Key(Thing, "a").get().size == 2
        assert Thing.query(Thing.tags == "x").fetch() == []
        assert ndb.Key(Thing, "b").get() is None


def test_records_without_an_id_get_one_in_a_transaction(store: Store) -> None:
    keys = store.transaction(lambda: ndb.put_multi([Thing(size=1), Thing(size=2)]))
    with store.context():
        assert [thing.size for thing in ndb.get_multi(keys)] == [1, 2]


def test_a_transaction_refuses_to_nest(store: Store) -> None:
    with pytest.raises(RuntimeError, match="within a transaction"):
        store.transaction(lambda: store.transaction(lambda: None))


def test_a_context_within_a_context_is_the_same_one(store: Store) -> None:
    with store.context(), store.context():
        Thing(id="a", size=1).put()
        assert store.transaction(lambda: ndb.Key(Thing, "a").get().size) == 1


def test_no_update_is_lost_when_many_count_at_once(store: Store, other: Store) -> None:
    def count(own: Store) -> None:
        def work() -> None:
            counter = ndb.Key(Counter, "c").get() or Counter(id="c")
            counter.value += 1
            counter.put()

        for _ in range(3):
            _until_it_succeeds(own, work)

    _at_once(lambda: count(store), lambda: count(other), lambda: count(other))
    with store.context():
        assert ndb.Key(Counter, "c").get().value == 9


def test_only_one_of_two_makes_a_record_that_both_found_missing(store: Store, other: Store) -> None:
    made: list[int] = []

    def create(own: Store, size: int) -> None:
        def work() -> bool:
            key = ndb.Key(Thing, "a")
            if key.get():
                return False
            Thing(key=key, size=size).put()
            return True

        if _until_it_succeeds(own, work):
            made.append(size)

    _at_once(lambda: create(store, 1), lambda: create(other, 2))
    with store.context():
        assert [ndb.Key(Thing, "a").get().size] == made


def test_what_a_transaction_only_read_must_not_have_changed(store: Store, other: Store) -> None:
    """Write skew: of two doctors on call each goes home because the other one stays."""
    with store.context():
        keys = [ndb.Key(Thing, name) for name in ("ann", "bob")]
        ndb.put_multi([Thing(key=key, size=1) for key in keys])
    both_have_read = threading.Barrier(2)
    tries = {"ann": 0, "bob": 0}

    def leave(own: Store, name: str) -> None:
        def work() -> None:
            on_call = ndb.get_multi(keys)
            tries[name] += 1
            if tries[name] == 1:
                both_have_read.wait(timeout=20)
            if sum(thing.size for thing in on_call) == 2:
                Thing(id=name, size=0).put()

        _until_it_succeeds(own, work)

    _at_once(lambda: leave(store, "ann"), lambda: leave(other, "bob"))
    with store.context():
        assert sum(thing.size for thing in ndb.get_multi(keys)) == 1


def test_what_a_transaction_only_found_missing_must_still_be_missing(store: Store, other: Store) -> None:
    """Write skew over absence: each writes its own record because the other one's is not there."""
    both_have_read = threading.Barrier(2)
    tries = {"a": 0, "b": 0}

    def enter(own: Store, name: str, rival: str) -> None:
        def work() -> None:
            found = ndb.Key(Thing, rival).get()
            tries[name] += 1
            if tries[name] == 1:
                both_have_read.wait(timeout=20)
            if found is None:
                Thing(id=name).put()

        _until_it_succeeds(own, work)

    _at_once(lambda: enter(store, "a", "b"), lambda: enter(other, "b", "a"))
    with store.context():
        assert Thing.query().count() == 1


def test_a_transaction_never_sees_half_of_another(store: Store, other: Store) -> None:
    with store.context():
        ndb.put_multi([Thing(id="a", size=1), Thing(id="b", size=1)])
    seen: list[tuple[int, int]] = []
    rivals: list[threading.Thread] = []

    def write_both() -> None:
        _until_it_succeeds(other, lambda: ndb.put_multi([Thing(id="a", size=2), Thing(id="b", size=2)]))

    def work() -> None:
        first = ndb.Key(Thing, "a").get().size
        if not rivals:
            rivals.append(threading.Thread(target=write_both))
            rivals[0].start()
            rivals[0].join(timeout=0.5)  # the emulator holds it back until this transaction has ended
        seen.append((first, ndb.Key(Thing, "b").get().size))

    _until_it_succeeds(store, work)
    rivals[0].join()
    assert seen
    assert set(seen) <= {(1, 1), (2, 2)}


def _until_it_succeeds(store: Store, work: Callable[[], object]) -> object:
    while True:
        try:
            return store.transaction(work)
        except errors.Contention:
            continue


def _at_once(*works: Callable[[], None]) -> None:
    """Runs everything in threads of its own and raises what any of them raised."""
    failures: list[BaseException] = []

    def guarded(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert not failures, failures
    assert not any(thread.is_alive() for thread in threads)
