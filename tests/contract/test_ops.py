"""What was asked of the store is counted, entities and calls apart."""

from __future__ import annotations

import threading

import pytest
from google.cloud import ndb

from server.store.client import Store
from tests.contract.things import Thing


def test_a_transaction_counts_what_it_looked_up_and_what_it_wrote(store: Store) -> None:
    def work() -> None:
        ndb.get_multi([ndb.Key(Thing, name) for name in "abc"])
        ndb.put_multi([Thing(id="a"), Thing(id="b")])

    with store.ops.measure() as ops:
        store.transaction(work)
    assert (ops.reads, ops.writes, ops.queries, ops.transactions, ops.calls) == (3, 2, 0, 1, 3)


def test_writes_of_a_transaction_that_failed_do_not_count(store: Store) -> None:
    def work() -> None:
        Thing(id="a").put()
        raise ValueError

    with store.ops.measure() as ops, pytest.raises(ValueError):
        store.transaction(work)
    assert (ops.writes, ops.transactions, ops.calls) == (0, 1, 2)


def test_queries_count_as_calls_and_by_what_they_returned(store: Store) -> None:
    with store.context():
        ndb.put_multi([Thing(id=name, colour=colour) for name, colour in [("a", "red"), ("b", "red"), ("c", "blue")]])
        with store.ops.measure() as ops:
            Thing.query(Thing.colour.IN(["red", "blue", "green"])).fetch()
    assert ops.reads == ops.writes == 0
    assert ops.queries >= 3
    assert ops.results == 3


def test_work_of_all_threads_counts_and_only_within_the_measure(store: Store) -> None:
    def put() -> None:
        with store.context():
            Thing().put()

    put()
    with store.ops.measure() as ops:
        threads = [threading.Thread(target=put) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    put()
    assert ops.writes == 4


def test_nothing_is_read_from_a_cache(store: Store) -> None:
    with store.context():
        key = Thing(id="a").put()
        with store.ops.measure() as ops:
            key.get()
            key.get()
    assert ops.reads == 2
