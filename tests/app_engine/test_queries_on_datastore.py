"""What the server asks Google's Datastore: answered there, by the indexes of `index.yaml` alone, with overlap."""

from __future__ import annotations

import ast
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from server import audit, jobs, prewarm_spec, sweeps, switch, task_output
from server.access import LOCAL_USER
from server.records import key_of
from server.records.bot import Bot
from server.store import queries
from server.store.client import INDEX_FILE
from server.store.indexes import CompositeIndexes
from server.task_results import STATE_QUERIES, ListQuery, list_tasks
from tests.app_engine.emulated_world import EmulatedWorld, world  # noqa: F401 -- the second is a fixture
from tests.life_world import POOL, Machine, end, keep_alive, start
from tests.server_process import ROOT

pytestmark = pytest.mark.emulator

SERVER = ROOT / "server"


class Overheard:
    """Stands before `run_query`: who asked, and whether the declared indexes answer it."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self._declared = CompositeIndexes.from_file(INDEX_FILE)
        self.asked: set[str] = set()

    def future(self, request: Any, **options: Any) -> Any:
        queries.plan(type(request).pb(request).query, self._declared)  # raises what production would
        self.asked.add(asker())
        return self._inner.future(request, **options)


def asker() -> str:
    """The function of the server that waits for the present query."""
    frame = sys._getframe(1)
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(SERVER) and not path.is_relative_to(SERVER / "store"):
            return f"{path.relative_to(SERVER)}:{frame.f_code.co_name}"
        frame = frame.f_back  # type: ignore[assignment]
    raise AssertionError("a query of nobody")


def functions_with_queries() -> set[str]:
    """Every function of the server that makes a query."""
    found = set()
    for path in SERVER.rglob("*.py"):
        if path.is_relative_to(SERVER / "store"):
            continue
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(function, ast.FunctionDef) and _queries(function):
                found.add(f"{path.relative_to(SERVER)}:{function.name}")
    return found


def _queries(function: ast.FunctionDef) -> bool:
    calls = (node.func for node in ast.walk(function) if isinstance(node, ast.Call))
    return any(isinstance(call, ast.Attribute) and call.attr == "query" for call in calls)


@pytest.fixture
def overheard(world: EmulatedWorld) -> Iterator[Overheard]:  # noqa: F811
    """What process `p1` asks."""
    world.p1.store.stub.run_query = overheard = Overheard(world.p1.store.stub.run_query)
    yield overheard


def test_every_query_of_the_server_is_answered_by_the_declared_indexes(
    world: EmulatedWorld,  # noqa: F811
    overheard: Overheard,
) -> None:
    world.prewarming()
    machine = Machine(world)
    machine.handshake()
    run = machine.takes(world.new_task(tags=["kind:build"]))
    start(world.p1, run)
    keep_alive(world.p1, run, b"hello ")
    keep_alive(world.p1, run, b"world", 6)
    assert task_output.read(world.p1, run.task_id) == b"hello world"
    assert task_output.read(world.p1, run.task_id, 3, 5) == b"lo wo"
    assert task_output.tail(world.p1, run.task_id, 7) == (4, b"o world")
    end(world.p1, run)
    world.p1.view.refresh(force=True)
    prewarm_spec.load_all(world.p1)
    for stopped in (True, False):
        switch.set_switch(world.p1, LOCAL_USER, stopped)
    jobs.run_due(world.p1)
    assert [entry.what for entry in audit.recent(world.p1, 2)] == ["switch.start", "switch.stop"]
    assert audit.recent(world.p1, before_s=world.clock.now_s() + 1.0)
    for sweep in (sweeps.lapse_claims, sweeps.expire_tasks, sweeps.declare_deaths):
        sweep(world.p1, world.beat())
    world.p1.pages.merge()
    every_list(world, run.task_id)
    assert overheard.asked == functions_with_queries()


def every_list(world: EmulatedWorld, task_id: str) -> None:  # noqa: F811
    """Lists of tasks by each state, with tags and without, with times and without."""
    now_s = world.clock.now_s()
    for state in STATE_QUERIES:
        for tags in ((), ("kind:build",), ("kind:build", f"pool:{POOL}"), ("kind:build|test",)):
            for times in ({}, {"start_s": now_s - 100.0}, {"start_s": now_s - 100.0, "end_s": now_s + 1.0}):
                query = ListQuery(state=state, tags=tags, **times)
                ids = [result.key.id() for result in list_tasks(world.p1, LOCAL_USER, query).items]
                assert ids == [task_id] * (state in ("QUERY_ALL", "QUERY_COMPLETED", "QUERY_COMPLETED_SUCCESS")), query


def test_a_list_of_tasks_of_the_same_moment_is_paged_without_loss(world: EmulatedWorld) -> None:  # noqa: F811
    for _ in range(5):
        world.new_task()
        world.clock.advance(-0.001)  # which each new task took
    found, cursor = [], ""
    for _ in range(5):
        page = list_tasks(world.p1, LOCAL_USER, ListQuery(limit=2, cursor=cursor))
        found += [result.key.id() for result in page.items]
        cursor = page.cursor
        if not cursor:
            break
    assert len(found) == len(set(found)) == 5


def test_a_change_that_was_committed_late_reaches_the_other_process_with_its_next_refresh(
    world: EmulatedWorld,  # noqa: F811
) -> None:
    """A1: `changed_s` is set before the commit, and the other process has asked for later ones in between."""
    machine = Machine(world)
    machine.handshake()
    at_commit, may_commit = threading.Event(), threading.Event()

    def late() -> None:
        bot = key_of(Bot, "bot1").get()
        bot.maintenance, bot.changed_s = "late", world.clock.now_s()
        bot.put()
        at_commit.set()
        may_commit.wait(10.0)

    world.clock.advance(100.0)
    writing = threading.Thread(target=world.p1.store.transaction, args=(late,))
    writing.start()
    assert at_commit.wait(10.0)
    for _ in range(4):
        world.clock.advance(2.0)
        world.p2.view.refresh(force=True)
    assert world.p2.view.bot("bot1").policy.maintenance == ""
    may_commit.set()
    writing.join()
    world.clock.advance(1.0)
    world.p2.view.refresh(force=True)
    assert world.p2.view.bot("bot1").policy.maintenance == "late"


def test_what_one_process_does_the_other_sees_with_one_refresh(world: EmulatedWorld) -> None:  # noqa: F811
    machine = Machine(world)
    machine.handshake(world.p1)
    task_id = world.new_task(world.p1)
    assert world.p2.view.bot("bot1") is not None and world.p2.view.is_pending(task_id)
    machine.takes(task_id, world.p2)
    world.clock.advance(1.1)
    assert world.p1.view.refresh()
    assert not world.p1.view.is_pending(task_id)
    assert world.p1.view.bot("bot1").held["task"] == task_id
