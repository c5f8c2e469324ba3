"""Cancel against start, a thousand times, on both stores: two connections to each, without the network between (12)."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from server import assembly, bot_management, bot_report, errors, task_request, task_scheduler
from server.access import LOCAL_USER
from server.records import key_of
from server.records.task import TaskResult
from server.service import Service
from server.settings import Settings
from server.task_properties import NewTask
from server.task_scheduler import EndReport, Reply

LANES = 125
"""Bots that race at once on the emulator."""
RACES = 1000
WANTED = NewTask.model_validate(
    {
        "name": "t",
        "priority": 100,
        "task_slices": [
            {
                "expiration_secs": 600,
                "properties": {
                    "command": ["true"],
                    "dimensions": [{"key": "pool", "value": "local"}],
                    "execution_timeout_secs": 60,
                },
            }
        ],
    }
)


@dataclass
class Race:
    """Two services, each with a connection of its own, and how many bots race at once."""

    one: Service
    two: Service
    lanes: int


@pytest.fixture(params=["embedded", pytest.param("emulator", marks=pytest.mark.emulator)])
def race(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Race]:
    """On the embedded store one bot races again and again.

    On the emulator a transaction waits two seconds for another one that holds its record, so many bots race at once.
    """
    url, lanes = f"embedded:{tmp_path / 'data'}", 1
    if request.param == "emulator":
        monkeypatch.setenv("DATASTORE_EMULATOR_HOST", request.getfixturevalue("emulator"))
        url, lanes = f"datastore:cancel-{time.time_ns()}", LANES
    services = [assembly.build(Settings(store_url=url), rng=random.Random(n)) for n in range(2)]
    yield Race(services[0], services[1], lanes)
    for service in services:
        service.store.close()


def test_12_a_canceled_task_never_ran_and_one_that_runs_was_not_canceled(race: Race) -> None:
    with ThreadPoolExecutor(race.lanes) as pool:
        outcomes = sum(pool.map(lambda lane: lane_of_races(race, f"b{lane}"), range(race.lanes)), Counter())
    assert outcomes.total() == RACES
    assert set(outcomes) == {(True, "RUNNING"), (False, "CANCELED")}, outcomes


def lane_of_races(race: Race, bot_id: str) -> Counter[tuple[bool, str]]:
    """One bot is given task after task, each of which is canceled in the moment in which it starts.

    Returns how often (its code ran, its state then).
    """
    one, two = race.one, race.two
    report = bot_report.parse({"dimensions": {"id": [bot_id], "pool": ["local"]}, "state": {}, "version": "1"})
    token = bot_management.handshake(one, report, "s1")
    barrier = threading.Barrier(2)
    outcomes: Counter[tuple[bool, str]] = Counter()

    def cancel(task_id: str) -> bool:
        barrier.wait()
        return again_when_busy(lambda: task_scheduler.cancel(two, task_id, False))[0]

    with ThreadPoolExecutor(1) as pool:
        for _ in range(RACES // race.lanes):
            task_id = task_request.new_task(one, LOCAL_USER, WANTED).result.key.id()
            token = token.with_claim(task_scheduler.claim(one, token, task_id, "").n)
            canceling = pool.submit(cancel, task_id)
            barrier.wait()
            code_ran = again_when_busy(lambda token=token, task_id=task_id: task_scheduler.start(one, token, task_id))
            canceled = canceling.result()
            with one.store.context():
                state = key_of(TaskResult, task_id).get().state
            outcomes[code_ran is Reply.OK, state] += 1
            assert canceled == (state == "CANCELED")
            task_scheduler.end(one, token, task_id, EndReport(0, 0.1))
    return outcomes


def again_when_busy(call):  # type: ignore[no-untyped-def]
    """What a client does that is told to try again."""
    while True:
        try:
            return call()
        except errors.Contention:
            continue
