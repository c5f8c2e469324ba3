"""Jobs are done once their cause is committed, by one process at a time, however often they are rung."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.cloud import ndb

from server import errors, jobs
from server.assembly import CRON_PERIOD_S
from server.records.job import Job
from server.service import Service
from server.sweep_schedule import Beat, SweepSchedule, gap_s, lease_s
from tests.server_world import World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "data")
    yield world
    world.close()


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What handlers of the kind `note` were given; `fail` in a payload makes one fail."""
    monkeypatch.setattr(jobs, "_handlers", {})
    notes: list[Any] = []

    @jobs.handler("note")
    def note(service: Service, payload: dict[str, Any]) -> None:
        notes.append((service.process_id, payload["text"]))
        if payload.get("fail"):
            raise RuntimeError("not today")

    return notes


def add(service: Service, key: str, due_s: float = 0.0, kind: str = "note", **payload: Any) -> None:
    service.store.transaction(lambda: jobs.add(kind, key, {"text": key, **payload}, due_s, service.clock.now_s()))


def job(service: Service, name: str) -> Job:
    with service.store.context():
        return ndb.Key("Job", name).get()


def test_a_job_is_done_once_however_often_it_is_rung(world: World, done: list[Any]) -> None:
    service = world.process()
    add(service, "a")
    assert jobs.run_due(service).ran == 1
    assert jobs.run_due(service).ran == 0
    assert done == [("p1", "a")]


def test_a_job_whose_cause_was_not_committed_does_not_exist(world: World, done: list[Any]) -> None:
    service = world.process()

    def cause() -> None:
        jobs.add("note", "a", {"text": "a"}, 0.0, service.clock.now_s())
        raise ValueError("changed my mind")

    with pytest.raises(ValueError, match="changed my mind"):
        service.store.transaction(cause)
    assert jobs.run_due(service).ran == 0


def test_adding_a_job_costs_one_write_and_no_read(world: World, done: list[Any]) -> None:
    service = world.process()
    with service.store.ops.measure() as ops:
        add(service, "a")
    assert (ops.reads, ops.writes, ops.queries) == (0, 1, 0)


def test_the_same_cause_twice_is_one_job_and_a_new_one_after_its_end(world: World, done: list[Any]) -> None:
    service = world.process()
    add(service, "a")
    add(service, "a")
    jobs.run_due(service)
    assert len(done) == 1
    add(service, "a")
    jobs.run_due(service)
    assert len(done) == 2


def test_a_job_is_not_done_before_it_is_due(world: World, done: list[Any]) -> None:
    service = world.process()
    due_s = world.clock.now_s() + 30.0
    add(service, "later", due_s)
    assert jobs.run_due(service) == jobs.Rung(0, 0, due_s)
    world.clock.advance(30.0)
    assert jobs.run_due(service).ran == 1


def test_a_failed_job_waits_longer_each_time_and_tells_why(world: World, done: list[Any]) -> None:
    service = world.process()
    add(service, "a", fail=True)
    pauses_s = []
    for _ in range(5):
        assert jobs.run_due(service).failed == 1
        left = job(service, "note:a")
        assert left.error == "RuntimeError: not today"
        pauses_s.append(left.due_s - world.clock.now_s())
        world.clock.advance(pauses_s[-1])
    assert pauses_s == sorted(pauses_s)
    assert pauses_s[0] >= 1.6
    assert jobs.pause_s(100) == jobs.MAX_PAUSE_S


def test_a_job_of_a_process_killed_in_the_middle_is_done_by_another_after_the_lease(
    world: World, done: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    killed, other = world.process("killed"), world.process("other")
    add(killed, "a")
    with monkeypatch.context() as patch:
        patch.setattr(jobs, "_finish", lambda *_: None)
        jobs.run_due(killed)
    assert jobs.run_due(other).ran == 0, "the lease still holds"
    world.clock.advance(jobs.LEASE_S)
    assert jobs.run_due(other).ran == 1
    assert done == [("killed", "a"), ("other", "a")]


def test_two_processes_rung_at_once_do_not_do_the_same_job(world: World, done: list[Any]) -> None:
    one, other = world.process("one"), world.process("other")

    @jobs.handler("nosy")
    def nosy(service: Service, payload: dict[str, Any]) -> None:
        assert jobs.run_due(other).ran == 0
        done.append("nosy")

    add(one, "a", kind="nosy")
    assert jobs.run_due(one) == jobs.Rung(1, 0, 0.0)
    assert done == ["nosy"]


def test_a_job_added_anew_while_it_runs_is_done_again(world: World, done: list[Any]) -> None:
    service = world.process()

    @jobs.handler("again")
    def again(service: Service, payload: dict[str, Any]) -> None:
        done.append(payload["text"])
        if len(done) == 1:
            add(service, "a", kind="again")

    add(service, "a", kind="again")
    jobs.run_due(service)
    jobs.run_due(service)
    assert done == ["a", "a"]


def test_a_job_of_a_kind_that_this_version_does_not_know_is_kept_for_another(world: World, done: list[Any]) -> None:
    service = world.process()
    add(service, "a", kind="of_the_future")
    assert jobs.run_due(service).failed == 1
    left = job(service, "of_the_future:a")
    assert left.due_s > world.clock.now_s()
    assert "of_the_future" in left.error


def test_a_thread_carrier_does_what_is_due_and_says_when_the_next_is(world: World, done: list[Any]) -> None:
    service = world.process()
    service.carrier.sweeps = SweepSchedule(service, ())
    add(service, "now")
    add(service, "soon", world.clock.now_s() + 4.0)
    assert service.carrier.tick() == pytest.approx(4.0)
    assert done == [("p1", "now")]


def test_a_thread_carrier_rings_by_itself_and_stops_cleanly(world: World, done: list[Any]) -> None:
    import threading

    service = world.process()
    rang = threading.Event()

    @jobs.handler("bell")
    def bell(service: Service, payload: dict[str, Any]) -> None:
        rang.set()

    service.carrier.start()
    add(service, "a", kind="bell")
    service.carrier.ring()
    assert rang.wait(10.0)
    service.carrier.stop()
    assert not [thread for thread in threading.enumerate() if thread.name == "carrier" and thread.is_alive()]


def test_a_carrier_waits_while_the_store_is_gone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    service = world.process()

    def gone(*_: Any) -> None:
        raise errors.StoreUnavailable("gone")

    monkeypatch.setattr(jobs, "run_due", gone)
    assert service.carrier.tick() > 0.0


# ---- sweeps


class Swept:
    """A sweep that notes who swept, and what it was told."""

    def __init__(self) -> None:
        self.by: list[str] = []
        self.beats: list[Beat] = []

    def __call__(self, service: Service, beat: Beat) -> None:
        self.by.append(service.process_id)
        self.beats.append(beat)


def test_one_process_sweeps_at_a_time_and_writes_little(world: World) -> None:
    swept = Swept()
    schedules = [SweepSchedule(world.process(name), [("s", 5.0, swept)]) for name in ("one", "two")]
    with world.store.ops.measure() as ops:
        for _ in range(60):
            for schedule in schedules:
                schedule.run_due()
            world.clock.advance(1.0)
    assert swept.by == ["one"] * 12
    assert ops.writes <= 5
    assert ops.queries == 0


def test_another_process_sweeps_when_the_lease_of_a_killed_one_ends(world: World) -> None:
    swept = Swept()
    SweepSchedule(world.process("killed"), [("s", 5.0, swept)]).run_due()
    other = SweepSchedule(world.process("other"), [("s", 5.0, swept)])
    other.run_due()
    assert swept.by == ["killed"]
    world.clock.advance(lease_s(5.0))
    other.run_due()
    assert swept.by == ["killed", "other"]


def test_another_process_sweeps_at_once_when_the_one_before_left_or_is_known_to_be_dead(world: World) -> None:
    swept = Swept()
    first = SweepSchedule(world.process("first"), [("s", 5.0, swept)])
    first.run_due()
    first.release()
    SweepSchedule(world.process("second"), [("s", 5.0, swept)]).run_due()
    SweepSchedule(world.process("third"), [("s", 5.0, swept)], is_gone=lambda holder: holder == "second").run_due()
    assert swept.by == ["first", "second", "third"]


def test_silence_counts_from_when_the_service_came_back_not_from_before(world: World) -> None:
    swept = Swept()
    schedule = SweepSchedule(world.process("one"), [("death", 30.0, swept), ("heart", 5.0, lambda service, beat: None)])
    began_s = world.clock.now_s()
    for _ in range(20):
        schedule.run_due()
        world.clock.advance(5.0)
    assert {beat.up_since_s for beat in swept.beats} == {began_s}
    world.clock.advance(max(gap_s(5.0), lease_s(30.0)) + 1.0)
    back_s = world.clock.now_s()
    SweepSchedule(world.process("new"), [("death", 30.0, swept), ("heart", 5.0, lambda service, beat: None)]).run_due()
    assert swept.by[-1] == "new"
    assert swept.beats[-1].up_since_s == back_s


@pytest.mark.parametrize(("away_s", "is_new"), [(100.0, False), (115.0, True)])
def test_where_cron_rings_once_a_minute_an_outage_of_two_minutes_starts_all_silence_anew(
    world: World, away_s: float, is_new: bool
) -> None:
    swept = Swept()
    sweeps = [("lapse", 5.0, lambda service, beat: None), ("death", 30.0, swept)]
    schedule = SweepSchedule(world.process(), sweeps, at_least_s=CRON_PERIOD_S)
    began_s = world.clock.now_s()
    for _ in range(5):
        schedule.run_now("lapse")
        schedule.run_now("death")
        world.clock.advance(CRON_PERIOD_S)
    world.clock.advance(away_s - CRON_PERIOD_S)
    schedule.run_now("death")
    assert swept.beats[-1].up_since_s == (world.clock.now_s() if is_new else began_s)


def test_a_quick_restart_does_not_make_the_service_look_new(world: World) -> None:
    swept = Swept()
    began_s = world.clock.now_s()
    first = SweepSchedule(world.process("first"), [("s", 5.0, swept)])
    first.run_due()
    first.release()
    world.clock.advance(10.0)
    SweepSchedule(world.process("second"), [("s", 5.0, swept)]).run_due()
    assert swept.beats[-1].up_since_s == began_s


@pytest.mark.parametrize("jump_s", [3600.0, -3600.0])
def test_a_clock_that_jumps_starts_all_silence_anew_and_stops_no_sweep(world: World, jump_s: float) -> None:
    swept = Swept()
    one = SweepSchedule(world.process("one"), [("s", 5.0, swept)])
    one.run_due()
    world.clock.jump(jump_s)
    world.clock.advance(5.0)
    one.run_due()
    assert len(swept.beats) == 2
    assert swept.beats[-1].up_since_s == world.clock.now_s()


def test_a_lease_taken_before_the_clock_was_set_back_does_not_hold_for_ever(world: World) -> None:
    swept = Swept()
    SweepSchedule(world.process("killed"), [("s", 5.0, swept)]).run_due()
    world.clock.jump(-3600.0)
    SweepSchedule(world.process("other"), [("s", 5.0, swept)]).run_due()
    assert swept.by == ["killed", "other"]


def test_a_sweep_that_fails_stops_no_other(world: World) -> None:
    swept = Swept()

    def fails(service: Service, beat: Beat) -> None:
        raise RuntimeError("broken")

    SweepSchedule(world.process(), [("broken", 5.0, fails), ("s", 5.0, swept)]).run_due()
    assert swept.by == ["p1"]


def test_cron_runs_a_sweep_by_name_and_leaves_it_free(world: World) -> None:
    swept = Swept()
    assert SweepSchedule(world.process("one"), [("s", 5.0, swept)]).run_now("s")
    assert SweepSchedule(world.process("two"), [("s", 5.0, swept)]).run_now("s")
    with pytest.raises(errors.NotFound, match="nosuch"):
        SweepSchedule(world.process("two"), [("s", 5.0, swept)]).run_now("nosuch")
