"""Announced demand at two processes on one store: what each of them sees, limits, tags and schedules."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest

from server import announcement_board, announcements, errors, task_request
from server.access import CLIENT, LOCAL_USER, OPERATOR, Principal
from server.records.task import TaskToRun
from tests.announce_world import MIRA, NOAH, announce, exchange, live, nightly, opened, record, seen, sweep, task
from tests.life_world import POOL, LifeWorld, Machine, task_input


@pytest.fixture
def world(tmp_path: Path) -> Iterator[LifeWorld]:
    made = opened(tmp_path / "data")
    yield made
    made.close()


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
    world.clock.advance(169.0)
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
    world.new_task(world.p1, tags=["announce:src*2+80s"])
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
