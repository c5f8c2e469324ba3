"""What people are told about the fleet: why a task waits, why a bot gets nothing, what a spec cost and saved."""

from __future__ import annotations

import pytest

from server import errors, fleet_report, task_scheduler
from server.access import LOCAL_USER
from tests.life_world import FAMILY, POOL, LifeWorld, Machine, end, start


def plain(text: str) -> str:
    return text.replace("\u00a0", " ")


def test_a_task_that_no_bot_can_take_names_the_missing_dimension(world: LifeWorld) -> None:
    Machine(world).handshake()
    task_id = world.new_task(dimensions={"device": "caiman"})
    why = fleet_report.why_task(world.p1, LOCAL_USER, task_id)
    assert "No bot in p has `device:caiman`" in why["sentence"]
    assert [(step["key"], step["left"]) for step in why["steps"]][-1] == ("device", 0)


def test_a_task_behind_a_busy_bot_says_so(world: LifeWorld) -> None:
    machine = Machine(world)
    machine.handshake()
    start(world.p1, machine.takes(world.new_task()))
    world.fresh()
    why = fleet_report.why_task(world.p1, LOCAL_USER, world.new_task())
    assert "busy" in why["sentence"]


def test_a_drained_pool_says_so(world: LifeWorld) -> None:
    world.configure(drained=True)
    Machine(world).handshake()
    assert "drained" in fleet_report.why_task(world.p1, LOCAL_USER, world.new_task())["sentence"]


def test_a_task_that_ran_tells_why_that_bot(world: LifeWorld) -> None:
    machine = Machine(world)
    machine.handshake()
    run = machine.takes(world.new_task())
    start(world.p1, run)
    end(world.p1, run)
    why = fleet_report.why_task(world.p1, LOCAL_USER, run.task_id)
    assert why["state"] == "COMPLETED" and why["bot"] == "bot1" and why["sentence"]


def handed_back(world: LifeWorld, after_s: float) -> str:
    """A task whose bot left in the middle."""
    machine = Machine(world)
    machine.handshake()
    run = machine.takes(world.new_task())
    start(world.p1, run)
    world.clock.advance(after_s)
    task_scheduler.task_error(world.p1, run.token, run.task_id, "told to leave", {}, handed_back=True)
    return run.task_id


def test_a_task_whose_bot_was_shut_down_says_so_and_how_long_it_ran(world: LifeWorld) -> None:
    why = fleet_report.why_task(world.p1, LOCAL_USER, handed_back(world, 74.0))
    assert plain(why["sentence"]).endswith("It ended after 74 s because its bot was shut down and handed it back.")
    assert why["handed_back"]


def test_many_tasks_are_told_at_once_without_those_that_are_not_there(world: LifeWorld) -> None:
    back = handed_back(world, 1.0)
    waits = world.new_task()
    told = fleet_report.why_tasks(world.p1, LOCAL_USER, [back, "0" * 16, "no id", waits])
    assert [(why["task_id"], why["handed_back"]) for why in told] == [(back, True), (waits, False)]
    with pytest.raises(errors.InvalidArgument, match="at most"):
        fleet_report.why_tasks(world.p1, LOCAL_USER, ["0"] * 1001)


def test_a_bot_of_a_pool_in_shadow_mode_is_told_what_would_change_that(world: LifeWorld) -> None:
    world.prewarming(expected_per_h=60)
    world.configure(mode="shadow")
    bots = [Machine(world), Machine(world, "bot2")]
    for bot in bots:
        bot.handshake()
    for _ in range(3):
        world.clock.advance(60)
        world.fresh()
        for bot in bots:
            bot.poll()
    why = fleet_report.why_bot(world.p1, LOCAL_USER, "bot1")
    assert why["verdict"] == "refused" and why["gate"] == "switch"
    assert "shadow" in why["sentence"] and "live" in why["would_change"]


def test_the_gates_of_a_pool_are_told_in_the_models_order(world: LifeWorld) -> None:
    Machine(world).handshake()
    pool = fleet_report.fleet(world.p1, LOCAL_USER)["pools"][0]
    assert [gate["gate"] for gate in pool["gates"]] == [
        "switch", "pending", "utilization", "reserve", "shares", "bot", "breaker", "fresh_view", "ledger",
    ]  # fmt: skip
    assert all(gate["text"].endswith(".") for gate in pool["gates"])


def test_a_prewarm_that_a_task_used_shows_in_the_ledger_with_what_it_cost(world: LifeWorld) -> None:
    world.prewarming(cold_cost_s=200)
    machine = Machine(world)
    machine.handshake()
    warming = machine.warms()
    start(world.p1, warming)
    world.clock.advance(90)
    end(world.p1, warming)
    world.fresh()
    run = machine.takes(world.new_task(tags=[f"warm:{FAMILY}@r1"]))
    start(world.p1, run)
    row = fleet_report.ledger(world.p1, LOCAL_USER)["specs"][0]
    assert (row["prewarms"], row["used"], row["never_used"]) == (1, 1, 0)
    assert row["background_s"] == pytest.approx(90, abs=1)
    assert row["saved_s"] == pytest.approx(198, abs=1)


def test_an_unknown_bot_is_said_to_be_unknown(world: LifeWorld) -> None:
    with pytest.raises(errors.UnknownBot, match="nobody"):
        fleet_report.why_bot(world.p1, LOCAL_USER, "nobody")


def test_stock_counts_bots_by_what_they_hold(world: LifeWorld) -> None:
    world.prewarming()
    machine = Machine(world)
    machine.handshake()
    run = machine.warms()
    world.fresh()
    families = fleet_report.fleet(world.p1, LOCAL_USER, POOL)["pools"][0]["families"]
    row = next(row for row in families if row["family"] == FAMILY)
    assert row["warming"] == 1 and row["warm"] == 0
    start(world.p1, run)
    end(world.p1, run)
    families = fleet_report.fleet(world.p1, LOCAL_USER, POOL)["pools"][0]["families"]
    row = next(row for row in families if row["family"] == FAMILY)
    assert row["warming"] == 0 and row["warm"] == 1


def test_only_the_first_use_of_a_prewarm_counts_as_saved(world: LifeWorld) -> None:
    world.prewarming(cold_cost_s=200)
    machine = Machine(world)
    machine.handshake()
    warming = machine.warms()
    start(world.p1, warming)
    end(world.p1, warming)
    world.fresh()
    for _ in range(2):
        run = machine.takes(world.new_task(tags=[f"warm:{FAMILY}@r1"]))
        start(world.p1, run)
        end(world.p1, run)
        world.fresh()
    row = fleet_report.ledger(world.p1, LOCAL_USER)["specs"][0]
    assert (row["used"], row["warm_starts"]) == (1, 2)
    assert row["saved_s"] == pytest.approx(198, abs=1)


def test_asking_for_an_unknown_pool_makes_none(world: LifeWorld) -> None:
    Machine(world).handshake()
    assert fleet_report.fleet(world.p1, LOCAL_USER, "nowhere")["pools"] == []
    assert [pool["pool"] for pool in fleet_report.fleet(world.p1, LOCAL_USER)["pools"]] == [POOL]


def test_a_bot_that_the_server_quarantined_says_how_to_let_it_go(world: LifeWorld) -> None:
    Machine(world).handshake()
    world.clock.advance(1.0)
    bot = world.bot("bot1")
    bot.server_quarantined = "two machines use the bot id bot1"
    bot.changed_s = world.clock.now_s()
    with world.store.context():
        bot.put()
    world.fresh()
    assert "./pilot release bot1" in fleet_report.why_bot(world.p1, LOCAL_USER, "bot1")["would_change"]
