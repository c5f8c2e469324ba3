"""What opens a spec's circuit breaker, and what does not."""

from __future__ import annotations

from server import fleet_report, prewarm_spec, task_scheduler
from server.access import LOCAL_USER
from tests.life_world import FAMILY, LifeWorld, Machine, end, start


def test_runs_that_fail_on_several_bots_open_it_and_quarantine_nobody(world: LifeWorld) -> None:
    world.prewarming()
    config = world.p1.config.current.defaults
    for number in range(max(config.breaker_failures, config.breaker_bots)):
        machine = Machine(world, f"bot{number}")
        machine.handshake()
        run = machine.warms()
        start(world.p1, run)
        end(world.p1, run, exit_code=1)
    world.fresh()
    assert FAMILY in world.p1.view.gate("p").open_breakers
    assert not any(entry.policy.quarantined for entry in world.p1.view.bots())
    gates = fleet_report.fleet(world.p1, LOCAL_USER)["pools"][0]["gates"]
    breaker = next(gate for gate in gates if gate["gate"] == "breaker")
    assert not breaker["passed"] and FAMILY in breaker["text"]


def broken(world: LifeWorld) -> list[Machine]:
    """Three idle bots on which the spec's runs just failed, so that its breaker opened."""
    world.prewarming(expected_per_h=100)
    machines = [Machine(world, f"bot{number}") for number in range(3)]
    for machine in machines:
        machine.handshake()
        run = machine.warms()
        start(world.p1, run)
        end(world.p1, run, exit_code=1)
    world.clock.advance(60)
    world.fresh()
    return machines


def test_why_names_what_closes_the_breaker_and_no_end_of_a_back_off(world: LifeWorld) -> None:
    broken(world)
    why = fleet_report.why_bot(world.p1, LOCAL_USER, "bot0")
    assert why["gate"] == "breaker"
    assert f"repair {FAMILY} and resume it" in why["would_change"].lower()
    assert "that time" not in why["would_change"]


def test_a_resumed_spec_is_tried_at_once_where_it_failed_before(world: LifeWorld) -> None:
    machines = broken(world)
    assert all(machine.poll().delivery is None for machine in machines)
    prewarm_spec.resume(world.p1, LOCAL_USER, FAMILY)
    world.clock.advance(1)
    world.fresh()
    tried = next(machine for machine in machines if machine.poll().delivery is not None)
    start(world.p1, tried.runs[-1])
    end(world.p1, tried.runs[-1], exit_code=1)
    world.clock.advance(60)
    world.fresh()
    why = fleet_report.why_bot(world.p1, LOCAL_USER, tried.bot_id)
    assert why["sentence"].startswith("The bot refused: src failed on")


def test_bots_that_leave_in_the_middle_say_nothing_of_the_spec(world: LifeWorld) -> None:
    world.prewarming()
    for number in range(5):
        machine = Machine(world, f"bot{number}")
        machine.handshake()
        run = machine.warms()
        start(world.p1, run)
        if number % 2:
            machine.handshake()
        else:
            task_scheduler.task_error(world.p1, run.token, run.task_id, "it leaves", {}, handed_back=True)
    world.fresh()
    assert not world.p1.view.gate("p").open_breakers
    assert not any(entry.policy.failed_s for entry in world.p1.view.bots())


def test_a_bot_that_hands_every_task_back_is_no_black_hole(world: LifeWorld) -> None:
    machine = Machine(world)
    for number in range(world.p1.config.current.defaults.black_hole_failures + 1):
        machine.handshake()
        run = machine.takes(world.new_task(name=f"t{number}"))
        start(world.p1, run)
        task_scheduler.task_error(world.p1, run.token, run.task_id, "it leaves", {}, handed_back=True)
    assert not world.bot().server_quarantined


def test_a_success_closes_the_row_of_failures(world: LifeWorld) -> None:
    world.prewarming()
    for number in range(6):
        machine = Machine(world, f"bot{number}")
        machine.handshake()
        run = machine.warms()
        start(world.p1, run)
        end(world.p1, run, exit_code=number % 2)
    world.fresh()
    assert not world.p1.view.gate("p").open_breakers
