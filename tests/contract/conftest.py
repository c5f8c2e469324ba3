"""One suite, two stores: what holds here holds on the laptop and in production."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.store.client import Store
from tests.emulator import HOST_VARIABLE, emulator

__all__ = ["emulator"]

INDEX_FILE = Path(__file__).with_name("index.yaml")


@pytest.fixture(params=["embedded", pytest.param("emulator", marks=pytest.mark.emulator)])
def store_url(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> str:
    """An empty store; the emulator keeps each project apart."""
    if request.param == "embedded":
        return f"embedded:{tmp_path / 'data'}"
    monkeypatch.setenv(HOST_VARIABLE, request.getfixturevalue("emulator"))
    return f"datastore:test-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    """The store, opened."""
    opened = Store.open(store_url, index_file=INDEX_FILE, rng=random.Random(1))
    yield opened
    opened.close()


@pytest.fixture
def other(store_url: str) -> Iterator[Store]:
    """The same store as another process would open it."""
    opened = Store.open(store_url, index_file=INDEX_FILE, rng=random.Random(2))
    yield opened
    opened.close()
