"""Two processes on Google's emulator that decide the same thing in the same moment: one of them does."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from server import task_scheduler
from server.prewarm_gate import GateRefused
from server.task_scheduler import Delivery, HoldsRun, LostRace
from tests import reserve_world
from tests.app_engine.emulated_world import EmulatedWorld, at_once, world  # noqa: F401 -- the last is a fixture
from tests.life_world import Machine, hand_out

pytestmark = pytest.mark.emulator

ROUNDS = 5


@pytest.fixture
def bots(world: EmulatedWorld) -> Iterator[list[Machine]]:  # noqa: F811
    """Three idle bots, known to both processes."""
    machines = [Machine(world, f"bot{number}") for number in range(3)]
    for machine in machines:
        machine.handshake()
    yield machines


def winners(results: list[object], *losses: type[Exception]) -> list[Delivery]:
    """Who got it; the others lost for one of these reasons."""
    got = [one for one in results if isinstance(one, Delivery)]
    lost = [one for one in results if not isinstance(one, Delivery)]
    assert all(isinstance(one, losses) for one in lost), lost
    return got


def test_the_last_bot_above_the_reserve_is_handed_out_once(world: EmulatedWorld, bots: list[Machine]) -> None:  # noqa: F811
    world.prewarming()
    world.configure(reserve_min=2)
    began_s = time.monotonic()
    for number in range(ROUNDS):
        one, two = bots[number % 3], bots[(number + 1) % 3]
        results = at_once(lambda one=one: hand_out(world.p1, one.token), lambda two=two: hand_out(world.p2, two.token))
        (got,) = winners(results, GateRefused)
        assert world.entries() == [got.task_id]
        world.cancel(got.task_id)
        world.clock.advance(1.0)
        world.fresh()
        assert world.entries() == []
    print(f"{ROUNDS} races for the last bot: {time.monotonic() - began_s:.1f} s")


def test_bots_that_took_tasks_at_one_process_are_no_reserve_of_the_other(world: EmulatedWorld) -> None:  # noqa: F811
    elsewhere, here = reserve_world.fleet(world)
    spare = 1
    reserve_world.take_real_tasks(world, elsewhere[: len(elsewhere + here) - reserve_world.RESERVE - spare])
    for _ in range(2):
        reserve_world.ask_at_once(world, here)
        assert len(world.entries()) == spare


def test_a_task_is_given_to_one_of_two_bots(world: EmulatedWorld, bots: list[Machine]) -> None:  # noqa: F811
    for number in range(ROUNDS):
        one, two = bots[number % 3], bots[(number + 1) % 3]
        task_id = world.new_task()
        results = at_once(
            lambda one=one, task_id=task_id: task_scheduler.claim(world.p1, one.token, task_id, ""),
            lambda two=two, task_id=task_id: task_scheduler.claim(world.p2, two.token, task_id, ""),
        )
        (got,) = winners(results, LostRace)
        assert got.task_id == task_id
        assert [world.holds(f"bot{n}") for n in range(3)].count(task_id) == 1
        world.cancel(task_id)


def test_a_bot_that_polls_both_gets_one_of_two_tasks(world: EmulatedWorld, bots: list[Machine]) -> None:  # noqa: F811
    for _ in range(ROUNDS):
        tasks = [world.new_task(), world.new_task()]
        results = at_once(
            lambda tasks=tasks: task_scheduler.claim(world.p1, bots[0].token, tasks[0], ""),
            lambda tasks=tasks: task_scheduler.claim(world.p2, bots[0].token, tasks[1], ""),
        )
        (got,) = winners(results, HoldsRun)
        assert world.holds("bot0") == got.task_id
        for task_id in tasks:
            world.cancel(task_id)
        assert world.holds("bot0") == ""
