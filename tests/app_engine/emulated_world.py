"""A fleet in one interpreter whose processes share Google's emulator, each over a connection of its own."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from server import assembly, errors
from server.clock import FakeClock
from server.service import Service
from server.settings import Settings
from server.store.client import Store
from tests.emulator import HOST_VARIABLE
from tests.life_world import LifeWorld


class EmulatedWorld(LifeWorld):
    """Processes `p1` and `p2` on the emulator, in a project of their own."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.settings = Settings(store_url=f"datastore:world-{time.time_ns()}")
        self.store = Store.open(self.settings.store_url, rng=random.Random(1))
        self.p1 = self.process("p1")
        self.p2 = self.process("p2")
        self.services = [self.p1, self.p2]

    def process(self, name: str = "p1", **settings: Any) -> Service:
        """A process of that name, with a connection of its own."""
        chosen = self.settings.model_copy(update=settings)
        return assembly.build(chosen, self.clock, random.Random(name), process_id=name)


@pytest.fixture
def world(emulator: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[EmulatedWorld]:
    """An empty world."""
    monkeypatch.setenv(HOST_VARIABLE, emulator)
    made = EmulatedWorld()
    yield made
    for store in (made.store, made.p1.store, made.p2.store):
        store.close()


def at_once(*acts: Callable[[], Any]) -> list[Any]:
    """Results of functions that are called at the same moment, or what they raised in place of a result.

    Contention is tried again, as callers do.
    """
    barrier = threading.Barrier(len(acts))

    def run(act: Callable[[], Any]) -> Any:
        barrier.wait()
        while True:
            try:
                return act()
            except errors.Contention:
                continue
            except Exception as error:
                return error

    with ThreadPoolExecutor(len(acts)) as pool:
        return list(pool.map(run, acts))
