"""What a bot's dimensions tell of the states that specs make: a bot that users moved on is not moved back."""

from __future__ import annotations

from typing import Any

import pytest

from server import prewarm_spec
from server.access import LOCAL_USER
from tests.life_world import LIVE, POOL, LifeWorld, Machine, end, report, start
from tests.specs import body

FAMILY = "pixel-fw"


def firmware(world: LifeWorld, generation: str = "UP1A", **changes: Any) -> None:
    """A spec that flashes idle phones, whose generation is what they report afterwards."""
    if world.p1.config.pool(POOL).mode != "live":
        world.configure(**LIVE)
    fields = {"family": FAMILY, "slot": "firmware", "order": "first_seen", "expected_per_h": 100_000, **changes}
    wanted = body(generation=generation, pool=POOL, makes={"dimension": f"device_os:{generation}"}, **fields)
    wanted["dimensions"] = {"device_type": "pixel"}
    known = world.p1.view.specs().get(wanted["family"])
    if known is None:
        prewarm_spec.create(world.p1, LOCAL_USER, wanted)
    else:
        prewarm_spec.edit(world.p1, LOCAL_USER, wanted["family"], wanted, known.revision)
    world.fresh()
    world.clock.advance(1.0)


def phone(world: LifeWorld, name: str, *versions: str, device_type: str = "pixel") -> Machine:
    machine = Machine(world, name)
    says(machine, *versions, device_type=device_type)
    machine.handshake()
    return machine


def says(machine: Machine, *versions: str, device_type: str = "pixel") -> None:
    machine.said = report(machine.bot_id, device_type=[device_type], device_os=list(versions))


def holds(world: LifeWorld, name: str) -> tuple[str, str]:
    """Phase and generation of the bot's firmware."""
    slot = world.bot(name).slots["firmware"]
    return slot["phase"], slot["generation"]


def is_flashed(world: LifeWorld, machine: Machine) -> bool:
    """Whether the bot is given the prewarm when it polls; it ends well, and the bot says what it has then."""
    world.clock.advance(1.0)
    run = machine.poll().delivery
    if run is None:
        return False
    assert run.purpose == "forecast"
    start(world.p1, machine.runs[-1])
    assert end(world.p1, machine.runs[-1]).ok
    world.fresh()
    return True


def test_phones_that_have_an_old_firmware_are_moved_to_the_one_that_is_registered(world: LifeWorld) -> None:
    """Also those that come, or come back, only after it was registered: nobody knows since when they have theirs."""
    known = phone(world, "known", "TQ3A")
    firmware(world)
    known.handshake()
    new = phone(world, "new", "TQ2B")
    assert holds(world, "known") == ("warm", "TQ3A")
    assert is_flashed(world, known) and is_flashed(world, new)
    assert holds(world, "known") == ("warm", "UP1A")


@pytest.mark.parametrize("order", ["first_seen", "registered"])
def test_a_phone_that_shows_a_newer_firmware_ends_the_prewarms_for_the_old_one(world: LifeWorld, order: str) -> None:
    """By the order `registered` it is the operator's word alone that makes one newer."""
    one, other = phone(world, "one", "TQ3A"), phone(world, "other", "TQ3A")
    firmware(world, order=order)
    says(one, "UP1B")
    flashed = is_flashed(world, one), is_flashed(world, other)
    if order == "registered":
        assert flashed == (True, True)
        return
    assert flashed == (False, False)
    assert holds(world, "one") == ("warm", "UP1B")
    refused = world.p1.view.plan(POOL).advice["other"].refused
    assert refused is not None and "one holds the newer pixel-fw@UP1B" in refused.text


def test_when_the_operator_registers_it_phones_are_moved_there(world: LifeWorld) -> None:
    one, other = phone(world, "one", "TQ3A"), phone(world, "other", "TQ3A")
    firmware(world)
    says(one, "UP1B")
    one.poll()
    firmware(world, "UP1B")
    assert is_flashed(world, other)
    assert not is_flashed(world, one), "it has it"


def test_a_phone_that_went_back_to_a_registered_firmware_supersedes_nothing(world: LifeWorld) -> None:
    one, other = phone(world, "one", "UP1A"), phone(world, "other", "UP1A")
    firmware(world)
    firmware(world, "UP1B")
    for machine in (one, other):
        says(machine, "UP1B")
        machine.poll()
    says(one, "UP1A")
    assert is_flashed(world, one)
    assert holds(world, "other") == ("warm", "UP1B")


def test_what_cannot_be_told_from_a_dimension_is_not_guessed(world: LifeWorld) -> None:
    """Phones of another kind, several values, and a dimension by which two specs go."""
    world.configure(**LIVE | {"reserve_min": 100})  # nobody is flashed here
    firmware(world)
    one, other = phone(world, "one", "TQ3A"), phone(world, "other", "X1", device_type="nexus")
    says(other, "X2", device_type="nexus")
    says(one, "V", "UP1B")
    for machine in (one, other):
        machine.poll()
        assert holds(world, machine.bot_id)[0] == "cold"
    firmware(world, "B1", family="beta-fw")
    says(one, "UP1B")
    one.poll()
    assert holds(world, "one")[0] == "cold"
    prewarm_spec.retire(world.p1, LOCAL_USER, "beta-fw")
    world.fresh()
    says(one, "UP1C")
    one.poll()
    assert holds(world, "one") == ("warm", "UP1C")
