"""Server processes for tests: as many services as wanted on one embedded store, with a clock that the test moves."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import flask.testing

import main
from server import assembly
from server.clock import FakeClock
from server.service import Service
from server.settings import Settings
from server.store.client import Store


class World:
    """One store, one clock, any number of processes."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.clock = FakeClock()
        self.settings = Settings(store_url=f"embedded:{folder}", **settings)
        self.store = Store.open(self.settings.store_url, rng=random.Random(1))

    def process(self, name: str = "p1", **settings: Any) -> Service:
        """A process of that name; its carrier does nothing by itself."""
        chosen = self.settings.model_copy(update=settings)
        return assembly.build(chosen, self.clock, random.Random(name), self.store, process_id=name)

    def client(self, service: Service | None = None) -> flask.testing.FlaskClient:
        """Calls a process over HTTP, from this machine."""
        return main.create_app(service or self.process()).test_client()

    def close(self) -> None:
        """Ends the store."""
        self.store.close()
