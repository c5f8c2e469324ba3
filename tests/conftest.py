"""What holds for all tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from tests.life_world import LifeWorld

TIMED = tuple(f"tests/{name}" for name in ("faults/", "app_engine/", "browser/", "test_up", "test_example", "test_cli"))
TRIES_AGAIN = 2
"""Real processes on a machine that others use too can miss a time limit; the report says which had to try again."""

MISSED = ["not within"]
"""What a test of faults says of a missed time limit; a task that ran twice is not tried again until it runs once."""

hypothesis.settings.register_profile("steady", deadline=None)
hypothesis.settings.load_profile("steady")
"""No example has to be quick: other work on the machine is no fault."""


@pytest.fixture
def world(tmp_path: Path) -> Iterator[LifeWorld]:
    """Two processes on one store, with a clock that the test moves."""
    made = LifeWorld(tmp_path / "data")
    yield made
    made.close()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of real processes may try again; all others must pass at once."""
    for item in items:
        if item.get_closest_marker("processes") or item.get_closest_marker("emulator") or item.nodeid.startswith(TIMED):
            only = MISSED if item.nodeid.startswith("tests/faults/") else None
            item.add_marker(pytest.mark.flaky(reruns=TRIES_AGAIN, reruns_delay=1, only_rerun=only))
