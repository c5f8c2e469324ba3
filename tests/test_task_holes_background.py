"""Holes that the protocol closes around background work: each test plays the interleaving that once broke it."""

from __future__ import annotations

import contextlib
import threading

import pytest

from server import sweeps, task_scheduler, task_stops
from server.policy.outcome import Preempt
from server.prewarm_gate import GateRefused
from server.records.task import TaskToRun
from server.service import Service
from tests.life_world import LifeWorld, Machine, Run, end, hand_out, keep_alive, start


@pytest.fixture
def bot(world: LifeWorld) -> Machine:
    bot = Machine(world)
    bot.handshake()
    return bot


def preempt(world: LifeWorld, run: Run, for_task: str, service: Service | None = None) -> bool:
    wanted = Preempt(run.token.bot, run.delivery.n, run.task_id, for_task, "It waits.")
    return task_stops.preempt(service or world.p1, wanted)


def waits_for_nobody(world: LifeWorld) -> str:
    """A task that no bot of these tests can take by a poll."""
    return world.new_task(dimensions={"cpu": "none-has-it"})


# ---- H12


def test_a_warm_up_that_was_not_started_is_over_and_never_waits(world: LifeWorld, bot: Machine) -> None:
    world.prewarming()
    run = bot.warms()
    world.clock.advance(31)
    sweeps.lapse_claims(world.p2, world.beat())
    assert world.state(run.task_id) == "CANCELED"
    assert world.record(TaskToRun, run.task_id) is None
    assert bot.poll(world.p2).delivery is None
    assert start(world.p1, run).must_stop


# ---- H13


@pytest.mark.parametrize("how", ["end", "error", "cancel", "lapse", "poll", "handshake", "death", "switch", "preempt"])
def test_a_warm_up_leaves_the_gate_however_it_ends(world: LifeWorld, bot: Machine, how: str) -> None:
    world.prewarming()
    run = bot.warms()
    assert world.entries() == [run.task_id]
    if how in ("end", "error", "handshake", "death"):
        start(world.p1, run)
    if how == "end":
        end(world.p2, run)
    elif how == "error":
        task_scheduler.task_error(world.p2, run.token, run.task_id, "no disk", {})
    elif how == "cancel":
        world.cancel(run.task_id)
    elif how == "lapse":
        world.clock.advance(31)
        sweeps.lapse_claims(world.p2, world.beat())
    elif how == "poll":
        bot.poll(world.p2)
    elif how == "handshake":
        bot.handshake(world.p2)
    elif how == "death":
        world.clock.advance(601)
        sweeps.declare_deaths(world.p2, world.beat())
    elif how == "switch":
        task_stops.stop_background(world.p2, run.task_id, run.delivery.n, "off")
    else:
        assert preempt(world, run, waits_for_nobody(world))
    assert world.entries() == []
    assert world.holds() == ""


# ---- H14


def test_a_bot_that_was_freed_for_one_task_and_took_another_is_not_stopped_for_the_first(
    world: LifeWorld, bot: Machine
) -> None:
    world.prewarming()
    warming = bot.warms()
    waiting = waits_for_nobody(world)
    assert preempt(world, warming, waiting, world.p2)
    urgent = world.new_task(priority=30)
    run = bot.takes(urgent)
    assert not start(world.p1, run).must_stop
    world.fresh()
    for service in world.services:
        assert not keep_alive(service, run).must_stop
    assert end(world.p1, run).ok
    assert world.state(urgent) == "COMPLETED"


def test_a_task_whose_victim_took_other_work_may_stop_another_run(world: LifeWorld, bot: Machine) -> None:
    world.prewarming()
    other = Machine(world, "bot2")
    other.handshake()
    warming, also_warming = bot.warms(), other.warms()
    waiting = waits_for_nobody(world)
    assert preempt(world, warming, waiting)
    assert not preempt(world, also_warming, waiting, world.p2)
    bot.takes(world.new_task())
    assert preempt(world, also_warming, waiting, world.p2)


# ---- H15


def test_a_stopped_warm_up_is_killed_and_no_failure_even_if_its_mark_is_forgotten(
    world: LifeWorld, bot: Machine
) -> None:
    world.prewarming()
    run = bot.warms()
    start(world.p1, run)
    waiting = waits_for_nobody(world)
    assert preempt(world, run, waiting)
    world.cancel(waiting)
    world.clock.advance(200)
    assert end(world.p2, run, exit_code=-15).ok
    assert world.state(run.task_id) == "KILLED"
    assert world.gate().breakers == {}
    assert world.bot().failed_s == {}


def test_two_waiting_tasks_do_not_choose_one_victim(world: LifeWorld, bot: Machine) -> None:
    world.prewarming()
    run = bot.warms()
    start(world.p1, run)
    one, two = waits_for_nobody(world), waits_for_nobody(world)
    assert preempt(world, run, one, world.p1)
    assert not preempt(world, run, two, world.p2)
    assert world.record(TaskToRun, two).victim is None


def test_the_stop_reaches_the_run_through_every_process(world: LifeWorld, bot: Machine) -> None:
    world.prewarming()
    run = bot.warms()
    start(world.p1, run)
    preempt(world, run, waits_for_nobody(world), world.p2)
    world.fresh()
    assert [keep_alive(service, run).must_stop for service in world.services] == [True, True]
    assert keep_alive(world.p1, run).reason == "preempted for a real task"


# ---- H16


def test_a_covered_task_gets_a_new_warm_up_when_its_own_dies(world: LifeWorld, bot: Machine) -> None:
    world.prewarming()
    other = Machine(world, "bot2")
    other.handshake()
    task = waits_for_nobody(world)
    run = bot.warms(for_task=task)
    start(world.p1, run)
    with pytest.raises(GateRefused):
        hand_out(world.p2, other.token, for_task=task)
    bot.handshake()
    assert other.warms(world.p2, for_task=task).task_id == world.entries()[0]


def test_a_task_stays_covered_for_as_long_as_its_warm_up_runs(world: LifeWorld, bot: Machine) -> None:
    world.prewarming()
    other = Machine(world, "bot2")
    other.handshake()
    task = world.new_task(dimensions={"cpu": "none-has-it"}, expiration_s=6000)
    start(world.p1, bot.warms(for_task=task))
    world.clock.advance(1000)
    world.fresh()
    with pytest.raises(GateRefused):
        hand_out(world.p2, other.token, for_task=task)


def test_a_warm_up_whose_task_has_gone_serves_the_next_one_of_its_state(world: LifeWorld, bot: Machine) -> None:
    world.prewarming()
    other = Machine(world, "bot2")
    other.handshake()
    first, second = waits_for_nobody(world), waits_for_nobody(world)
    run = bot.warms(for_task=first)
    start(world.p1, run)
    world.cancel(first)
    world.fresh()
    with pytest.raises(GateRefused):
        hand_out(world.p2, other.token, for_task=second)
    assert [(entry["task"], entry["for"]) for entry in world.gate().entries] == [(run.task_id, second)]
    assert world.bot().held["for"] == second
    assert world.p2.view.bot("bot1").policy.held.for_task == second


def test_no_warm_up_begins_for_a_task_that_waits_no_more(world: LifeWorld, bot: Machine) -> None:
    world.prewarming()
    task = waits_for_nobody(world)
    world.freeze(world.p2)
    world.cancel(task)
    with pytest.raises(GateRefused):
        hand_out(world.p2, bot.token, for_task=task)
    assert (world.entries(), world.holds()) == ([], "")


# ---- H17


def test_a_waiting_task_does_not_stop_its_own_warm_up(world: LifeWorld, bot: Machine) -> None:
    world.prewarming()
    task = waits_for_nobody(world)
    run = bot.warms(for_task=task)
    start(world.p1, run)
    assert not preempt(world, run, task, world.p2)
    assert not preempt(world, run, waits_for_nobody(world), world.p2)
    world.cancel(task)
    assert preempt(world, run, waits_for_nobody(world), world.p2)


def test_a_task_for_which_a_run_is_being_stopped_starts_no_warm_up(world: LifeWorld, bot: Machine) -> None:
    world.prewarming()
    other = Machine(world, "bot2")
    other.handshake()
    run = bot.warms()
    start(world.p1, run)
    task = waits_for_nobody(world)
    assert preempt(world, run, task)
    with pytest.raises(GateRefused):
        hand_out(world.p2, other.token, for_task=task)


def test_a_task_is_never_both_covered_and_waiting_for_its_victim_however_two_processes_race(
    world: LifeWorld, bot: Machine
) -> None:
    """Write skew: each of the two transactions only reads what the other writes."""
    world.prewarming()
    other = Machine(world, "bot2")
    other.handshake()
    for _ in range(10):
        run = bot.warms()
        start(world.p1, run)
        task = waits_for_nobody(world)
        barrier, covered = threading.Barrier(2), []

        def cover(task: str = task, barrier: threading.Barrier = barrier, covered: list[Run] = covered) -> None:
            barrier.wait()
            with contextlib.suppress(GateRefused):
                covered.append(other.warms(world.p2, for_task=task))

        thread = threading.Thread(target=cover)
        thread.start()
        barrier.wait()
        stopped = preempt(world, run, task)
        thread.join()
        assert stopped != bool(covered)
        for one in [run, *covered]:
            start(world.p1, one)
            end(world.p1, one)
        assert world.entries() == []
        # A view from before the preemption hands out nothing.
        world.clock.advance(1)
        world.fresh()
