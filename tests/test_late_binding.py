"""A task that meets only cold bots, on the server: one is warmed for it, and it takes whichever bot is warm first."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from server import fleet_report, prewarm_spec, switch
from server.policy.fleet import Fleet
from server.policy.model import Purpose, Wish
from server.records import key_of
from server.records.pool import PoolGate
from tests.life_world import LOCAL_USER, POOL, LifeWorld, Machine, end, spec_body, start

WANTS = {"tags": ["warm:src"]}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[LifeWorld]:
    world = LifeWorld(tmp_path / "data")
    world.prewarming("src", cold_cost_s=60, run_s=60, expected_per_h=0)
    world.configure(mode="live", min_idle_s=3600)  # No bets: what is owed needs no idle time.
    yield world
    world.close()


def idle(world: LifeWorld, number: int) -> Machine:
    machine = Machine(world, f"bot{number}")
    machine.handshake()
    machine.poll()
    return machine


def test_a_cold_bot_is_warmed_for_the_task_which_then_runs_there(world: LifeWorld) -> None:
    one = idle(world, 1)
    first = one.takes(world.new_task(**WANTS))
    start(world.p1, first)
    two, _ = idle(world, 2), idle(world, 3)
    waits = world.new_task(**WANTS)
    warms = two.poll().delivery
    assert warms is not None and warms.purpose == Purpose.ON_DEMAND.value
    assert world.state(waits) == "PENDING"
    world.fresh()
    why = fleet_report.why_task(world.p1, LOCAL_USER, waits)["sentence"]
    told = fleet_report.why_task(world.p1, LOCAL_USER, waits)
    assert told["would_change"] == "The end of a run with that state, or that time."
    assert why.startswith("bot2 is being warmed for src@r1; the task takes that bot or another that is warm sooner.")
    start(world.p1, two.runs[-1])
    world.clock.advance(30)
    end(world.p1, two.runs[-1])
    world.fresh()
    assert two.takes(waits).delivery.purpose == ""
    assert world.result(waits).warm_at_start["src"]["warm"]


def test_the_policy_sees_of_a_busy_bot_whether_it_starts_up_cold_and_since_when(world: LifeWorld) -> None:
    """On it depends whether a task is held for that bot."""
    one, began_s = idle(world, 1), world.clock.now_s()
    run = one.takes(world.new_task(**WANTS))
    start(world.p1, run)
    for is_cold in (True, False):
        world.fresh()
        view = world.p1.view.pool_view(POOL)
        (use,) = Fleet(view).uses(Wish("src"))
        assert use == (pytest.approx(began_s, abs=0.1), ("src",) if is_cold else ())
        world.clock.advance(70)
        end(world.p1, run)
        world.fresh()
        began_s = world.clock.now_s()
        run = one.takes(world.new_task(**WANTS))
        start(world.p1, run)


def test_how_long_tasks_work_is_learned_without_their_start_up(world: LifeWorld) -> None:
    """By it a busy bot is expected to be free, a cold start of its own apart: that must not count twice."""
    world.prewarming("lib", cold_cost_s=20, warm_cost_s=3, run_s=60, expected_per_h=0)
    one = idle(world, 1)
    for took_s in (360.0, 302.0, 302.0, 302.0, 302.0):  # cold, then warm: 300 s of work each
        run = one.takes(world.new_task(**WANTS))
        start(world.p1, run)
        end(world.p1, run, took_s=took_s)
        world.fresh()
    assert world.p1.view.pool_view(POOL).demand["src"].duration_s == pytest.approx(300.0)
    for tags in (["warm:lib", "warm:src"], *[["warm:lib"]] * 3):
        run = one.takes(world.new_task(tags=tags))
        start(world.p1, run)
        end(world.p1, run, took_s=23.0 if len(tags) == 2 else 1.0)
        world.fresh()
    assert world.p1.view.pool_view(POOL).demand["src"].duration_s == pytest.approx((5 * 300.0 + 3.0) / 6)
    assert world.p1.view.pool_view(POOL).demand["lib"].duration_s == pytest.approx((3.0 + 3 * 1.0) / 4, rel=1e-3)


def test_it_runs_elsewhere_if_another_bot_is_warm_sooner(world: LifeWorld) -> None:
    one = idle(world, 1)
    first = one.takes(world.new_task(**WANTS))
    start(world.p1, first)
    two, _ = idle(world, 2), idle(world, 3)
    waits = world.new_task(**WANTS)
    assert two.poll().delivery is not None
    world.clock.advance(5)
    end(world.p1, first)
    world.fresh()
    assert one.takes(waits)


def test_starts_out_of_turn_are_counted_with_the_bot_until_its_next_cold_start(world: LifeWorld) -> None:
    """The old task may run on bot1 alone, which is warm for the younger ones."""
    one = idle(world, 1)
    run = one.takes(world.new_task(**WANTS))
    old = world.new_task()
    for count in (1, 2):
        start(world.p1, run)
        world.clock.advance(200)
        young = world.new_task(**WANTS)
        end(world.p1, run)
        world.fresh()
        run = one.takes(young)
        assert world.bot().out_of_turn == count
    start(world.p1, run)
    world.new_task(**WANTS)
    end(world.p1, run)
    world.fresh()
    assert one.takes(old)


def test_a_straggler_has_a_bot_warmed_for_the_generation_before(world: LifeWorld) -> None:
    """Nobody bets on r1 any more, yet where it is in use a task that asks for it is warmed for."""
    wants = {"tags": ["warm:src@r1"]}
    one = idle(world, 1)
    first = one.takes(world.new_task(**wants))
    start(world.p1, first)
    body = spec_body("src", generation="r2", cold_cost_s=60, run_s=60, expected_per_h=0)
    prewarm_spec.edit(world.p1, LOCAL_USER, "src", body, 1)
    world.fresh()
    two, _ = idle(world, 2), idle(world, 3)
    waits = world.new_task(**wants)
    warms = two.poll().delivery
    assert warms is not None and warms.purpose == Purpose.ON_DEMAND.value
    run = world.result(warms.task_id)
    assert (run.generation, run.spec_revision) == ("r1", 1)
    start(world.p1, two.runs[-1])
    world.clock.advance(30)
    end(world.p1, two.runs[-1])
    world.fresh()
    two.takes(waits)
    assert world.result(waits).warm_at_start["src"]["warm"]


def test_a_pool_whose_gate_was_never_written_hands_out_after_the_switch_was_thrown_and_set_back(
    world: LifeWorld,
) -> None:
    idle(world, 1)
    for _ in range(2):
        switch.set_switch(world.p1, LOCAL_USER, True, "a test")
        world.fresh()
        world.p1.view.plan("p")
        switch.set_switch(world.p1, LOCAL_USER, False, "over")
        with world.store.context():
            key_of(PoolGate, "p").delete()
        world.fresh()
        world.p1.view.plan("p")
    one = idle(world, 1)
    start(world.p1, one.takes(world.new_task(**WANTS)))
    two, _ = idle(world, 2), idle(world, 3)
    world.new_task(**WANTS)
    warms = two.poll().delivery
    assert warms is not None and warms.purpose == Purpose.ON_DEMAND.value
