"""Decisions, remembered: all counted, some kept whole, cheap for many bots; and why nothing is warming."""

from __future__ import annotations

from typing import Any

import pytest

from server import errors, fleet_report, pool_why
from server.access import LOCAL_USER
from server.page_kinds import DECISIONS, join_newest
from server.policy.bet_ledger import BetLedger
from server.policy.model import Gate
from server.policy.outcome import GateCheck, Refused, Value
from server.service import Service
from tests.life_world import FAMILY, LIVE, POOL, LifeWorld, exchange, idle_machines, start


def kinds(service: Service) -> list[str]:
    return [one["kind"] for one in service.decisions.kept(POOL)]


def refused(gate: Gate = Gate.VALUE, text: str = "The value refused: too little.") -> Refused:
    value = Value("src", "r1", 0.1, 58.0, 0.0, 0.0, 0.0, 0.1, "src@r1: 0.10 × 58 s")
    check = GateCheck(gate, False, text, 0.1, 0.15, "More demand.")
    return Refused(gate, text, "More demand.", (check,), (value,))


def test_a_refused_poll_is_kept_with_its_gates_terms_config_and_what_would_change_it(world: LifeWorld) -> None:
    world.prewarming(expected_per_h=0.01)
    idle_machines(world, 1)[0].poll()
    (one,) = world.p1.decisions.kept(POOL)
    assert (one["bot"], one["kind"], one["gate"]) == ("bot1", "refused.value", "value")
    assert one["config_revision"] == world.p1.config.revision > 0
    assert one["text"].startswith("The value refused") and one["would_change"] == "More demand for src."
    assert [gate["gate"] for gate in one["gates"]][:2] == ["switch", "pending"]
    assert one["values"][0]["family"] == FAMILY and one["values"][0]["net"] < 0.15


def test_every_hand_out_keeps_its_terms_with_its_run(world: LifeWorld) -> None:
    world.prewarming(expected_per_h=1000)
    machines = idle_machines(world, 3)
    runs = [machine.poll().delivery for machine in machines]
    assert all(runs)
    for run in runs:
        why = fleet_report.why_task(world.p2, LOCAL_USER, run.task_id)
        assert why["values"][0]["family"] == FAMILY and why["values"][0]["net"] > 0.15
        assert len(why["gates"]) == 9 and why["config_revision"] == world.p1.config.revision
    assert kinds(world.p1) == ["handed_out.forecast"]
    assert pool_why.why_pool(world.p1, POOL)["counts"]["handed_out"] == {"forecast": 3}


def test_a_preempted_run_is_kept_with_the_task_that_it_gave_way_to(world: LifeWorld) -> None:
    world.prewarming(expected_per_h=1000)
    run = idle_machines(world, 1)[0]
    run.poll()
    start(world.p1, run.runs[-1])
    waiting = world.new_task()
    assert "preempted" in kinds(world.p1)
    one = next(one for one in world.p1.decisions.kept(POOL) if one["kind"] == "preempted")
    assert (one["task_id"], one["for_task"]) == (run.runs[-1].task_id, waiting)
    assert pool_why.why_pool(world.p1, POOL)["counts"]["others"]["preempted"] == 1


def test_what_shadow_mode_would_have_done_is_counted_apart(world: LifeWorld) -> None:
    world.prewarming(expected_per_h=1000)
    world.configure(mode="shadow")
    idle_machines(world, 1)[0].poll()
    assert kinds(world.p1) == ["refused.shadow"]
    assert "would have warmed bot1" in world.p1.decisions.kept(POOL)[0]["text"]


def test_a_hundred_thousand_refused_bots_cost_one_record_in_half_a_minute(world: LifeWorld) -> None:
    world.p1.pages.flush()
    with world.store.ops.measure() as measured:
        for number in range(100_000):
            world.p1.decisions.refused(POOL, f"bot{number}", refused())
        world.p1.pages.flush()
    assert measured.writes == 2, "counters and decisions"
    assert len(world.p1.pages.values(DECISIONS)) == 3
    assert pool_why.decisions.counts(world.p1.pages.counters(), POOL)["refused"] == {"value": 100_000}


def test_some_of_the_last_minutes_hours_and_of_yesterday_are_kept(world: LifeWorld) -> None:
    for _ in range(24 * 60):
        world.p1.decisions.refused(POOL, "bot1", refused())
        world.clock.advance(60)
    ages_s = [world.clock.now_s() - one["at_s"] for one in world.p1.decisions.kept(POOL)]
    assert ages_s == sorted(ages_s) and len(ages_s) == len(set(ages_s))
    assert min(ages_s) <= 60 and max(age for age in ages_s if age < 7200) >= 3000 and max(ages_s) > 10 * 3600
    assert len(ages_s) <= 12


def test_a_process_keeps_of_so_many_kinds_only_and_counts_all(world: LifeWorld) -> None:
    for number in range(300):
        world.p1.decisions.refused(f"pool{number}", "bot1", refused())
    assert len(world.p1.pages.values(DECISIONS)) == 300  # of 100 kinds, one per step
    assert world.p1.pages.counters()["pool299/refused.value"] == 1


def test_both_processes_tell_what_either_decided(world: LifeWorld) -> None:
    world.p1.decisions.refused(POOL, "bot1", refused())
    world.clock.advance(5)
    world.p2.decisions.refused(POOL, "bot2", refused(Gate.RESERVE, "The reserve refused."))
    exchange(world)
    exchange(world)
    for service in world.services:
        assert [(one["bot"], one["kind"]) for one in service.decisions.kept(POOL)] == [
            ("bot2", "refused.reserve"),
            ("bot1", "refused.value"),
        ]


def test_decisions_of_one_moment_have_an_order_too() -> None:
    one, other = [1.0, "a", {"x": 1}], [1.0, "b", {"y": 2}]
    assert join_newest(one, other) == join_newest(other, one) == other
    assert join_newest(one, one) == one


# ---- why is nothing warming


def why(world: LifeWorld) -> dict[str, Any]:
    world.fresh()
    return pool_why.why_pool(world.p1, POOL)


def test_the_commonest_refusal_is_the_answer(world: LifeWorld) -> None:
    world.prewarming(expected_per_h=0.01)
    idle_machines(world, 3)
    found = why(world)
    assert found["sentence"].startswith(
        "Nothing is prewarmed in p now: 3 of 3 bots of p without a run are refused. The"
    )
    assert [(row["kind"], row["bots"]) for row in found["now"]] == [("value", 3)]
    assert found["would_change"] == "More demand for src."
    assert len(found["gates"]) == 9


def test_it_says_so_when_bots_are_about_to_be_warmed_or_all_run(world: LifeWorld) -> None:
    world.prewarming(expected_per_h=1000)
    bot = idle_machines(world, 1)[0]
    assert why(world)["sentence"] == "1 bot of p gets background work at the next poll."
    bot.poll()
    assert why(world)["sentence"] == "No bot of p is without a run."


def test_background_work_that_is_under_way_is_told_before_what_holds_more_back(world: LifeWorld) -> None:
    world.prewarming(expected_per_h=1000, max_running=1)
    first, *_ = idle_machines(world, 2)
    first.poll()
    assert why(world)["sentence"].startswith(
        "1 bot of p does background work now, and no more: 1 of 1 bot of p without a run is refused."
    )


def test_a_pool_that_is_none_is_not_found(world: LifeWorld) -> None:
    with pytest.raises(errors.NotFound, match="no pool nowhere"):
        pool_why.why_pool(world.p1, "nowhere")


def test_a_stopped_pool_says_that_it_is_stopped(world: LifeWorld) -> None:
    world.configure(**LIVE | {"mode": "off"})
    idle_machines(world, 1)
    assert "prewarming is off in p" in why(world)["sentence"]


def test_the_api_tells_it(world: LifeWorld) -> None:
    idle_machines(world, 1)
    client = world.client(world.p1)
    assert client.get(f"/api/v1/why/pools/{POOL}").json["pool"] == POOL
    assert client.get("/api/v1/why/pools/nowhere").status_code == 404


def test_it_tells_what_forecasts_of_each_worth_brought_and_for_how_long_they_are_closed(world: LifeWorld) -> None:
    world.prewarming(cold_cost_s=60)
    idle_machines(world, 1)
    ledger, now_s = BetLedger(), world.clock.now_s()
    for _ in range(40):
        ledger = ledger.bet(0.2, now_s)
    world.p1.pages.keep_bets(POOL, ledger.bet(0.6, now_s).won(0.6, 0.97, now_s))
    low, high = why(world)["bets"]
    assert (round(low["staked"]), round(low["won"]), low["opens_in_s"] > 3600.0) == (40, 0, True)
    assert (round(high["staked"]), round(high["won"], 2), high["opens_in_s"]) == (1, 0.97, 0.0)
    assert low["low"] <= 0.2 < low["high"] < high["low"] <= 0.6
