"""What became of announcements, how sources are believed, what is learned from what follows what, and what it costs."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.cloud.datastore import helpers
from google.cloud.ndb import model

from server import announcements
from server.access import LOCAL_USER
from server.announce_schedule import Schedule
from server.announced import Outcome, Said
from server.announcement_sweep import PERIOD_S
from server.policy.announce import Entry
from server.records.announcement import PoolAnnouncements, PoolFollowers
from tests.announce_world import MIRA, NOAH, announce, learn, live, nightly, opened, record, seen, sweep, task
from tests.life_world import POOL, LifeWorld, Machine


@pytest.fixture
def world(tmp_path: Path) -> Iterator[LifeWorld]:
    made = opened(tmp_path / "data")
    yield made
    made.close()


# ---- how it turned out


def test_a_source_that_cries_wolf_is_believed_less_and_one_that_is_right_is_not(world: LifeWorld) -> None:
    for _ in range(6):
        announce(world, count=5)
        announce(world, who=NOAH, family="lib", count=1)
        world.clock.advance(100.0)
        task(world, world.p2, "lib")
        world.clock.advance(200.0)
        learn(world)
    announce(world), announce(world, who=NOAH, family="lib")
    found = {one.source: one.confidence for one in seen(world, world.p1)}
    assert found["user:mira"] < 0.25
    assert found["user:noah"] == pytest.approx(0.9)
    world.fresh()
    assert {one.source: one.confidence for one in seen(world, world.p2)} == pytest.approx(found)


def test_each_entry_is_booked_once_whichever_processes_sweep(world: LifeWorld) -> None:
    sweep(world, world.p1, world.p2)
    announce(world, count=4)
    task(world, world.p1)
    task(world, world.p2)
    sweep(world, world.p1, world.p2, seconds=600.0)
    found = record(world)
    assert [(one["count"], one["came"], one["scored"]) for one in found.outcomes] == [(4, 2, True)]
    assert found.scores["user:mira"][:2] == pytest.approx([3.6, 2.0])
    assert found.entries == []


def test_both_processes_settle_at_the_same_moment_and_one_of_them_does(world: LifeWorld) -> None:
    announce(world)
    world.clock.advance(460.0)
    world.fresh()
    assert [announcements.settle(service, POOL, 0.0) for service in world.services] == [1, 0]
    assert len(record(world).outcomes) == 1


def test_entries_of_every_origin_are_scored(world: LifeWorld) -> None:
    announcements.save_schedule(world.p1, LOCAL_USER, nightly(at=["08:10"]))
    world.new_task(world.p1, tags=["announce:lib+9m"])
    world.clock.advance(600.0)
    task(world, world.p1, "lib")
    world.clock.advance(200.0)
    learn(world)
    found = {one["source"]: (one["came"], one["about"]) for one in record(world).outcomes}
    assert found["schedule/nightly"] == (0, "nightly")
    assert found["user:local/tag"][0] == 1
    assert set(record(world).scores) == set(found)


def test_what_was_due_while_the_server_was_away_is_nobodys_mistake(world: LifeWorld) -> None:
    announce(world)
    world.clock.advance(3600.0)
    announcements.settle(world.p1, POOL, up_since_s=world.clock.now_s())
    assert [one["scored"] for one in record(world).outcomes] == [False]
    assert record(world).scores == {}


def test_what_was_withdrawn_in_time_is_no_mistake(world: LifeWorld) -> None:
    early, late = announce(world, in_s=3600.0)[0], announce(world, in_s=300.0)[0]
    world.clock.advance(200.0)
    for said in (early, late):
        announcements.retract(world.p1, MIRA, POOL, said.entry.id)
    sweep(world, seconds=100.0)
    assert {one["id"]: one["scored"] for one in record(world).outcomes} == {
        early.entry.id: False,
        late.entry.id: True,
    }
    assert record(world).retracted == {}


# ---- learned


def build_and_tests(world: LifeWorld, times: int, tests: int = 6) -> None:
    """Builds two hours apart, each followed by tests nine minutes later."""
    for _ in range(times):
        task(world, world.p1, "build")
        world.clock.advance(540.0)
        learn(world)
        for number in range(tests):
            task(world, world.services[number % 2], "tests")
        world.clock.advance(600.0)
        learn(world)
        world.clock.advance(6060.0)


@pytest.fixture
def learner(world: LifeWorld) -> LifeWorld:
    """A pool of twenty bots and two specs."""
    world.prewarming("build")
    world.prewarming("tests")
    for number in range(20):
        Machine(world, f"bot{number}").handshake()
    return world


def test_what_always_follows_is_announced_by_the_server_itself(learner: LifeWorld) -> None:
    world = learner
    build_and_tests(world, 9)
    task(world, world.p2, "build")
    led_s = world.clock.now_s()
    world.clock.advance(10.0)
    learn(world)
    world.fresh()
    for service in world.services:
        (found,) = seen(world, service)
        assert (found.family, found.generation, found.source, found.count) == ("tests", "", "followers", 6)
        assert led_s + 300 < found.from_s < led_s + 545
    world.clock.advance(530.0)
    for _ in range(6):
        task(world, world.p1, "tests")
    learn(world)
    world.clock.advance(600.0)
    learn(world)
    outcome = record(world).outcomes[-1]
    assert (outcome["origin"], outcome["about"], outcome["came"]) == ("followers", "build", 6)


def test_what_was_learned_outlives_the_process_that_learned_it(learner: LifeWorld) -> None:
    world = learner
    build_and_tests(world, 9)
    assert world.record(PoolFollowers, POOL) is not None
    heir = world.process("heir")
    heir.view.refresh(force=True)
    task(world, heir, "build")
    world.clock.advance(10.0)
    learn(world, heir)
    assert live(world, heir) == [("followers", 6)]


def test_what_somebody_else_announces_is_not_announced_once_more(learner: LifeWorld) -> None:
    world = learner
    build_and_tests(world, 9)
    announce(world, family="tests", count=6, in_s=540.0)
    task(world, world.p1, "build")
    world.clock.advance(10.0)
    learn(world)
    assert live(world, world.p1) == [("user:mira", 6)]


def test_the_process_that_sweeps_goes_on_learning_while_it_renews_its_lease(learner: LifeWorld) -> None:
    sweep(learner)
    task(learner, learner.p1, "build")
    learner.clock.advance(PERIOD_S)
    sweep(learner)
    known = learner.p1.announced.learning._pupils[POOL]
    sweep(learner, seconds=300.0)
    assert learner.p1.announced.learning._pupils[POOL] is known


def test_two_processes_that_sweep_in_turn_learn_as_one(learner: LifeWorld) -> None:
    """As where no process is promised to live on: each sweep may be another's, from what was written down last."""
    world = learner
    for _ in range(9):
        task(world, world.p1, "build")
        world.clock.advance(540.0)
        learn(world, world.p1)
        for number in range(6):
            task(world, world.services[number % 2], "tests")
        world.clock.advance(600.0)
        learn(world, world.p2)
        world.clock.advance(1000.0)
        task(world, world.p2, "other")
        world.clock.advance(60.0)
        for service in world.services:
            learn(world, service)
        world.clock.advance(5000.0)
    task(world, world.p2, "build")
    world.clock.advance(10.0)
    learn(world, world.p2)
    assert live(world, world.p2) == [("followers", 6)]


def test_learning_costs_a_write_every_few_minutes(learner: LifeWorld) -> None:
    world = learner
    with world.store.ops.measure() as ops:
        for _ in range(10):
            task(world, world.p1, "build")
            world.clock.advance(600.0)
    new_tasks = ops.writes
    with world.store.ops.measure() as ops:
        for _ in range(100):
            world.clock.advance(20.0)
            learn(world)
    assert new_tasks == 30
    assert ops.writes <= 2000 / 300


# ---- budgets


def test_what_each_call_costs(world: LifeWorld) -> None:
    def cost(action: object) -> tuple[int, int, int]:
        with world.store.ops.measure() as ops:
            action()  # type: ignore[operator]
        return ops.reads, ops.writes, ops.queries

    for number in range(50):
        announce(world, who=NOAH, request_id=str(number))
    assert cost(lambda: announce(world, request_id="x")) == (1, 1, 0)
    assert cost(lambda: announce(world, request_id="x")) == (1, 0, 0)
    said = world.p1.announced.said(POOL)[-1]
    assert cost(lambda: announcements.retract(world.p1, MIRA, POOL, said.entry.id)) == (1, 1, 0)
    assert cost(lambda: announcements.retract(world.p1, MIRA, POOL, said.entry.id)) == (1, 0, 0)
    assert cost(lambda: announcements.save_schedule(world.p1, LOCAL_USER, nightly())) == (1, 2, 0)
    assert cost(lambda: live(world, world.p1)) == (0, 0, 0)
    world.clock.advance(500.0)
    assert cost(lambda: announcements.settle(world.p1, POOL, 0.0)) == (1, 1, 0)
    assert cost(lambda: announcements.settle(world.p1, POOL, 0.0)) == (0, 0, 0)


def test_a_pool_full_of_announcements_fits_into_its_record(world: LifeWorld) -> None:
    rng = random.Random(3)

    def said(number: int) -> Said:
        who = f"user:someone-with-a-long-name-{number % 500}@example.com/source-of-theirs"
        name, due_s = f"{rng.getrandbits(48):012x}", 1.8e9 + rng.random() * 1e6
        state = f"family-{number % 97}", f"{rng.getrandbits(160):040x}"
        return Said(Entry(name, *state, 3, due_s, due_s + 90.0, 0.9, who, due_s - rng.random()), who, "call")

    with world.store.context():
        full = PoolAnnouncements(
            id=POOL,
            entries=[said(number).to_plain() for number in range(announcements.MOST_LIVE_PER_POOL)],
            schedules=[Schedule(nightly(name=f"s{n}"), "x" * 80, 1.8e9).to_plain() for n in range(50)],
            retracted={said(number).entry.id: 1.8e9 for number in range(announcements.MOST_LIVE_PER_POOL)},
            scores={said(number).entry.source: [1 / 3, 1 / 7, 1.8e9] for number in range(announcements.MOST_SOURCES)},
            outcomes=[Outcome(said(number), 3).to_plain() for number in range(announcements.OUTCOMES_KEPT)],
        )
        stored = helpers.entity_to_protobuf(model._entity_to_ds_entity(full))
    assert stored._pb.ByteSize() < 0.5 * 1_048_576
