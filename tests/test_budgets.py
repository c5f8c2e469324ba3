"""Budgets of Datastore operations, counted at the store's stub; the table stands in docs/architecture.md.

None of them may grow with bots, specs or pending tasks: the small and the large fleet have the same budgets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from server import task_request
from server.access import LOCAL_USER
from tests.life_world import POOL, LifeWorld, Machine, Run, end, keep_alive, report, start, task_input

SIZES = {"small": (2, 0), "large": (50, 40)}
"""Bots and pending tasks that are there besides."""


@dataclass(frozen=True)
class Cost:
    """Entities read and written, and queries."""

    reads: int
    writes: int
    queries: int


class Fleet(LifeWorld):
    """A world that is already populated, and measures."""

    def __init__(self, folder: Path, bots: int, waiting: int) -> None:
        super().__init__(folder)
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
    fleet.prewarming()
    first = fleet.cost(fleet.machine.warms)
    again = fleet.cost(fleet.others[0].warms)
    assert max(first.reads, again.reads) <= 4 and max(first.writes, again.writes) <= 4
    assert first.queries == again.queries == 0


def test_a_start_costs_one_and_one(fleet: Fleet) -> None:
    run = fleet.machine.takes(fleet.new_task(dimensions={"id": "bot1"}))
    assert fleet.cost(lambda: start(fleet.p1, run)) == Cost(1, 1, 0)


def test_a_keep_alive_costs_nothing(fleet: Fleet) -> None:
    run = started(fleet)
    assert fleet.cost(lambda: keep_alive(fleet.p1, run)) == Cost(0, 0, 0)


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


def test_the_end_of_a_background_run_costs_three_and_three(fleet: Fleet) -> None:
    fleet.prewarming()
    run = fleet.machine.warms()
    start(fleet.p1, run)
    assert fleet.cost(lambda: end(fleet.p1, run)) == Cost(3, 3, 0)


def test_a_new_task_costs_at_most_two_reads_and_three_writes(fleet: Fleet) -> None:
    wanted = task_input(request_uuid="8c2f", dimensions={"device": "none has it"})
    cost = fleet.cost(lambda: task_request.new_task(fleet.p1, LOCAL_USER, wanted))
    assert cost.reads <= 2 and (cost.writes, cost.queries) == (3, 0)
    assert fleet.cost(lambda: task_request.new_task(fleet.p1, LOCAL_USER, wanted)).writes == 0


def test_a_thousand_polls_of_fifty_bots_at_two_processes_cost_two_queries_a_second_each_and_no_writes(
    tmp_path: Path,
) -> None:
    fleet = Fleet(tmp_path, 50, 0)
    fleet.fresh()
    polls, seconds = 1_000, 50.0
    with fleet.store.ops.measure() as measured:
        for number in range(polls):
            service = fleet.services[number % 2]
            fleet.others[number % len(fleet.others)].poll(service)
            service.pages.turn()
            fleet.clock.advance(seconds / polls)
    per_process_second = 2 * seconds
    assert measured.queries <= 2 * per_process_second
    assert measured.writes <= 0.5 * per_process_second
    assert not any(machine.runs for machine in fleet.others)
    assert {entry.pool for entry in fleet.p1.view.bots()} == {POOL}
    fleet.close()
