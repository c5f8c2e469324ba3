"""Tasks announced by the name of the generation before: on the server, its last revision is run for them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from server import announcement_report, announcements, prewarm_spec
from server.announce_body import Announce
from server.policy.model import Purpose
from tests.announce_world import MIRA
from tests.life_world import LOCAL_USER, POOL, LifeWorld, Machine, end, spec_body, start


@pytest.fixture
def world(tmp_path: Path) -> Iterator[LifeWorld]:
    world = LifeWorld(tmp_path / "data")
    world.prewarming("src", cold_cost_s=60, run_s=60, expected_per_h=0)
    world.configure(mode="live", min_idle_s=0)
    body = spec_body("src", generation="r2", cold_cost_s=60, run_s=60, expected_per_h=0)
    prewarm_spec.edit(world.p1, LOCAL_USER, "src", body, 1)
    yield world
    world.close()


def announce(world: LifeWorld, generation: str) -> None:
    body = {"pool": POOL, "family": "src", "generation": generation, "count": 1, "in_s": 80.0}
    announcements.announce(world.p1, MIRA, Announce.model_validate(body))


def polls_of(world: LifeWorld) -> list[Machine]:
    """Four bots poll, and poll again when the pool is known to be quiet."""
    machines = [Machine(world, f"bot{number}") for number in range(4)]
    for machine in machines:
        machine.handshake()
        machine.poll()
    world.clock.advance(40.0)
    world.fresh()
    for machine in machines:
        machine.poll()
    return [machine for machine in machines if machine.runs]


def test_the_last_revision_of_that_generation_is_run_and_serves_the_task(world: LifeWorld) -> None:
    announce(world, "r1")
    warmed = polls_of(world)
    assert len(warmed) == 1
    run = world.result(warmed[0].runs[-1].task_id)
    assert (run.purpose, run.generation, run.spec_revision) == (Purpose.ANNOUNCED.value, "r1", 1)
    start(world.p1, warmed[0].runs[-1])
    world.clock.advance(30.0)
    end(world.p1, warmed[0].runs[-1])
    world.fresh()
    task = world.new_task(tags=["warm:src@r1"])
    warmed[0].takes(task)
    assert world.result(task).warm_at_start["src"]["warm"]


def test_who_names_no_generation_has_the_current_one_warmed(world: LifeWorld) -> None:
    announce(world, "")
    warmed = polls_of(world)
    assert [world.result(machine.runs[-1].task_id).generation for machine in warmed] == ["r2"]


def test_who_names_one_that_is_older_still_is_told_that_nothing_comes_of_it(world: LifeWorld) -> None:
    body = spec_body("src", generation="r3", cold_cost_s=60, run_s=60, expected_per_h=0)
    prewarm_spec.edit(world.p1, LOCAL_USER, "src", body, 2)
    Machine(world, "bot9").handshake()
    world.fresh()
    said = {one: announcement_report.notes_on(world.p1, POOL, "src", one) for one in ("r1", "r2", "r3", "r4", "")}
    assert said.pop("r1") == ["r1 was superseded more than once, so nothing is warmed for it"]
    assert not any(said.values())
    announce(world, "r1")
    assert polls_of(world) == []
