"""What opens a spec's circuit breaker, and what does not."""

from __future__ import annotations

from server import fleet_report, task_scheduler
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
    breaker = next(gate for gate in fleet_report.fleet(world.p1)["pools"][0]["gates"] if gate["gate"] == "breaker")
    assert not breaker["passed"] and FAMILY in breaker["text"]


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
    assert not any(entry.policy.backoff_until_s for entry in world.p1.view.bots())


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
