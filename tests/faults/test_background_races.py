"""Prewarming between processes: one victim, one cover, one switch, whoever acts first (interleavings 13 to 15)."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from server.records import key_of
from server.records.pool import PoolGate
from server.records.task import TaskToRun
from tests.faults.conftest import StartServer
from tests.faults.crowd import Crowd
from tests.faults.fleet import POOL, FaultServer, spec, state, task, wait_for, wait_for_state
from tests.faults.stand_in import Run, StandInBot, lines

pytestmark = pytest.mark.processes


@pytest.fixture
def server(start_server: StartServer) -> Iterator[FaultServer]:
    """Two workers, a spec that every idle bot is worth warming for; in the end nothing of it is left behind."""
    server = start_server(faulty=True)
    server.api().post("/specs", spec())
    yield server
    wait_for(lambda: server.gate_entries() == [], 10.0, "the gate counts nothing any more")


def warming(server: FaultServer, bot_id: str, **dimensions: str) -> Run:
    """A bot that runs a prewarm."""
    bot = StandInBot(server.url, bot_id, dimensions={key: [value] for key, value in dimensions.items()}).boot()
    run = bot.wait_for_run()
    assert run.purpose
    assert run.start()
    return run


def stopped(server: FaultServer, runs: list[Run]) -> list[Run]:
    """Those of the runs that are to stop, by their records."""
    return [run for run in runs if server.result(run.task_id).stop]


def victim(server: FaultServer, task_id: str) -> dict[str, object] | None:
    """The mark of a waiting task."""
    with server.records():
        return key_of(TaskToRun, task_id).get().victim


def assert_no_failure_was_counted(server: FaultServer) -> None:
    """A run that was stopped is no failure of its spec."""
    with server.records():
        assert not key_of(PoolGate, POOL).get().breakers


def until_told(run: Run) -> None:
    """Keep-alives until the run is told to stop; then it does."""
    wait_for(run.must_stop, 5.0, f"{run.task_id} is told to stop")
    run.tell(run.end(-15))
    run.give_back()


def test_13_two_workers_stop_one_run_for_one_waiting_task(server: FaultServer) -> None:
    api = server.api()
    for number in range(3):
        runs = [warming(server, f"b{number}{letter}", round=str(number)) for letter in "xyz"]
        server_sees_all(server)
        task_id = api.new_task(task(name="w", round=str(number)))  # fits all three; both workers plan for it
        wait_for(lambda runs=runs: any(run.must_stop() for run in runs), 5.0, "a run is stopped")
        server_sees_all(server)
        for run in runs:
            run.must_stop()
        (chosen,) = stopped(server, runs)
        assert victim(server, task_id) == {"bot": chosen.bot.bot_id, "n": chosen.manifest["pilotlight_claim"]} | {
            "until_s": pytest.approx(time.time() + 60, abs=30)
        }
        until_told(chosen)
        real = chosen.bot.wait_for_run()
        assert (real.task_id, real.start()) == (task_id, True)
        assert state(api, chosen.task_id) == "KILLED"
        # The others go on, and end well.
        for run in runs:
            if run is not chosen:
                assert not run.must_stop()
                run.finish()
        real.finish()


def test_13_two_tasks_do_not_share_one_victim(server: FaultServer) -> None:
    run = warming(server, "b1")
    server_sees_all(server)
    with ThreadPoolExecutor(2) as pool:
        tasks = list(pool.map(lambda name: server.api().new_task(task(name=name, id="b1")), ("w1", "w2")))
    until_told(run)
    server_sees_all(server)
    marks = [victim(server, task_id) for task_id in tasks]
    assert sum(mark is not None for mark in marks) == 1
    for _ in tasks:
        real = run.bot.wait_for_run()
        assert real.start() and not real.must_stop()
        real.finish()
    assert [state(server.api(), task_id) for task_id in tasks] == ["COMPLETED"] * 2
    assert_no_failure_was_counted(server)


def test_13_the_freed_bot_takes_another_task_first_and_that_one_is_not_stopped_for_the_one_that_freed_it(
    server: FaultServer,
) -> None:
    """H14: the victim is a run of a bot, not the bot."""
    api = server.api()
    busy = warming(server, "busy")
    bot = StandInBot(server.url, "b1").boot()
    offered = bot.wait_for_run()  # and never started
    server_sees_all(server)
    late = api.new_task(task(name="late", id="b1"))

    def given_up() -> bool:
        assert not busy.must_stop()  # its keep-alives are an occasion to look
        return state(api, offered.task_id) == "CANCELED"

    wait_for(given_up, 5.0, "the offer is taken back")
    urgent = api.new_task(task(name="urgent", id="b1", priority=20))
    first = bot.wait_for_run()
    assert first.task_id in (urgent, late) and first.start()
    assert not offered.start(), "the canceled offer does not run beside it"
    deadline_s = time.monotonic() + 3.0
    while time.monotonic() < deadline_s:
        assert not first.must_stop()
        time.sleep(0.2)
    first.finish()
    second = bot.wait_for_run()
    assert {first.task_id, second.task_id} == {urgent, late} and second.start()
    second.finish()
    busy.finish()


def test_14_a_warm_up_on_demand_whose_bot_is_killed_makes_room_for_a_new_one(server: FaultServer) -> None:
    """H16: cover cannot outlive the run. The plan of the next policy is played by a fault of the server's."""
    api = server.api()
    for number in range(4):
        StandInBot(server.url, f"idle{number}").boot()  # a reserve, which asks for nothing itself
    waiting = api.new_task(task(name="covered", id="nobody"))
    server.arm("cover").write_text(waiting)
    for _ in range(3):
        run = warming(server, "b1")
        assert run.purpose == "on_demand"
        (entry,) = server.gate_entries()
        assert (entry["for"], entry["bot"]) == (waiting, "b1")
        other = StandInBot(server.url, "b2").boot()
        for _ in range(4):
            assert other.ask()["cmd"] == "sleep", "the task is covered"
        run.bot.boot()  # kill -9, and started again
        assert server.gate_entries() == []
        run.tell(run.end(-9))  # the old runner's last word, so that no quiet time stands in the way
        assert state(api, run.task_id) == "BOT_DIED"
    (server.faults / "cover").unlink()
    api.post("/switch", {"stopped": True})
    api.cancel(waiting, kill_running=False)


def test_14_two_workers_that_cover_one_task_at_once_warm_one_bot(server: FaultServer) -> None:
    api, (a, b) = server.api(), list(lines(server).values())
    crowd = Crowd([server.url], 6, lines=[a, b]).boot()
    for number in range(4):
        waiting = api.new_task(task(name=f"covered{number}", id="nobody"))
        server.arm("cover").write_text(waiting)
        runs: list[Run] = []
        deadline_s = time.monotonic() + 8.0
        while not runs and time.monotonic() < deadline_s:
            runs = crowd.runs()
        more = [run for _ in range(3) for run in crowd.runs()]
        assert len(runs) == 1 and not more, "one warm-up covers the task"
        (entry,) = server.gate_entries()
        assert entry["for"] == waiting
        runs[0].start()
        api.cancel(waiting, kill_running=False)
        (server.faults / "cover").unlink()
        api.post("/switch", {"stopped": True})
        until_told(runs[0])
        crowd.busy.clear()
        api.post("/switch", {"stopped": False})
    api.post("/switch", {"stopped": True})
    crowd.close()


def test_15_the_switch_ends_what_is_being_claimed_what_is_offered_and_what_runs(server: FaultServer) -> None:
    api, (a, b) = server.api(), list(lines(server).values())
    running, offered = warming(server, "running"), StandInBot(server.url, "offered").boot().wait_for_run()
    crowd = Crowd([server.url], 8, lines=[a, b]).boot()
    claimed: list[Run] = []
    enough = threading.Event()

    def keep_asking() -> None:
        while not enough.is_set():
            claimed.extend(crowd.runs())

    asking = threading.Thread(target=keep_asking)
    asking.start()
    began_s = time.monotonic()
    api.post("/switch", {"stopped": True, "why": "test"})
    time.sleep(2.0)
    enough.set()
    asking.join()
    assert crowd.runs() == [], "nothing is handed out any more"
    wait_for_state(api, offered.task_id, "CANCELED", 5.0)
    assert not offered.start()
    until_told(running)
    assert time.monotonic() - began_s < 10.0
    assert state(api, running.task_id) == "KILLED"
    for run in claimed:
        assert not run.start() or run.must_stop()
        run.tell(run.end(-15))
    wait_for(lambda: server.gate_entries() == [], 5.0, "the gate is empty")
    assert_no_failure_was_counted(server)
    api.post("/switch", {"stopped": False})
    again = crowd.bots[0].wait_for_run()
    assert again.purpose
    api.post("/switch", {"stopped": True})
    crowd.close()


def server_sees_all(server: FaultServer) -> None:
    """Time in which both workers look at the store, each asked to by a bot of another pool."""
    onlookers = [StandInBot(server.url, f"onlooker{n}", pool="elsewhere").boot() for n in range(2)]
    time.sleep(1.1)
    for bot, line in zip(onlookers, lines(server).values(), strict=True):
        bot.ask(line)
        line.close()
