"""Budgets of Datastore operations, counted at the store's stub; the table stands in docs/architecture.md.

None of them may grow with bots, specs or pending tasks: the small and the large fleet have the same budgets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from server import announcements, task_output, task_request, task_update
from server.access import LOCAL_USER
from server.announce_body import Announce
from server.task_scheduler import EndReport
from server.task_update import Update
from server.view_budget import BURST_REFRESHES, QUERIES_PER_REFRESH
from tests.life_world import POOL, LifeWorld, Machine, Run, end, keep_alive, report, start, task_input

SIZES = {"small": (2, 0, 1), "large": (50, 40, 8)}
"""Bots, pending tasks and specs that are there besides."""


@dataclass(frozen=True)
class Cost:
    """Entities read and written, and queries."""

    reads: int
    writes: int
    queries: int


class Fleet(LifeWorld):
    """A world that is already populated, and measures."""

    def __init__(self, folder: Path, bots: int, waiting: int, specs: int) -> None:
        super().__init__(folder)
        for number in range(specs):
            self.prewarming(f"src{number or ''}")
        self.others = [Machine(self, f"other{number}") for number in range(bots)]
        for machine in self.others:
            machine.sessions = 1
            machine.token = machine.repeat_handshake()
        for _ in range(waiting):
            task_request.new_task(self.p1, LOCAL_USER, task_input(dimensions={"device": "none has it"}))
        self.machine = Machine(self)
        self.machine.handshake()
        self.machine.poll()
        self.fresh()

    def cost(self, action: Callable[[], Any]) -> Cost:
        """What the action asks of the store; refreshes of the view have a budget of their own, per second."""
        for service in self.services:
            service.view.refresh(force=True)
        with ExitStack() as stack, self.store.ops.measure() as measured:
            for service in self.services:
                stack.enter_context(mock.patch.object(service.view, "refresh", return_value=False))
            action()
        return Cost(measured.reads, measured.writes, measured.queries)


@pytest.fixture(params=SIZES)
def fleet(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Fleet]:
    made = Fleet(tmp_path, *SIZES[request.param])
    yield made
    made.close()


def started(fleet: Fleet) -> Run:
    run = fleet.machine.takes(fleet.new_task(dimensions={"id": "bot1"}))
    start(fleet.p1, run)
    return run


def test_one_more_idle_poll_costs_nothing(fleet: Fleet) -> None:
    assert fleet.cost(fleet.machine.poll) == Cost(0, 0, 0)


def test_a_poll_with_news_costs_one_read_and_one_write(fleet: Fleet) -> None:
    fleet.machine.said = report("bot1", device=["pixel"])
    assert fleet.cost(fleet.machine.poll) == Cost(1, 1, 0)


def test_a_poll_that_gets_a_task_costs_three_and_three(fleet: Fleet) -> None:
    fleet.new_task(dimensions={"id": "bot1"})
    cost = fleet.cost(lambda: fleet.machine.poll())
    assert fleet.machine.runs, "it got none"
    assert cost == Cost(3, 3, 0)


def test_the_poll_after_a_run_that_gets_the_next_task_costs_no_more(fleet: Fleet) -> None:
    run = started(fleet)
    end(fleet.p1, run)
    fleet.new_task(dimensions={"id": "bot1"})
    assert fleet.cost(lambda: fleet.machine.poll(fleet.p2)) == Cost(3, 3, 0)
    assert len(fleet.machine.runs) == 2


def test_a_background_hand_out_costs_four_and_four_at_most(fleet: Fleet) -> None:
    first = fleet.cost(fleet.machine.warms)
    again = fleet.cost(fleet.others[0].warms)
    waiting = fleet.new_task(dimensions={"device": "none has it"})
    on_demand = fleet.cost(lambda: fleet.others[1].warms(for_task=waiting))
    assert first == Cost(4, 4, 0)  # the pool's first asks the head record where the switch stands
    assert again == Cost(3, 4, 0)
    assert on_demand == Cost(4, 4, 0)


def test_a_start_costs_one_and_one(fleet: Fleet) -> None:
    run = fleet.machine.takes(fleet.new_task(dimensions={"id": "bot1"}))
    assert fleet.cost(lambda: start(fleet.p1, run)) == Cost(1, 1, 0)


def test_a_keep_alive_costs_nothing(fleet: Fleet) -> None:
    run = started(fleet)
    assert fleet.cost(lambda: keep_alive(fleet.p1, run)) == Cost(0, 0, 0)


def test_a_keep_alive_that_is_held_costs_nothing_however_often_it_wakes(fleet: Fleet) -> None:
    run = started(fleet)
    wakeup = fleet.p1.wakeup

    def held() -> None:
        with ThreadPoolExecutor(1) as threads:
            future = threads.submit(task_update.update, fleet.p1, run.token, Update(run.task_id, hold_s=10.0))
            for _ in range(50):
                wakeup.notify()
            fleet.clock.advance(10)
            while not future.done():
                wakeup.notify()
            assert future.result().held

    with mock.patch.object(wakeup, "_watch"):  # the refreshes have a budget of their own
        assert fleet.cost(held) == Cost(0, 0, 0)


def test_the_first_keep_alive_at_another_process_costs_one_read_and_the_next_nothing(fleet: Fleet) -> None:
    run = started(fleet)
    assert fleet.cost(lambda: keep_alive(fleet.p2, run)) == Cost(1, 0, 0)
    assert fleet.cost(lambda: keep_alive(fleet.p2, run)) == Cost(0, 0, 0)


def test_output_costs_one_write(fleet: Fleet) -> None:
    run = started(fleet)
    assert fleet.cost(lambda: keep_alive(fleet.p1, run, b"hello\n", 0)) == Cost(0, 1, 0)


def test_an_end_costs_two_and_two(fleet: Fleet) -> None:
    run = started(fleet)
    assert fleet.cost(lambda: end(fleet.p1, run)) == Cost(2, 2, 0)


def test_an_end_that_brings_the_last_output_costs_one_write_more_at_any_process(fleet: Fleet) -> None:
    run = started(fleet)
    last = Update(run.task_id, b"bye\n", 6, EndReport(0, 1.0))
    assert fleet.cost(lambda: task_update.update(fleet.p2, run.token, last)) == Cost(2, 3, 0)
    assert task_output.read(fleet.p2, run.task_id, 6) == b"bye\n"


def test_the_end_of_a_background_run_costs_three_and_three(fleet: Fleet) -> None:
    run = fleet.machine.warms()
    start(fleet.p1, run)
    assert fleet.cost(lambda: end(fleet.p1, run)) == Cost(3, 3, 0)


def test_a_new_task_costs_at_most_two_reads_and_three_writes(fleet: Fleet) -> None:
    wanted = task_input(request_uuid="8c2f", dimensions={"device": "none has it"})
    assert fleet.cost(lambda: task_request.new_task(fleet.p1, LOCAL_USER, wanted)) == Cost(2, 3, 0)
    assert fleet.cost(lambda: task_request.new_task(fleet.p2, LOCAL_USER, wanted)) == Cost(2, 0, 0)
    plain = task_input(dimensions={"device": "none has it"}, tags=["announce:src*20+9m", "announce:wrong"])
    assert fleet.cost(lambda: task_request.new_task(fleet.p1, LOCAL_USER, plain)) == Cost(1, 3, 0)


def test_an_announcement_costs_one_and_one_the_same_again_one_read(fleet: Fleet) -> None:
    wanted = Announce(pool=POOL, family="src", in_s=60, request_id="8c2f")
    assert fleet.cost(lambda: announcements.announce(fleet.p1, LOCAL_USER, wanted)) == Cost(1, 1, 0)
    assert fleet.cost(lambda: announcements.announce(fleet.p2, LOCAL_USER, wanted)) == Cost(1, 0, 0)
    entry_id = fleet.p1.announced.said(POOL)[0].entry.id
    assert fleet.cost(lambda: announcements.retract(fleet.p2, LOCAL_USER, POOL, entry_id)) == Cost(1, 1, 0)


def test_a_new_task_with_a_parent_reads_the_parent_too(fleet: Fleet) -> None:
    parent = fleet.new_task(dimensions={"device": "none has it"})
    wanted = task_input(request_uuid="8c2f", parent_task_id=parent, dimensions={"device": "none has it"})
    assert fleet.cost(lambda: task_request.new_task(fleet.p1, LOCAL_USER, wanted)) == Cost(3, 3, 0)
    assert fleet.cost(lambda: task_request.new_task(fleet.p2, LOCAL_USER, wanted)) == Cost(2, 0, 0)
    plain = task_input(parent_task_id=parent, dimensions={"device": "none has it"})
    assert fleet.cost(lambda: task_request.new_task(fleet.p1, LOCAL_USER, plain)) == Cost(2, 3, 0)


@pytest.mark.parametrize(
    ("size", "tells"), [("small", False), ("large", False), ("large", True)], ids=["small", "large", "store tells news"]
)
def test_a_thousand_polls_at_two_processes_cost_what_two_processes_cost(tmp_path: Path, size: str, tells: bool) -> None:
    """All of it: views, sweeps, jobs and pages. However many bots poll, and whatever waits."""
    _, waiting, specs = SIZES[size]
    fleet = Fleet(tmp_path, 50, waiting, specs)
    if not tells:
        fleet.store.data_version = lambda: None  # type: ignore[method-assign]
    polls, seconds = 1_000, 100.0
    by_process = {service.process_id: [0, 0] for service in fleet.services}
    for number in range(polls):
        fleet.clock.advance(seconds / polls)
        service = fleet.services[number % 2]
        with fleet.store.ops.measure() as measured:
            fleet.others[number // 2 % len(fleet.others)].poll(service)
            if number % 20 < 2:
                service.carrier.tick()
        by_process[service.process_id][0] += measured.queries
        by_process[service.process_id][1] += measured.writes
    for queries, writes in by_process.values():
        assert 0 < queries / seconds <= 2.0 + BURST_REFRESHES * QUERIES_PER_REFRESH / seconds
        assert 0 < writes / seconds <= 0.5
    assert not any(machine.runs for machine in fleet.others)
    fleet.close()


def test_a_pool_that_bets_all_the_time_asks_the_store_no_more_often_than_others(tmp_path: Path) -> None:
    """Each bet looks at the store first; each run is cancelled at once, so that there is always one to place."""
    fleet = Fleet(tmp_path, 20, 0, 0)
    fleet.prewarming(expected_per_h=100_000)
    fleet.configure(hand_outs_per_min=600)
    fleet.store.data_version = lambda: None  # type: ignore[method-assign]
    polls, seconds = 300, 100.0
    queries = dict.fromkeys(("p1", "p2"), 0)
    for number in range(polls):
        fleet.clock.advance(seconds / polls)
        service, bot = fleet.services[number % 2], fleet.others[number // 2 % len(fleet.others)]
        with fleet.store.ops.measure() as measured:
            run = bot.poll(service).delivery
            if run is not None:
                fleet.cancel(run.task_id, service)
            if number % 6 < 2:
                service.carrier.tick()
        queries[service.process_id] += measured.queries
    assert max(queries.values()) / seconds <= 2.0 + BURST_REFRESHES * QUERIES_PER_REFRESH / seconds
    bets = sum(len(bot.runs) for bot in fleet.others)
    assert bets / seconds >= 1.2, "0.7 a second at each of two processes, less what sweeps ask for"
    fleet.close()


def test_each_of_a_thousand_idle_polls_costs_nothing_itself(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, 50, 40, 8)
    polls = 0

    def poll_all() -> None:
        nonlocal polls
        for _ in range(10):
            for machine in fleet.others:
                for service in fleet.services:
                    machine.poll(service)
                    polls += 1

    assert fleet.cost(poll_all) == Cost(0, 0, 0)
    assert polls == 1_000
    fleet.close()


def test_a_process_that_nobody_asks_costs_nothing_but_its_sweeps(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, 2, 0, 1)
    for service in fleet.services:
        service.carrier.tick()
    with fleet.store.ops.measure() as measured:
        for _ in range(600):
            fleet.clock.advance(1.0)
            for service in fleet.services:
                service.carrier.tick()
    assert measured.queries / 600 <= 1.0, "both processes together"
    assert measured.writes / 600 <= 0.5, "both processes together"
    fleet.close()
