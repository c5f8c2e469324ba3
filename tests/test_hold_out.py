"""The hold-out in the server: what it withholds, what it does not, and what its two groups tell."""

from __future__ import annotations

from typing import Any

import pytest

from server import fleet_report
from server.access import LOCAL_USER
from server.policy import hold_out
from server.policy.model import Gate
from server.prewarm_gate import GateRefused
from server.service import Service
from tests.life_world import FAMILY, LIVE, POOL, LifeWorld, Machine, Run, end, hand_out, idle_machines, start

SHARE = 0.05


def plain(text: str) -> str:
    return text.replace("\u00a0", " ")


def holding_out(world: LifeWorld, **changes: Any) -> None:
    """A live pool with the default hold-out and one spec."""
    world.configure(**LIVE | {"holdout_share": SHARE})
    world.prewarming(**{"expected_per_h": 1000, "cold_cost_s": 200, "warm_cost_s": 2, **changes})


def go_to(world: LifeWorld, held_out: bool, after_s: float = 600.0) -> hold_out.Window:
    """On to a window that is (not) held out, as the one before it was not, and so long into it."""
    spec = world.p1.view.specs()[FAMILY].policy
    at_s, before = world.clock.now_s(), True
    while True:
        found = hold_out.window(spec, SHARE, at_s)
        if found.begins_s > world.clock.now_s() and found.held_out is held_out and not before:
            world.clock.advance(found.begins_s + after_s - world.clock.now_s())
            world.fresh()
            return found
        at_s, before = found.ends_s + 1.0, found.held_out


def runs(world: LifeWorld, machine: Machine, wait_s: float = 0.0, **changes: Any) -> Run:
    """A task that wants the family comes, waits, and runs."""
    task_id = world.new_task(**{"tags": [f"warm:{FAMILY}@r1"], **changes})
    world.clock.advance(wait_s)
    run = machine.takes(task_id)
    start(world.p1, run)
    end(world.p1, run)
    world.fresh()
    return run


def measured(service: Service) -> dict[str, Any]:
    return fleet_report.ledger(service, LOCAL_USER)["specs"][0]["measured"]


def test_in_a_window_held_out_no_bet_is_handed_out_and_the_bot_says_why(world: LifeWorld) -> None:
    holding_out(world)
    window = go_to(world, held_out=True)
    one, two = idle_machines(world)
    assert [one.poll().delivery, two.poll().delivery] == [None, None]
    why = fleet_report.why_bot(world.p1, LOCAL_USER, "bot1")
    assert plain(why["sentence"]).startswith("The hold-out refused: for another 19 m 59 s nothing is prewarmed for src")
    assert "holdout_share 0 in the configuration of p" in why["would_change"]
    assert why["values"], "what it would have been worth"
    assert world.p1.pages.counters()[f"{POOL}/refused.hold_out"] == 2
    row = fleet_report.ledger(world.p1, LOCAL_USER)["specs"][0]
    assert row["held_out_s"] == pytest.approx(window.ends_s - world.clock.now_s())


def test_the_window_ends_and_prewarming_goes_on(world: LifeWorld) -> None:
    holding_out(world)
    window = go_to(world, held_out=True)
    idle_machines(world)
    world.clock.advance(window.ends_s - world.clock.now_s() + 1.0)
    bot = idle_machines(world, 1)[0]
    assert bot.poll().delivery is not None
    assert fleet_report.ledger(world.p1, LOCAL_USER)["specs"][0]["held_out_s"] == 0.0


def test_a_claim_asks_the_clock_again(world: LifeWorld) -> None:
    holding_out(world)
    go_to(world, held_out=True)
    bot = idle_machines(world)[0]
    with pytest.raises(GateRefused) as caught:
        hand_out(world.p2, bot.token)
    assert caught.value.refused.gate is Gate.LEDGER and "hold-out" in caught.value.refused.text


def test_what_a_task_waits_for_is_not_withheld(world: LifeWorld) -> None:
    holding_out(world)
    go_to(world, held_out=True)
    bot = idle_machines(world)[0]
    assert bot.warms(for_task=world.new_task(dimensions={"device": "none has it"}))


def test_a_pool_without_hold_out_is_always_prewarmed_and_measures_nothing(world: LifeWorld) -> None:
    holding_out(world)
    world.configure(holdout_share=0)
    go_to(world, held_out=True)
    one, two = idle_machines(world)
    runs(world, two)
    assert one.poll().delivery is not None
    found = measured(world.p1)
    assert (found["treated"], found["held_out"]) == (0, 0)


def test_tasks_count_for_the_group_of_the_window_in_which_they_came(world: LifeWorld) -> None:
    holding_out(world)
    go_to(world, held_out=True)
    runs(world, idle_machines(world, 1)[0])
    go_to(world, held_out=False)
    runs(world, idle_machines(world, 1)[0])
    found = measured(world.p1)
    assert (round(found["treated"], 2), round(found["held_out"], 2)) == (1.0, pytest.approx(1.0, abs=0.1))
    assert not found["is_known"] and "too few to compare" in found["text"]


def test_what_counts_is_the_wait_and_the_price_of_the_start(world: LifeWorld) -> None:
    holding_out(world)
    go_to(world, held_out=False)
    machine = idle_machines(world, 1)[0]
    runs(world, machine, wait_s=30.0)  # cold: 30 s + 200 s
    runs(world, machine, wait_s=10.0)  # warm from the first: 10 s + 2 s
    (batch,) = next(iter(world.p1.pages.savings(POOL, FAMILY).groups.values())).values()
    assert batch == pytest.approx((2.0, 242.0), rel=1e-3)


def test_tasks_that_no_bet_can_serve_do_not_count(world: LifeWorld) -> None:
    holding_out(world)
    go_to(world, held_out=False)
    machine = idle_machines(world, 1)[0]
    runs(world, machine, tags=[f"warm:{FAMILY}@r0"])
    runs(world, machine, tags=[])
    assert measured(world.p1)["treated"] == 0
    world.configure(mode="shadow")
    runs(world, machine)
    assert measured(world.p1)["treated"] == 0


def test_both_processes_know_what_either_saw_once(world: LifeWorld) -> None:
    holding_out(world)
    go_to(world, held_out=False)
    machine = idle_machines(world, 1)[0]
    runs(world, machine)
    for _ in range(2):
        for service in world.services:
            service.pages.flush()
            service.pages.merge()
    assert [round(measured(service)["treated"], 2) for service in world.services] == [1.0, 1.0]
