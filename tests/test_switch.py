"""The stop switch: nothing begins, what runs is stopped, and whoever crashes half way does no harm."""

from __future__ import annotations

import pytest

from server import audit, config, errors, jobs, latest, switch
from server.access import ADMIN, Principal
from server.records.job import Job
from server.records.pool import PoolGate
from tests.server_world import World

MIRA = Principal("user:mira", ADMIN)
NOAH = Principal("user:noah", ADMIN)


class Bell:
    """A carrier that counts its rings."""

    def __init__(self) -> None:
        self.rung = 0

    def ring(self, due_s: float = 0.0) -> None:
        self.rung += 1


@pytest.fixture
def service(tmp_path):
    world = World(tmp_path)
    service = world.process()
    service.carrier = Bell()
    yield service
    world.close()


@pytest.fixture
def stopped_runs(monkeypatch):
    """The runs that the scheduler was told to stop."""
    found = []
    monkeypatch.setattr(switch.task_stops, "stop_background", lambda service, task, n, reason: found.append((task, n)))
    return found


def said(service) -> list[str]:
    """What the audit has of the switch."""
    return [entry.what for entry in audit.recent(service) if entry.what.startswith("switch.")]


def put_gate(service, pool: str, runs: int = 0, **fields) -> None:
    entries = [{"task": f"{pool}-{number}", "bot": f"b{number}", "n": number, "for": ""} for number in range(runs)]
    with service.store.context():
        PoolGate(id=pool, entries=entries, **fields).put()


def gates(service) -> dict[str, tuple[bool, int]]:
    with service.store.context():
        return {str(gate.key.id()): (gate.stopped, gate.epoch) for gate in PoolGate.query().fetch()}


def test_stopping_closes_every_gate_and_says_who_and_why(service):
    put_gate(service, "lab")
    put_gate(service, "builders")
    head = switch.set_switch(service, MIRA, True, "disks are full")
    assert gates(service) == {"lab": (True, 1), "builders": (True, 1)}
    assert (head.stopped_by, head.stopped_why, head.stopped_since_s) == (
        "user:mira",
        "disks are full",
        service.clock.now_s(),
    )
    assert latest.read(service) == head
    assert said(service) == ["switch.stop"]


def test_the_process_that_was_asked_shows_it_at_once_however_often_its_view_was_asked_before(service):
    for stopped in (True, False) * 5:
        service.view.refresh(eager=True)
        switch.set_switch(service, MIRA, stopped)
        assert service.view.switch().stopped is stopped


def test_a_pool_that_never_handed_out_is_closed_too(service):
    config.ensure_first(service)
    config.save_config(service, MIRA, {"pools": {"fresh": {"mode": "live"}}}, 1)
    switch.set_switch(service, MIRA, True)
    assert gates(service) == {"fresh": (True, 1)}


def test_a_gate_made_later_begins_as_the_switch_stands(service):
    switch.set_switch(service, MIRA, True, "why")
    with service.store.context():
        gate = switch.new_gate("late")
    assert (gate.stopped, gate.epoch, gate.stopped_why) == (True, 1, "why")


def test_every_run_is_stopped_once_also_in_a_large_pool(service, stopped_runs):
    runs = switch.JOBS_AT_ONCE + 5
    put_gate(service, "lab", runs)
    put_gate(service, "builders", 1)
    switch.set_switch(service, MIRA, True)
    assert service.carrier.rung == 1
    while jobs.run_due(service, limit=50).ran:
        pass
    assert sorted(stopped_runs) == sorted([("builders-0", 0), *((f"lab-{number}", number) for number in range(runs))])


def test_what_runs_goes_on_if_the_switch_was_set_back_before(service, stopped_runs):
    put_gate(service, "lab", 2)
    switch.set_switch(service, MIRA, True)
    switch.set_switch(service, MIRA, False)
    assert gates(service) == {"lab": (False, 2)}
    jobs.run_due(service)
    assert stopped_runs == []


def test_starting_again_stops_nothing(service, stopped_runs):
    switch.set_switch(service, MIRA, True)
    put_gate(service, "lab", 2, stopped=True, epoch=1)
    switch.set_switch(service, NOAH, False)
    jobs.run_due(service)
    assert (gates(service), stopped_runs) == ({"lab": (False, 2)}, [])
    assert not latest.read(service).stopped


def test_stopping_twice_keeps_who_was_first(service):
    put_gate(service, "lab")
    first = switch.set_switch(service, MIRA, True, "mine")
    service.clock.advance(60)
    assert switch.set_switch(service, NOAH, True, "me too") == first
    assert said(service) == ["switch.stop"]


def test_a_process_that_dies_after_the_first_step_leaves_a_job_that_does_the_rest(service, monkeypatch, stopped_runs):
    put_gate(service, "lab", 1)
    with monkeypatch.context() as patch:
        patch.setattr(switch, "spread", lambda *_: pytest.fail("killed"))
        with pytest.raises(pytest.fail.Exception):
            switch.set_switch(service, MIRA, True)
    assert gates(service) == {"lab": (False, 0)}
    service.clock.advance(switch.SPREAD_AGAIN_S)
    while jobs.run_due(service).ran:
        pass
    assert (gates(service), stopped_runs) == ({"lab": (True, 1)}, [("lab-0", 0)])


def test_a_late_stop_does_not_undo_a_newer_start(service):
    put_gate(service, "lab", 1)
    switch.set_switch(service, MIRA, True)
    old = latest.read(service)
    switch.set_switch(service, MIRA, False)
    switch._set_gate(service, "lab", old)
    assert gates(service) == {"lab": (False, 2)}


def test_done_jobs_do_not_come_again(service, stopped_runs):
    put_gate(service, "lab", 1)
    switch.set_switch(service, MIRA, True)
    service.clock.advance(600)
    while jobs.run_due(service).ran:
        pass
    with service.store.context():
        assert [job.due_s for job in Job.query().fetch()] == [0.0, 0.0]


def test_a_reason_without_end_is_refused(service):
    with pytest.raises(errors.FieldErrors):
        switch.set_switch(service, MIRA, True, "x" * 1001)
    assert not latest.read(service).stopped
