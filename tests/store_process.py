"""A process of its own that works on a store; the store's process tests start several of them.

Usage: python -m tests.store_process ROLE URL ARGUMENT
"""

from __future__ import annotations

import sys

from google.cloud import ndb

from server import errors
from server.store.client import Store


class Counter(ndb.Model):
    """A number that all processes change."""

    value = ndb.IntegerProperty(default=0, indexed=False)


class Entry(ndb.Model):
    """One of many records, written in order."""

    number = ndb.IntegerProperty()


class OnCall(ndb.Model):
    """Whether a doctor is on call."""

    here = ndb.BooleanProperty(indexed=False)


def count(store: Store, times: str) -> None:
    """Adds 1 to a counter, `times` times; says how often it had to give way."""

    def work() -> None:
        counter = ndb.Key(Counter, "c").get() or Counter(id="c")
        counter.value += 1
        counter.put()

    gave_way = 0
    for _ in range(int(times)):
        while True:
            try:
                store.transaction(work)
                break
            except errors.Contention:
                gave_way += 1
    print(gave_way, flush=True)


def write(store: Store, start: str) -> None:
    """Writes records for ever, and a sum with each, and names each one only after it was acknowledged."""
    number = int(start)
    while True:
        number += 1

        def work(number: int = number) -> None:
            total = ndb.Key(Counter, "sum").get() or Counter(id="sum")
            total.value += number
            ndb.put_multi([Entry(id=number, number=number), total])

        store.transaction(work)
        print(number, flush=True)


def go_home(store: Store, name: str) -> None:
    """Goes home in round after round, but only while the other doctor stays; a line on stdin begins a round."""
    print("ready", flush=True)
    for line in sys.stdin:
        names = [f"{line.strip()}-{doctor}" for doctor in ("ann", "bob")]

        def work(names: list[str] = names) -> None:
            doctors = ndb.get_multi([ndb.Key(OnCall, doctor) for doctor in names])
            if all(doctor.here for doctor in doctors):
                mine = next(doctor for doctor in doctors if doctor.key.id().endswith(name))
                mine.here = False
                mine.put()

        store.transaction(work)
        print("done", flush=True)


ROLES = {"count": count, "write": write, "go_home": go_home}

if __name__ == "__main__":
    role, url, argument = sys.argv[1:]
    ROLES[role](Store.open(url), argument)
