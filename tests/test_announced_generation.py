"""Tasks announced by the name of the generation before: on the server, its last revision is run for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from server import announcement_report, announcements, prewarm_spec
from server.announce_body import Announce
from server.policy.model import Purpose
from tests import specs
from tests.announce_world import MIRA
from tests.life_world import LIVE, LOCAL_USER, POOL, LifeWorld, Machine, end, report, spec_body, start


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
    assert said.pop("r1") == ["r1 of src is not made any more, so nothing is warmed for it"]
    assert not any(said.values())
    announce(world, "r1")
    assert polls_of(world) == []


# ---- by what bots and tasks show


def body_of(kind: str, generation: str) -> dict[str, Any]:
    """A spec that makes a cache, by one name or one per generation, or a dimension, named as the generation or not."""
    common = {"family": "fw", "pool": POOL, "generation": generation, "cold_cost_s": 60, "run_s": 30}
    name = {"cache": "fw", "cache per generation": f"fw_{generation}"}.get(kind)
    if name:
        made = specs.body(**common, makes__named_cache=name, expected_per_h=0, dimensions={})
        made["task"]["caches"] = [{"name": name, "path": "fw"}]
        return made
    made = specs.body(**common, expected_per_h=0, dimensions={})
    made["makes"] = {"dimension": f"device_os:{generation if kind == 'dimension' else 'UP' + generation}"}
    made["task"]["caches"] = []
    return made


def shows(kind: str, generation: str, bot_id: str) -> Any:
    """What a bot reports that holds it."""
    if kind.startswith("cache"):
        name = "fw" if kind == "cache" else f"fw_{generation}"
        return report(bot_id, {"named_caches": {name: [["ab", 1000], 17]}})
    return report(bot_id, device_os=[generation if kind == "dimension" else f"UP{generation}"])


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Callable[[str], tuple[LifeWorld, list[Machine]]]]:
    """A pool of three bots whose spec moved from r1 to r2, with one task of r1 announced."""
    opened: list[LifeWorld] = []

    def made(kind: str) -> tuple[LifeWorld, list[Machine]]:
        world = LifeWorld(tmp_path / "told")
        opened.append(world)
        world.configure(**LIVE)
        prewarm_spec.create(world.p1, LOCAL_USER, body_of(kind, "r1"))
        prewarm_spec.edit(world.p1, LOCAL_USER, "fw", body_of(kind, "r2"), 1)
        world.fresh()
        machines = [Machine(world, f"bot{number}") for number in range(3)]
        for machine in machines:
            machine.said = shows(kind, "r2", machine.bot_id)
            machine.handshake()
            machine.poll()
        world.clock.advance(40.0)
        world.fresh()
        said = {"pool": POOL, "family": "fw", "generation": "r1", "count": 1, "in_s": 200.0}
        announcements.announce(world.p1, MIRA, Announce.model_validate(said))
        return world, machines

    yield made
    for world in opened:
        world.close()


def run_what_comes(world: LifeWorld, kind: str, machines: list[Machine]) -> list[Machine]:
    """All poll five times, do what they get, and show it; who did something."""
    found = []
    for _ in range(5):
        for machine in machines:
            before = len(machine.runs)
            machine.poll()
            if len(machine.runs) > before:
                found.append(machine)
                start(world.p1, machine.runs[-1])
                world.clock.advance(20.0)
                end(world.p1, machine.runs[-1])
                machine.said = shows(kind, "r1", machine.bot_id)
                world.fresh()
                machine.poll()
        world.clock.advance(2.0)
        world.fresh()
    return found


@pytest.mark.parametrize(
    ("kind", "runs"), [("cache", 1), ("dimension", 1), ("cache per generation", 0), ("dimension of another name", 0)]
)
def test_it_is_made_once_and_only_where_reports_tell_that_it_is_there(
    told: Callable[[str], tuple[LifeWorld, list[Machine]]], kind: str, runs: int
) -> None:
    """What a report does not show is taken for gone, and would be made again and again."""
    world, machines = told(kind)
    assert len(run_what_comes(world, kind, machines)) == runs


def test_a_task_that_asks_for_its_dimension_is_the_one_that_was_announced(
    told: Callable[[str], tuple[LifeWorld, list[Machine]]],
) -> None:
    world, machines = told("dimension")
    warmed = run_what_comes(world, "dimension", machines)
    world.clock.advance(100.0)
    world.fresh()
    assert [one.count for one in world.p1.view.pool_view(POOL).announcements] == [1]
    task = world.new_task(dimensions={"device_os": "r1"})
    assert world.p1.view.pool_view(POOL).announcements == ()
    warmed[0].takes(task)
    assert world.result(task).warm_at_start["fw"]["warm"]


def test_how_long_it_is_fresh_is_what_the_family_says_now(world: LifeWorld) -> None:
    body = spec_body("src", generation="r3", cold_cost_s=60, run_s=60, expected_per_h=0, fresh_for_s=600)
    prewarm_spec.edit(world.p1, LOCAL_USER, "src", body, 2)
    world.fresh()
    former = world.p1.view.specs()["src"].former
    assert former is not None and (former.generation, former.policy.fresh_for_s) == ("r2", 600.0)
