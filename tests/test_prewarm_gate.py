"""PoolGate: background work leaves through one door, counted in the transaction that hands it out."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from server import jobs, prewarm_gate, prewarm_spec, switch
from server.access import LOCAL_USER
from server.errors import Contention
from server.policy.model import Gate, Purpose
from server.policy.outcome import HandOut, PoolPlan
from server.prewarm_gate import GateRefused
from server.records.task import TaskRequest
from server.task_scheduler import HoldsRun, NotNow
from tests.life_world import FAMILY, LIVE, POOL, LifeWorld, Machine, end, hand_out, spec_body, start

SHUT = PoolPlan(advice={}, gate_open=False, utilization=0.5)


def fleet(world: LifeWorld, number: int) -> list[Machine]:
    machines = [Machine(world, f"bot{one}") for one in range(1, number + 1)]
    for machine in machines:
        machine.handshake()
    return machines


def refusal(world: LifeWorld, machine: Machine, process: int = 0, **changes: Any) -> Gate:
    with pytest.raises(GateRefused) as caught:
        hand_out(world.services[process], machine.token, **changes)
    assert caught.value.refused.text
    return caught.value.refused.gate


# ---- what is handed out


def test_a_hand_out_is_an_ordinary_task_with_a_purpose_and_no_place_in_the_queue(world: LifeWorld) -> None:
    world.prewarming()
    run = fleet(world, 1)[0].warms()
    result = world.result(run.task_id)
    request = world.record(TaskRequest, run.task_id)
    assert (result.purpose, result.spec_family, result.generation, result.slot) == ("forecast", FAMILY, "r1", "cache")
    assert (result.priority, result.user, request.spec_revision) == (255, "pilotlight", 1)
    assert {"purpose:forecast", "spec:src", "spec_revision:1", "pool:p"} <= set(result.tags)
    assert run.delivery.slice["properties"]["command"] == ["python3", "sync.py"]
    assert world.queue(run.task_id) == "none"
    entry = world.gate().entries[0]
    assert (entry["task"], entry["bot"], entry["n"]) == (run.task_id, "bot1", run.delivery.n)
    assert world.bot().held["family"] == FAMILY
    assert world.bot().slots["cache"]["phase"] == "warming"


def test_the_bot_is_warm_when_the_run_ends_well_and_only_then(world: LifeWorld) -> None:
    world.prewarming()
    good, bad = fleet(world, 2)
    for machine, exit_code in ((good, 0), (bad, 1)):
        run = machine.warms()
        start(world.p1, run)
        end(world.p1, run, exit_code=exit_code)
    assert world.bot("bot1").slots["cache"]["phase"] == "warm"
    assert world.bot("bot2").slots["cache"]["phase"] == "cold"
    assert world.bot("bot2").failed_s["src"] == world.clock.now_s()


def test_a_pool_whose_limit_of_grace_was_lowered_bounds_the_specs_of_before(world: LifeWorld) -> None:
    world.prewarming()
    world.configure(**LIVE | {"max_background_grace_s": 3, "max_background_run_s": 60})
    run = fleet(world, 1)[0].warms()
    properties = run.delivery.slice["properties"]
    assert (properties["grace_period_secs"], properties["execution_timeout_secs"]) == (3, 60)


def test_a_poll_is_handed_what_the_plan_advises(world: LifeWorld) -> None:
    world.prewarming(expected_per_h=100)
    world.configure(**LIVE | {"reserve_min": 1})
    machines = fleet(world, 3)
    world.clock.advance(1)
    given = [machine.poll().delivery for machine in machines]
    assert [delivery.purpose for delivery in given if delivery] == ["forecast", "forecast"]
    assert len(world.entries()) == 2


def test_a_pool_in_shadow_mode_decides_and_hands_out_nothing(world: LifeWorld) -> None:
    world.configure(**LIVE | {"mode": "shadow"})
    prewarm_spec.create(world.p1, LOCAL_USER, spec_body(expected_per_h=100))
    machines = fleet(world, 2)
    world.clock.advance(1)
    assert [machine.poll().delivery for machine in machines] == [None, None]
    assert refusal(world, machines[0]) is Gate.SWITCH
    assert world.gate() is None
    advice = world.p1.view.plan(POOL).advice["bot1"]
    assert advice.refused.text == "shadow: would have warmed bot1 for src@r1."


@pytest.mark.parametrize("change", [None, "pause", "retire"])
def test_a_bot_that_is_warm_for_a_retired_spec_is_free_for_others(world: LifeWorld, change: str | None) -> None:
    """What the operator expected of a spec is no longer there to be lost; that of a paused one is."""
    world.prewarming("old", expected_per_h=100)
    bot = fleet(world, 1)[0]
    run = bot.warms(family="old")
    start(world.p1, run)
    end(world.p1, run)
    if change is not None:
        getattr(prewarm_spec, change)(world.p1, LOCAL_USER, "old")
    world.prewarming("new", expected_per_h=100)
    world.clock.advance(1)
    given = bot.poll().delivery
    assert (given is not None) == (change == "retire")


# ---- what holds it back, counted with the record


def test_many_processes_with_the_same_view_hand_out_what_one_would(world: LifeWorld) -> None:
    """Eight processes each see one bot above the reserve of four."""
    world.prewarming()
    world.configure(**LIVE | {"reserve_min": 4})
    machines = fleet(world, 5)
    processes = [world.process(f"q{number}") for number in range(8)]
    world.fresh(*processes)

    def ask(number: int) -> bool:
        try:
            hand_out(processes[number], machines[number % 5].token)
        except (GateRefused, HoldsRun, Contention):
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        handed_out = sum(pool.map(ask, range(8)))
    assert handed_out == len(world.entries()) == 1


def test_the_share_of_the_pool_holds_across_processes(world: LifeWorld) -> None:
    world.prewarming()
    world.configure(**LIVE | {"background_share": 0.5})
    machines = fleet(world, 4)
    world.freeze(world.p2)
    assert hand_out(world.p1, machines[0].token)
    assert hand_out(world.p2, machines[1].token)
    assert refusal(world, machines[2], process=1) is Gate.SHARES
    assert len(world.entries()) == 2


def test_one_spec_does_not_take_the_place_of_all_others(world: LifeWorld) -> None:
    world.prewarming(max_running=1)
    world.prewarming("lib")
    machines = fleet(world, 4)
    hand_out(world.p1, machines[0].token)
    assert refusal(world, machines[1], process=1) is Gate.SHARES
    assert hand_out(world.p2, machines[1].token, family="lib")


def test_hand_outs_of_a_minute_are_counted_though_their_runs_have_ended(world: LifeWorld) -> None:
    world.prewarming()
    world.configure(**LIVE | {"hand_outs_per_min": 2})
    bot = fleet(world, 1)[0]
    for _ in range(2):
        run = bot.warms()
        start(world.p1, run)
        end(world.p1, run)
    assert refusal(world, bot, process=1) is Gate.SHARES
    world.clock.advance(61)
    world.fresh()
    assert hand_out(world.p2, bot.token)


def test_a_busy_pool_holds_bets_back_and_owes_its_clean_ups(world: LifeWorld) -> None:
    world.prewarming()
    world.configure(**LIVE | {"reserve_min": 100})
    bot, other = fleet(world, 2)
    bet = HandOut(FAMILY, "r1", 1, Purpose.FORECAST, text="t")
    with pytest.raises(GateRefused) as caught:
        prewarm_gate.claim_background(world.p1, bot.token, POOL, bet, SHUT, world.p1.view.catch_up(POOL))
    assert caught.value.refused.gate is Gate.UTILIZATION
    assert refusal(world, bot) is Gate.RESERVE
    owed = HandOut(FAMILY, "r1", 1, Purpose.CLEAN, text="t")
    assert prewarm_gate.claim_background(world.p1, bot.token, POOL, owed, SHUT)
    task = world.new_task(dimensions={"cpu": "none-has-it"})
    assert hand_out(world.p1, other.token, for_task=task)


def test_the_switch_is_asked_in_the_record_not_in_the_view(world: LifeWorld) -> None:
    world.prewarming()
    bot, other = fleet(world, 2)
    hand_out(world.p2, other.token)
    world.freeze(world.p2)
    switch.set_switch(world.p1, LOCAL_USER, True, "a broken disk")
    assert refusal(world, bot, process=1) is Gate.SWITCH
    switch.set_switch(world.p1, LOCAL_USER, False)
    assert refusal(world, bot, process=1) is Gate.SWITCH  # its plan is from before


def test_a_pool_that_never_handed_out_heeds_the_switch_as_well(world: LifeWorld) -> None:
    world.prewarming()
    bot = fleet(world, 1)[0]
    world.freeze(world.p2)
    switch.set_switch(world.p1, LOCAL_USER, True)
    assert refusal(world, bot, process=1) is Gate.SWITCH


def test_the_switch_ends_every_run_and_no_failure_is_counted(world: LifeWorld) -> None:
    world.prewarming()
    offered, running = fleet(world, 2)
    one, two = offered.warms(), running.warms()
    start(world.p1, two)
    switch.set_switch(world.p2, LOCAL_USER, True)
    while jobs.run_due(world.p1).ran:
        pass
    assert world.state(one.task_id) == "CANCELED"
    world.fresh()
    assert end(world.p1, two, exit_code=-15).ok
    assert world.state(two.task_id) == "KILLED"
    assert (world.entries(), world.gate().breakers, world.bot("bot2").failed_s) == ([], {}, {})


@pytest.mark.parametrize("change", ["pause", "edit", "retire"])
def test_a_spec_that_moved_on_after_the_plan_is_not_handed_out(world: LifeWorld, change: str) -> None:
    world.prewarming()
    bot = fleet(world, 1)[0]
    world.freeze(world.p2)
    if change == "pause":
        prewarm_spec.pause(world.p1, LOCAL_USER, FAMILY)
    elif change == "retire":
        prewarm_spec.retire(world.p1, LOCAL_USER, FAMILY)
    else:
        prewarm_spec.edit(world.p1, LOCAL_USER, FAMILY, spec_body(generation="r2"), 1)
    assert refusal(world, bot, process=1) is Gate.NO_SPEC
    assert (world.gate(), world.holds()) == (None, "")


def test_a_plan_for_an_older_revision_is_refused(world: LifeWorld) -> None:
    world.prewarming()
    bot = fleet(world, 1)[0]
    assert refusal(world, bot, revision=7) is Gate.NO_SPEC
    assert refusal(world, bot, family="unheard-of") is Gate.NO_SPEC


def test_a_bot_that_the_store_says_is_unfit_is_given_no_background_work(world: LifeWorld) -> None:
    world.prewarming()
    bot = fleet(world, 1)[0]
    run = bot.takes(world.new_task())
    start(world.p1, run)
    world.fresh()
    world.freeze(world.p2)
    bot.handshake(world.p1)
    with pytest.raises(NotNow):
        hand_out(world.p2, bot.token)


def test_a_pool_with_ten_thousand_runs_still_hands_out(world: LifeWorld) -> None:
    world.prewarming()
    bot, other = fleet(world, 2)
    entry = hand_out(world.p1, other.token) and world.gate().entries[0]

    def many() -> None:
        gate = world.gate()
        others = [{**entry, "task": f"7d312dd8{number:06x}10", "bot": f"b-{number}"} for number in range(10_000)]
        gate.entries = [*gate.entries, *others]
        gate.put()

    world.store.transaction(many)
    task = world.new_task(dimensions={"cpu": "none-has-it"})
    assert hand_out(world.p2, bot.token, for_task=task)
    assert len(world.entries()) == 10_002


# ---- what it learns


def test_a_success_in_between_keeps_the_breaker_closed(world: LifeWorld) -> None:
    world.prewarming()
    machines = fleet(world, 2)
    for number in range(6):
        run = machines[number % 2].warms()
        start(world.p1, run)
        end(world.p1, run, exit_code=0 if number % 3 == 2 else 1)
    assert not world.gate().breakers.get(FAMILY, {}).get("open_since_s")


def test_one_bad_bot_opens_no_breaker(world: LifeWorld) -> None:
    world.prewarming()
    bot = fleet(world, 1)[0]
    for _ in range(5):
        run = bot.warms()
        start(world.p1, run)
        end(world.p1, run, exit_code=1)
    assert not world.gate().breakers[FAMILY]["open_since_s"]


def test_a_closed_breaker_lets_the_spec_go_on(world: LifeWorld) -> None:
    world.prewarming()
    for machine in fleet(world, 3):
        run = machine.warms()
        start(world.p1, run)
        end(world.p1, run, exit_code=1)
    world.fresh()
    assert world.p2.view.gate(POOL).open_breakers == {FAMILY: "3 runs in a row failed on 3 bots"}
    prewarm_spec.resume(world.p1, LOCAL_USER, FAMILY)
    world.fresh()
    assert world.p2.view.gate(POOL).open_breakers == {}
