"""A pool in shadow mode tells what it would have gained, from what its bots really did."""

from __future__ import annotations

from typing import Any

import pytest

from server import fleet_report, shadow_scores
from server.access import LOCAL_USER
from server.policy.self_disabling import Watch
from server.records.pool import PoolGate
from server.service import Service
from server.sweep_schedule import Beat
from tests.life_world import FAMILY, LIVE, POOL, LifeWorld, Machine, end, start


class Shadow:
    """A pool in shadow mode with idle bots and one spec that is much in demand; `sweep()` follows it."""

    def __init__(self, world: LifeWorld, bots: int = 3, **changes: Any) -> None:
        self.world, self.last_s = world, float("-inf")
        world.prewarming(**{"expected_per_h": 1000, "cold_cost_s": 200, "warm_cost_s": 2, "run_s": 30, **changes})
        world.configure(**LIVE | {"mode": "shadow"})
        self.machines = [Machine(world, f"bot{number}") for number in range(1, bots + 1)]
        for machine in self.machines:
            machine.handshake()
        self.sweep()

    def sweep(self, service: Service | None = None, seconds: float = 60.0) -> None:
        self.world.clock.advance(seconds)
        for machine in self.machines:
            machine.poll()
        self.world.fresh()
        now_s = self.world.clock.now_s()
        (service or self.world.p1).shadow.sweep(Beat(now_s, self.last_s, now_s - 86_400.0))
        self.last_s = now_s

    def runs(self, machine: Machine, wish: str = f"{FAMILY}@r1", service: Service | None = None) -> None:
        task_id = self.world.new_task(tags=[f"warm:{wish}"], dimensions={"id": machine.bot_id})
        run = machine.takes(task_id, service)
        start(self.world.p1, run)
        self.world.fresh()
        end(self.world.p1, run)
        self.world.fresh()

    @property
    def row(self) -> dict[str, Any]:
        return fleet_report.ledger(self.world.p1, LOCAL_USER)["specs"][0]["shadow"]


def test_a_cold_start_that_a_decided_prewarm_would_have_spared_is_counted(world: LifeWorld) -> None:
    shadow = Shadow(world)
    shadow.sweep()
    made = shadow.row["prewarms"]
    assert made >= 1 and shadow.row["used"] == 0
    shadow.runs(shadow.machines[0])
    shadow.sweep()
    assert (shadow.row["used"], shadow.row["saved_s"]) == (1, 198.0)
    assert shadow.row["spent_s"] == pytest.approx(30.0 * shadow.row["prewarms"], abs=30.0)
    assert "would have been made and 1 used, 3 m 18 s of waiting saved" in shadow.row["text"].replace("\u00a0", " ")


def test_nothing_is_handed_out_and_the_same_decision_is_no_new_prewarm(world: LifeWorld) -> None:
    shadow = Shadow(world)
    first = shadow.row["prewarms"]
    for _ in range(5):
        shadow.sweep()
    assert shadow.row["prewarms"] == first
    assert not any(machine.runs for machine in shadow.machines)


def test_a_start_at_another_process_counts_once(world: LifeWorld) -> None:
    shadow = Shadow(world)
    shadow.sweep()
    shadow.runs(shadow.machines[0], service=world.p2)
    shadow.sweep()
    shadow.sweep()
    assert shadow.row["used"] == 1


def test_a_warm_start_is_no_gain(world: LifeWorld) -> None:
    shadow = Shadow(world, bots=1)
    shadow.runs(shadow.machines[0])
    shadow.sweep()
    before = shadow.row["used"]
    shadow.runs(shadow.machines[0])
    shadow.sweep()
    assert shadow.row["used"] == before


def test_another_process_that_takes_over_begins_anew_and_adds_up(world: LifeWorld) -> None:
    shadow = Shadow(world)
    first = shadow.row["prewarms"]
    shadow.sweep(world.p2)
    for service in world.services:
        service.pages.flush()
        service.pages.merge()
    world.p1.pages.merge()
    assert shadow.row["prewarms"] == 2 * first


def test_a_live_pool_has_no_shadow_and_one_that_went_there_by_itself_has(world: LifeWorld) -> None:
    world.prewarming(expected_per_h=1000)
    Machine(world).handshake()
    shadow_scores.sweep(world.p1, world.beat())
    assert fleet_report.ledger(world.p1, LOCAL_USER)["specs"][0]["shadow"] is None
    now_s = world.clock.now_s()
    with world.store.context():
        PoolGate(id=POOL, watch=Watch("it loses", now_s, now_s + 7200.0, 1).to_plain()).put()
    world.clock.advance(1)
    world.fresh()
    shadow_scores.sweep(world.p1, world.beat())
    assert fleet_report.ledger(world.p1, LOCAL_USER)["specs"][0]["shadow"]["prewarms"] == 1


def test_following_a_pool_asks_the_store_for_nothing(world: LifeWorld) -> None:
    shadow = Shadow(world)
    shadow.runs(shadow.machines[0])
    with world.store.ops.measure() as measured:
        shadow_scores.sweep(world.p1, world.beat())
    assert (measured.reads, measured.writes, measured.queries) == (0, 0, 0)
