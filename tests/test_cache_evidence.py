"""What a bot tells of its caches makes its states cold, or another generation's, whatever once ran there."""

from __future__ import annotations

from typing import Any

import pytest

from tests.life_world import FAMILY, LifeWorld, Machine, end, report, start

OLD, NEW, OTHER = "a" * 40, "b" * 40, "c" * 40
CACHE = "src"


@pytest.fixture
def machine(world: LifeWorld) -> Machine:
    """A bot on which the spec's cache was filled, at the spec's generation."""
    return warmed(world, [NEW])


def warmed(world: LifeWorld, heads: list[str]) -> Machine:
    world.prewarming(generation=NEW, expected_per_h=100_000)
    machine = Machine(world)
    says(machine)
    machine.handshake()
    polls(world, machine)
    start(world.p1, machine.runs[-1])
    assert end(world.p1, machine.runs[-1]).ok
    world.configure(mode="off")
    says(machine, size=1000, heads=heads)
    polls(world, machine)
    assert state(world) == ("warm", NEW)
    return machine


def says(machine: Machine, size: int = 0, heads: list[str] | None = None, lost: list[str] | None = None) -> None:
    caches = {CACHE: [[CACHE, size], 1]} if size else {}
    state: dict[str, Any] = {"named_caches": caches, "named_caches_lost": lost or []}
    machine.said = report(machine.bot_id, {**state, "named_caches_heads": {CACHE: heads} if heads else {}})


def polls(world: LifeWorld, machine: Machine) -> None:
    world.clock.advance(1.0)
    machine.poll()
    world.fresh()


def state(world: LifeWorld) -> tuple[str, str]:
    slot = next(slot for slot in world.bot("bot1").slots.values())
    return slot["phase"], slot["generation"]


def uses(world: LifeWorld, machine: Machine, heads: list[str], *tags: str) -> None:
    """A real task ran in the cache and left the checkout at those commits."""
    run = machine.takes(world.new_task(caches=[CACHE], tags=list(tags)))
    start(world.p1, run)
    assert end(world.p1, run).ok
    says(machine, size=1100, heads=heads)
    polls(world, machine)


def test_a_cache_of_which_much_went_is_not_warm_any_more(world: LifeWorld, machine: Machine) -> None:
    says(machine, size=1000, heads=[NEW], lost=[CACHE])
    polls(world, machine)
    assert state(world)[0] == "cold"


def test_a_task_that_leaves_another_commit_without_a_word_leaves_another_generation(
    world: LifeWorld, machine: Machine
) -> None:
    uses(world, machine, [OTHER])
    assert state(world) == ("warm", OTHER)


def test_a_task_that_leaves_the_commit_as_it_found_it_leaves_the_state(world: LifeWorld, machine: Machine) -> None:
    uses(world, machine, [NEW])
    assert state(world) == ("warm", NEW)


def test_a_task_that_says_its_generation_is_believed(world: LifeWorld, machine: Machine) -> None:
    uses(world, machine, [OTHER], f"warm:{FAMILY}@{OTHER}")
    assert state(world) == ("warm", OTHER)


def test_checkouts_that_never_were_at_the_generation_tell_nothing(world: LifeWorld) -> None:
    machine = warmed(world, [OLD])
    uses(world, machine, [OTHER])
    assert state(world) == ("warm", NEW)
