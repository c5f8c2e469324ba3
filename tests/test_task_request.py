"""A task is taken once, for good, and only while there is room for it."""

from __future__ import annotations

import base64
import random
import threading
from pathlib import Path
from typing import Any

import pytest

from server import errors, task_request
from server.access import CLIENT, LOCAL_USER, Principal
from server.task_ids import EPOCH_2010_S, new_task_id
from server.task_request import Created
from tests.life_world import LifeWorld, Machine, end, report, start, task_input

DAY_S = 86_400.0


def ask(world: LifeWorld, who: Principal = LOCAL_USER, process: int = 0, **changes: Any) -> Created:
    return task_request.new_task(world.services[process], who, task_input(**changes))


def task_of(created: Created) -> str:
    return created.request.task_id


def test_the_same_request_id_is_the_same_task_whichever_process_is_asked(world: LifeWorld) -> None:
    first = ask(world, request_uuid="u1")
    again = ask(world, process=1, request_uuid="u1")
    assert (first.is_new, again.is_new) == (True, False)
    assert task_of(again) == task_of(first)
    assert again.result.state == "PENDING"


def test_another_callers_request_id_is_another_task(world: LifeWorld) -> None:
    first = ask(world, request_uuid="u1")
    other = ask(world, Principal("user:other", CLIENT), request_uuid="u1")
    assert task_of(other) != task_of(first)


def test_a_request_id_stands_for_its_task_for_seven_days_whatever_became_of_it(world: LifeWorld) -> None:
    first = ask(world, request_uuid="u1")
    bot = Machine(world)
    bot.handshake()
    run = bot.takes(task_of(first))
    start(world.p1, run)
    end(world.p1, run)
    world.clock.advance(7 * DAY_S - 1)
    again = ask(world, process=1, request_uuid="u1")
    assert (task_of(again), again.result.state) == (task_of(first), "COMPLETED")


def test_a_request_id_that_comes_after_seven_days_is_a_new_task_and_again_for_seven_days(world: LifeWorld) -> None:
    tasks = []
    for _ in range(3):
        tasks.append(task_of(ask(world, request_uuid="u1")))
        world.clock.advance(6 * DAY_S)
        assert task_of(ask(world, request_uuid="u1")) == tasks[-1]
        world.clock.advance(2 * DAY_S)
    assert len(set(tasks)) == 3
    for task in tasks:
        result = world.result(task)
        assert world.record(task_request.TaskRequest, result.request_key).task_id == task


def test_two_processes_that_are_asked_at_once_make_one_task(world: LifeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second one is asked between the first one's look and its commit."""
    faster: list[Created] = []
    find = task_request._find

    def meanwhile(*args: Any) -> Any:
        known = find(*args)
        monkeypatch.setattr(task_request, "_find", find)
        thread = threading.Thread(target=lambda: faster.append(ask(world, process=1, request_uuid="u1")))
        thread.start()
        thread.join()
        return known

    monkeypatch.setattr(task_request, "_find", meanwhile)
    slower = ask(world, request_uuid="u1")
    assert [created.is_new for created in (*faster, slower)] == [True, False]
    assert task_of(slower) == task_of(faster[0])


def test_an_id_that_another_task_has_is_not_taken(world: LifeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    first = ask(world, name="first")
    ids = iter([task_of(first), task_of(first), "7d312dd800000010"])
    monkeypatch.setattr(task_request, "new_task_id", lambda *args: next(ids))
    second = ask(world, name="second")
    assert task_of(second) == "7d312dd800000010"
    assert world.result(task_of(first)).name == "first"


def test_ids_of_background_tasks_are_never_those_of_real_ones() -> None:
    rng = random.Random(1)
    real = {new_task_id(EPOCH_2010_S + 1, rng) for _ in range(2000)}
    background = {new_task_id(EPOCH_2010_S + 1, rng, background=True) for _ in range(2000)}
    assert not real & background
    assert len(real) > 1900
    for one in (*real, *background):
        assert one.endswith("10")
        assert int(one, 16) >> 24 == 1000


def test_a_task_that_was_accepted_is_accepted_whatever_fails_afterwards(
    world: LifeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*args: Any) -> None:
        raise RuntimeError("a bug in the plan")

    monkeypatch.setattr(world.p1.view, "plan", fails)
    created = ask(world)
    assert created.is_new
    assert world.state(task_of(created)) == "PENDING"
    world.fresh(world.p2)
    assert world.p2.view.is_pending(task_of(created))


def test_a_full_pool_takes_no_more_and_says_how_many_wait(world: LifeWorld) -> None:
    world.configure(max_pending=3)
    for _ in range(3):
        ask(world)
    with pytest.raises(errors.ResourceExhausted, match="3 tasks wait in pool p already"):
        ask(world)
    bot = Machine(world)
    bot.handshake()
    bot.poll()
    assert ask(world).is_new


def test_a_process_that_no_bot_polls_learns_that_its_tasks_were_taken(world: LifeWorld) -> None:
    world.configure(max_pending=2)
    bot = Machine(world)
    bot.handshake()
    for _ in range(6):
        world.clock.advance(2)
        run = bot.takes(task_of(ask(world, process=1)), world.p1)
        start(world.p1, run)
        end(world.p1, run)


def test_a_repeat_of_an_accepted_request_is_answered_though_the_pool_is_full(world: LifeWorld) -> None:
    world.configure(max_pending=1)
    first = ask(world, request_uuid="u1")
    assert task_of(ask(world, request_uuid="u1")) == task_of(first)
    with pytest.raises(errors.ResourceExhausted):
        ask(world, request_uuid="u2")


def test_a_full_disk_takes_no_more_and_running_tasks_finish(tmp_path: Path) -> None:
    world = LifeWorld(tmp_path / "full", free_disk_floor_bytes=0)
    bot = Machine(world)
    bot.handshake()
    first = ask(world, request_uuid="u1")
    run = bot.takes(task_of(first))
    start(world.p1, run)
    for service in world.services:
        service.settings = service.settings.model_copy(update={"free_disk_floor_bytes": 2**60})
    with pytest.raises(errors.ResourceExhausted, match="disk is nearly full"):
        ask(world)
    assert task_of(ask(world, request_uuid="u1")) == task_of(first)
    assert end(world.p1, run).ok
    world.close()


def test_only_evaluated_is_neither_kept_nor_counted(world: LifeWorld) -> None:
    created = ask(world, evaluate_only=True)
    assert world.result(task_of(created)) is None
    assert world.p1.view.count_pending("p") == 0


def test_a_parent_must_be_there_and_alive(world: LifeWorld) -> None:
    parent = task_of(ask(world))
    assert ask(world, parent_task_id=parent[:-1] + "1").request.parent_task_id == parent
    with pytest.raises(errors.UnknownTask):
        ask(world, parent_task_id="7d312dd8000aaa10")
    world.cancel(parent)
    with pytest.raises(errors.FailedPrecondition, match="has finished"):
        ask(world, parent_task_id=parent)


def test_the_servers_own_tags_are_there(world: LifeWorld) -> None:
    tags = ask(world, tags=("mine:1",), user="mira").request.tags
    assert {"mine:1", "user:mira", "pool:p", "priority:100", "swarming.pool.task_template:none"} <= set(tags)
    assert tags == sorted(tags)


def test_a_priority_above_the_usual_needs_a_right(world: LifeWorld) -> None:
    assert ask(world, priority=5).request.priority == 5
    assert ask(world, Principal("user:other", CLIENT), priority=5).request.priority == 20
    with pytest.raises(errors.PermissionDenied):
        ask(world, Principal("user:other", CLIENT, frozenset({"elsewhere"})))


def test_the_largest_request_that_is_allowed_can_be_stored_run_and_ended(world: LifeWorld) -> None:
    noise = random.Random(1)
    dimensions = {f"key{number}": f"{noise.getrandbits(800):0250x}" for number in range(250)}
    created = ask(
        world,
        dimensions=dimensions,
        command=[base64.b64encode(noise.randbytes(96_000)).decode()],
        tags=[f"tag:{noise.getrandbits(800):0240x}" for _ in range(250)],
    )
    bot = Machine(world, said=report(**{key: [value] for key, value in dimensions.items()}))
    bot.handshake()
    run = bot.takes(task_of(created))
    start(world.p1, run)
    end(world.p1, run)
    assert world.state(task_of(created)) == "COMPLETED"
