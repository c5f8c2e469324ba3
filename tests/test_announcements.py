"""Announced demand at two processes on one store: what each of them sees, and what became of it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest
from google.cloud.datastore import helpers
from google.cloud.ndb import model

from server import announcement_board, announcements, errors, task_request
from server.access import CLIENT, LOCAL_USER, OPERATOR, Principal
from server.announce_body import Announce, NewSchedule
from server.announce_schedule import Schedule
from server.announced import Outcome, Said
from server.announcement_sweep import PERIOD_S
from server.policy.announce import Entry
from server.policy.model import Announcement
from server.records.announcement import PoolAnnouncements, PoolFollowers
from server.records.task import TaskToRun
from server.service import Service
from server.sweep_schedule import Beat, SweepSchedule
from server.sweeps import SWEEPS
from tests.life_world import POOL, LifeWorld, Machine, task_input

MIRA, NOAH = Principal("user:mira", CLIENT), Principal("user:noah", CLIENT)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[LifeWorld]:
    """Two processes that know of a pool with a bot."""
    made = LifeWorld(tmp_path / "data")
    Machine(made, "bot0").handshake()
    made.fresh()
    yield made
    made.close()


def announce(
    world: LifeWorld, service: Service | None = None, who: Principal = MIRA, **fields: object
) -> tuple[Said, bool]:
    body = {"pool": POOL, "family": "src", "count": 3, "in_s": 300.0, **fields}
    return announcements.announce(service or world.p1, who, Announce.model_validate(body))


def live(world: LifeWorld, service: Service) -> list[tuple[str, float]]:
    """What the policy of a process is told: source and what is left."""
    return [(one.source, one.count) for one in seen(world, service)]


def seen(world: LifeWorld, service: Service) -> tuple[Announcement, ...]:
    return service.view.pool_view(POOL).announcements


def task(world: LifeWorld, service: Service, family: str = "src", **changes: object) -> str:
    tags = [f"warm:{family}", *changes.pop("tags", [])]  # type: ignore[misc]
    return world.new_task(service, tags=tags, **changes)


def exchange(world: LifeWorld) -> None:
    """Half a minute passes, and pages go round."""
    world.clock.advance(30.0)
    for service in world.services:
        service.pages.flush()
    for service in world.services:
        service.pages.merge()
    world.fresh()


def sweep(world: LifeWorld, *services: Service, seconds: float = 0.0) -> None:
    """The sweep of announcements, at the one of these processes that has it; again and again for so long."""
    passed = 0.0
    while True:
        for service in services or (world.p1,):
            service.view.refresh(force=True)
            schedules = world.__dict__.setdefault("schedules", {})
            only = [one for one in SWEEPS if one[0] == "announcements"]
            schedules.setdefault(service.process_id, SweepSchedule(service, only)).run_due()
        if passed >= seconds:
            return
        world.clock.advance(PERIOD_S)
        passed += PERIOD_S


def record(world: LifeWorld) -> PoolAnnouncements:
    return world.record(PoolAnnouncements, POOL)


# ---- seen by all


def test_every_process_knows_of_it_with_its_next_look_at_the_store(world: LifeWorld) -> None:
    announce(world)
    assert live(world, world.p1) == [("user:mira", 3)]
    assert live(world, world.p2) == []
    world.clock.advance(1.0)
    world.p2.view.refresh()
    assert live(world, world.p2) == [("user:mira", 3)]


def test_tasks_that_come_consume_it_at_every_process_without_a_write_of_their_own(world: LifeWorld) -> None:
    announce(world)
    task(world, world.p1)
    task(world, world.p2)
    assert live(world, world.p1) == live(world, world.p2) == [("user:mira", 1)]
    assert record(world).changes == 1
    task(world, world.p1)
    task(world, world.p1)
    assert live(world, world.p1) == live(world, world.p2) == []


def test_tasks_that_want_something_else_do_not(world: LifeWorld) -> None:
    announce(world)
    task(world, world.p1, "lib")
    world.new_task()
    assert live(world, world.p2) == [("user:mira", 3)]


def test_a_process_that_starts_later_learns_from_pages_what_has_come(world: LifeWorld) -> None:
    announce(world)
    task_id = task(world, world.p1)
    world.cancel(task_id)
    live(world, world.p1)
    exchange(world)
    late = world.process("late")
    for _ in range(2):
        late.view.refresh(force=True)
    assert live(world, late) == [("user:mira", 3)], "it cannot know yet"
    late.pages.merge()
    world.clock.advance(announcement_board.BOOK_AGE_S)
    assert live(world, late) == [("user:mira", 2)]


def test_pages_that_come_twice_or_late_change_nothing(world: LifeWorld) -> None:
    announce(world)
    task(world, world.p1)
    for _ in range(4):
        exchange(world)
        assert live(world, world.p1) == live(world, world.p2) == [("user:mira", 2)]


def test_a_process_that_hears_of_the_announcement_after_the_task_counts_it_all_the_same(world: LifeWorld) -> None:
    world.freeze(world.p2)
    announce(world)
    world.p2.announced.saw(world.record(TaskToRun, task(world, world.p1)))
    assert live(world, world.p2) == []
    world.p2.announced.take([record(world)])
    assert live(world, world.p2) == [("user:mira", 2)]


def test_it_lapses_by_itself(world: LifeWorld) -> None:
    announce(world)
    world.clock.advance(389.0)
    assert live(world, world.p1) == [("user:mira", 3)]
    world.clock.advance(1.0)
    assert live(world, world.p1) == []


def test_an_announced_generation_need_not_exist_yet(world: LifeWorld) -> None:
    announce(world, generation="r9")
    task(world, world.p1, "src@r8")
    assert live(world, world.p1) == [("user:mira", 3)]
    task(world, world.p1, "src@r9")
    assert [(one.generation, one.count) for one in seen(world, world.p1)] == [("r9", 2)]


# ---- once, and withdrawn


def test_the_same_call_again_announces_once(world: LifeWorld) -> None:
    first, is_new = announce(world, request_id="build-7")
    world.clock.advance(2.0)
    again, is_new_again = announce(world, world.p2, request_id="build-7", in_s=900.0)
    assert (is_new, is_new_again) == (True, False)
    assert again.entry == first.entry
    assert announce(world, who=NOAH, request_id="build-7")[1], "another caller's id is another id"
    world.fresh()
    assert len(seen(world, world.p2)) == 2


def test_the_same_call_announces_once_even_after_its_entry_is_settled(world: LifeWorld) -> None:
    announce(world, request_id="build-7")
    sweep(world, seconds=500.0)
    assert not record(world).entries
    assert not announce(world, request_id="build-7")[1]


def test_whoever_announced_may_withdraw(world: LifeWorld) -> None:
    said, _ = announce(world)
    world.fresh()
    task(world, world.p1)
    with pytest.raises(errors.PermissionDenied):
        announcements.retract(world.p1, NOAH, POOL, said.entry.id)
    announcements.retract(world.p2, MIRA, POOL, said.entry.id)
    world.fresh()
    assert live(world, world.p1) == live(world, world.p2) == []


def test_an_operator_may_withdraw_what_others_announced(world: LifeWorld) -> None:
    said, _ = announce(world)
    announcements.retract(world.p1, Principal("user:olga", OPERATOR), POOL, said.entry.id)
    assert live(world, world.p1) == []
    with pytest.raises(errors.PermissionDenied):
        other = Principal("user:olga", OPERATOR, frozenset({"elsewhere"}))
        announcements.retract(world.p1, other, POOL, announce(world)[0].entry.id)


def test_what_is_not_there_cannot_be_withdrawn(world: LifeWorld) -> None:
    with pytest.raises(errors.NotFound, match="there is no announcement 'x' in pool 'p'"):
        announcements.retract(world.p1, MIRA, POOL, "x")


# ---- limits


def test_a_source_may_have_so_many_live_announcements(world: LifeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(announcements, "MOST_LIVE_PER_SOURCE", 2)
    announce(world), announce(world)
    with pytest.raises(errors.ResourceExhausted, match="user:mira has 2 live announcements in the pool; 2") as refused:
        announce(world)
    assert refused.value.field == "source"
    announce(world, source="other"), announce(world, who=NOAH)
    world.clock.advance(400.0)
    announce(world)


def test_a_pool_may_have_so_many_live_announcements(world: LifeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(announcements, "MOST_LIVE_PER_POOL", 2)
    announce(world), announce(world, who=NOAH)
    with pytest.raises(errors.ResourceExhausted, match="the pool has 2 live announcements; 2 are allowed"):
        announce(world, who=LOCAL_USER)


@pytest.mark.parametrize(("shift_s", "says"), [(-61.0, "in the past"), (8 * 86_400.0, "within 604800 s")])
def test_a_time_that_is_out_of_range_is_refused(world: LifeWorld, shift_s: float, says: str) -> None:
    with pytest.raises(errors.FieldErrors, match=says):
        announce(world, in_s=None, from_s=world.clock.now_s() + shift_s)


def test_whoever_may_not_create_tasks_may_not_announce(world: LifeWorld) -> None:
    with pytest.raises(errors.PermissionDenied):
        announce(world, who=Principal("user:x", CLIENT, frozenset({"elsewhere"})))
    with pytest.raises(errors.PermissionDenied):
        announcements.save_schedule(world.p1, MIRA, nightly())


# ---- tags


def test_a_task_announces_by_its_tag_within_the_budget_of_a_new_task(world: LifeWorld) -> None:
    with mock.patch.object(world.p1.view, "refresh", return_value=False), world.store.ops.measure() as ops:
        task_request.new_task(world.p1, LOCAL_USER, task_input(tags=["announce:src@r9*20+9m"]))
    assert (ops.reads, ops.writes, ops.queries) == (1, 3, 0)
    (found,) = seen(world, world.p1)
    assert (found.family, found.generation, found.count) == ("src", "r9", 20)
    assert found.from_s == pytest.approx(world.clock.now_s() + 540, abs=1)
    assert found.source == "user:local/tag"


def test_other_processes_hear_of_a_tag_by_pages(world: LifeWorld) -> None:
    world.new_task(world.p1, tags=["announce:src*2+9m"])
    assert live(world, world.p2) == []
    exchange(world)
    exchange(world)
    assert live(world, world.p1) == live(world, world.p2) == [("user:local/tag", 2)]
    task(world, world.p2)
    assert live(world, world.p1) == live(world, world.p2) == [("user:local/tag", 1)]


def test_a_wrong_tag_is_shown_and_its_task_runs(world: LifeWorld) -> None:
    machine = Machine(world)
    machine.handshake()
    task_id = world.new_task(world.p1, tags=["announce:src*0+9m", "announce:src+9m"])
    machine.takes(task_id)
    (refused,) = world.p1.announced.refused_tags(POOL)
    assert (refused.task_id, refused.tag) == (task_id, "announce:src*0+9m")
    assert refused.why == "count must be 1 to 1000; 0 given"
    assert live(world, world.p1) == [("user:local/tag", 1)]


def test_tags_have_limits_too(world: LifeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(announcement_board, "MOST_TAGS_PER_SOURCE", 10)
    world.new_task(world.p1, tags=[f"announce:src+{minute}m" for minute in range(1, 10)])
    (refused,) = world.p1.announced.refused_tags(POOL)
    assert refused.why == "a task may announce 8 times at most"
    world.new_task(world.p1, tags=[f"announce:lib+{minute}m" for minute in range(1, 4)])
    assert len(seen(world, world.p1)) == 10
    assert "has 10 live entries in p already" in world.p1.announced.refused_tags(POOL)[0].why


def test_what_a_tag_announced_can_be_withdrawn(world: LifeWorld) -> None:
    task_id = world.new_task(world.p1, tags=["announce:src+9m"])
    (said,) = world.p1.announced.said(POOL)
    assert said.about == task_id
    announcements.retract(world.p1, LOCAL_USER, POOL, said.entry.id)
    assert live(world, world.p1) == []


# ---- schedules


def nightly(**fields: object) -> NewSchedule:
    """The clock of the tests begins on a Friday at 08:00 UTC."""
    body = {"pool": POOL, "family": "src", "name": "nightly", "count": 5, "at": ["08:30"], **fields}
    return NewSchedule.model_validate(body)


def test_a_schedule_announces_day_after_day_at_every_process(world: LifeWorld) -> None:
    announcements.save_schedule(world.p1, LOCAL_USER, nightly())
    world.fresh()
    for _ in range(3):
        (found,) = [one for one in seen(world, world.p2) if one.from_s < world.clock.now_s() + 3600]
        assert (found.count, found.source) == (5, "schedule/nightly")
        assert found.from_s == pytest.approx(world.clock.now_s() + 1800)
        world.clock.advance(86_400.0)


def test_tasks_in_the_daytime_are_not_those_of_the_night(world: LifeWorld) -> None:
    announcements.save_schedule(world.p1, LOCAL_USER, nightly())
    task(world, world.p1)
    assert seen(world, world.p1)[0].count == 5
    world.clock.advance(1500.0)
    task(world, world.p1)
    assert seen(world, world.p1)[0].count == 4


def test_a_schedule_is_replaced_by_its_name_and_ended(world: LifeWorld) -> None:
    announcements.save_schedule(world.p1, LOCAL_USER, nightly())
    announcements.save_schedule(world.p2, LOCAL_USER, nightly(count=9))
    world.fresh()
    assert {one.count for one in seen(world, world.p1)} == {9}
    announcements.remove_schedule(world.p1, LOCAL_USER, POOL, "nightly")
    assert seen(world, world.p1) == ()
    with pytest.raises(errors.NotFound):
        announcements.remove_schedule(world.p1, LOCAL_USER, POOL, "nightly")


def test_a_pool_may_have_so_many_schedules(world: LifeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(announcements, "MOST_SCHEDULES", 1)
    announcements.save_schedule(world.p1, LOCAL_USER, nightly())
    announcements.save_schedule(world.p1, LOCAL_USER, nightly())
    with pytest.raises(errors.ResourceExhausted, match="has 1 schedules already"):
        announcements.save_schedule(world.p1, LOCAL_USER, nightly(name="other"))


# ---- how it turned out


def test_a_source_that_cries_wolf_is_believed_less_and_one_that_is_right_is_not(world: LifeWorld) -> None:
    for _ in range(6):
        announce(world, count=5)
        announce(world, who=NOAH, family="lib", count=1)
        world.clock.advance(300.0)
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


def learn(world: LifeWorld, service: Service | None = None) -> None:
    """What the sweep does, at whichever process has it."""
    service, now_s = service or world.p1, world.clock.now_s()
    service.view.refresh(force=True)
    service.announced.learning.sweep(Beat(now_s, world.__dict__.get("swept_s", 0.0), now_s - 86_400.0))
    world.__dict__["swept_s"] = now_s


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
