"""Processes on one store that race for the same tasks, the same bots, and the last bots above the reserve."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from server.records import key_of
from server.records.pool import PoolGate
from server.store.client import Store
from tests.faults.conftest import StartBot, StartServer
from tests.faults.crowd import Crowd
from tests.faults.fleet import (
    POOL,
    FaultServer,
    spec,
    started_twice,
    starts,
    state,
    task,
    wait_for,
    wait_for_ends,
)
from tests.faults.stand_in import Line, Run, StandInBot, lines

pytestmark = pytest.mark.processes

BOTS = 8
RESERVE = 6
CONFIG = {"reserve_min": RESERVE, "foreign_claim_timeout_s": 120}


@dataclass
class Racers:
    """Two processes on one store: workers of one server, or servers of their own."""

    servers: list[FaultServer]
    store_url: str
    lines: list[Line] | None = None

    def crowd(self, count: int = BOTS, prefix: str = "c", pool: str = POOL) -> Crowd:
        """Bots, half of which ask the one, half the other."""
        urls = [server.url for server in self.servers]
        return Crowd(urls, count, lines=self.lines, prefix=prefix, pool=pool).boot()

    def side(self, which: int, count: int, pool: str) -> Crowd:
        """Bots of one of the two alone."""
        urls = [self.servers[which % len(self.servers)].url]
        lines = [self.lines[which]] if self.lines else None
        return Crowd(urls, count, lines=lines, prefix=f"{pool}-{which}-", pool=pool).boot()

    def look(self) -> None:
        """Has both look at the store, each asked to by a bot of another pool."""
        onlookers = self.crowd(2, "onlooker", pool="elsewhere")
        time.sleep(1.2)
        assert onlookers.runs() == []
        onlookers.close()

    @contextmanager
    def records(self) -> Iterator[Store]:
        """The store, beside both."""
        store = Store.open(self.store_url)
        try:
            with store.context():
                yield store
        finally:
            store.close()


def two_workers(start_server: StartServer) -> Racers:
    """Two processes on the embedded store."""
    server = start_server(config=CONFIG)
    return Racers([server], f"embedded:{server.data}", list(lines(server).values()))


@pytest.fixture(params=["two workers", pytest.param("two servers", marks=pytest.mark.emulator)])
def racers(request: pytest.FixtureRequest, start_server: StartServer, monkeypatch: pytest.MonkeyPatch) -> Racers:
    """Two workers on the embedded store; two servers on Google's emulator."""
    if request.param == "two workers":
        return two_workers(start_server)
    host = request.getfixturevalue("emulator")
    monkeypatch.setenv("DATASTORE_EMULATOR_HOST", host)
    url = f"datastore:race-{time.time_ns()}"
    environ = {"PILOTLIGHT_STORE_URL": url, "DATASTORE_EMULATOR_HOST": host}
    return Racers([start_server(name, config=CONFIG, environ=environ, workers=1) for name in ("one", "two")], url)


def test_no_task_is_given_to_two_of_the_bots_that_ask_at_once(racers: Racers) -> None:
    crowd = racers.crowd()
    api = racers.servers[0].api()
    for number in range(4):
        tasks = [api.new_task(task(name=f"t{number}")) for _ in range(BOTS // 2)]
        got: list[Run] = []
        deadline_s = time.monotonic() + 20.0
        while len(got) < len(tasks) and time.monotonic() < deadline_s:
            got += crowd.runs()
        assert Counter(run.task_id for run in got) == Counter(tasks)
        crowd.finish(got)
        assert {state(api, task_id) for task_id in tasks} == {"COMPLETED"}
    crowd.close()


def test_a_bot_that_asks_both_at_once_holds_one_task(start_server: StartServer) -> None:
    """I4: every poll that gets a run gets the same one."""
    racers = two_workers(start_server)
    api = racers.servers[0].api()
    bot = StandInBot(racers.servers[0].url, "b1").boot()
    twins = Crowd([server.url for server in racers.servers], 6, lines=racers.lines)
    for _ in range(3):
        for _ in range(4):
            api.new_task(task(id="b1"))
        time.sleep(1.2)
        for twin in twins.bots:
            twin.bot_id, twin.session_id, twin.token = "b1", bot.session_id, bot.token
        twins.busy.clear()
        got = twins.runs() or [bot.wait_for_run()]
        claims = {(run.task_id, run.manifest["pilotlight_claim"]) for run in got}
        assert len(claims) == 1, claims
        assert all(run.start() for run in got), "the start of one run, repeated"
        got[0].finish()
        bot.token = got[0].token
    twins.close()


def test_the_reserve_is_kept_though_every_process_sees_the_last_bots_above_it(racers: Racers) -> None:
    """What is above it is handed out, though each process plans by itself and sees only its own bots poll."""
    api = racers.servers[0].api()
    for number in range(4):
        pool = f"pool{number}"
        api.post("/specs", spec(f"src{number}", pool=pool))
        crowd = racers.crowd(prefix=f"c{number}-", pool=pool)
        racers.look()
        got: list[Run] = []
        deadline_s = time.monotonic() + 20.0
        while len(got) < BOTS - RESERVE and time.monotonic() < deadline_s:
            got += crowd.runs()
        for _ in range(3):  # those that got nothing ask again
            got += crowd.runs()
        with racers.records():
            entries = key_of(PoolGate, pool).get().entries
        assert {entry["task"] for entry in entries} == {run.task_id for run in got}
        assert len(got) == BOTS - RESERVE, [run.bot.bot_id for run in got]
        assert all(run.purpose == "forecast" for run in got)
        crowd.finish(got)
        crowd.close()


def test_bots_that_have_just_taken_tasks_at_one_process_are_no_reserve_of_the_other(racers: Racers) -> None:
    api = racers.servers[0].api()
    for number in range(2):
        pool = f"left{number}"
        api.post("/specs", spec(pool, pool=pool))
        one, other = (racers.side(which, BOTS // 2, pool) for which in range(2))
        racers.look()
        for bot in one.bots:
            api.new_task(task(pool=pool, id=bot.bot_id))
        taken: list[Run] = []
        wait_for(lambda taken=taken, one=one: taken.extend(one.runs()) or len(taken) == 4, 20.0, "each has its task")
        assert {run.purpose for run in taken} == {""}, "each gets its own task, though it was a bet a moment ago"
        for _ in range(3):
            assert other.runs() == [], "six bots are the reserve, and four are idle"
        one.finish(taken)
        for crowd in (one, other):
            crowd.close()


def test_real_bots_of_two_processes_start_each_task_once(start_server: StartServer, start_bot: StartBot) -> None:
    server = start_server()
    bots = [start_bot(server, f"bot{n}") for n in range(4)]
    api = server.api()
    wait_for(lambda: len(api.bots()) == len(bots), 20.0, "all bots are there")
    tasks = [api.new_task(task("true", name=f"t{n}")) for n in range(30)]
    assert set(wait_for_ends(api, tasks, 60.0).values()) == {"COMPLETED"}
    assert started_twice(bots) == {}
    assert set(starts(bots)) == set(tasks)
