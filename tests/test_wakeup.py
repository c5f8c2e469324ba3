"""Held polls: they end the moment there is work, wherever it came from, and never outlast what they may."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from server import assembly, bot_management, task_to_run
from server.clock import SystemClock
from server.service import Service
from server.task_to_run import Answer
from server.task_update import Update, UpdateAnswer, update
from tests.life_world import LifeWorld, Machine, Run, end, start


@pytest.fixture
def world(tmp_path: Path) -> Iterator[LifeWorld]:
    """Real time: what is held waits in its thread."""
    world = LifeWorld(tmp_path / "data", threads=8, held_polls=2)
    world.clock = SystemClock()  # type: ignore[assignment]
    world.services = [
        assembly.build(world.settings, world.clock, random.Random(name), world.store, process_id=name)
        for name in ("p1", "p2")
    ]
    world.p1, world.p2 = world.services
    yield world
    for service in world.services:
        service.wakeup.drain()
    world.close()


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


def hold(threads: ThreadPoolExecutor, bot: Machine, service: Service, hold_s: float = 10.0) -> Future[Answer]:
    """A poll that is held; returns once it is."""

    def poll() -> Answer:
        entry = bot_management.merge_report(service, bot.token, bot.says())
        return task_to_run.answer_poll(service, bot.token, entry, hold_s)

    return until_held(threads, service, poll)


def until_held(threads: ThreadPoolExecutor, service: Service, call: Callable[[], Any]) -> Future[Any]:
    """Makes the call; returns once it is held, or has its answer."""
    held = service.wakeup.held
    future = threads.submit(call)
    deadline_s = time.monotonic() + 5
    while service.wakeup.held == held and not future.done():
        assert time.monotonic() < deadline_s
        time.sleep(0.001)
    return future


def bot_of(world: LifeWorld, name: str) -> Machine:
    bot = Machine(world, name)
    bot.handshake()
    return bot


def new_task(world: LifeWorld, service: Service, **changes: Any) -> str:
    from server import task_request
    from server.access import LOCAL_USER
    from tests.life_world import task_input

    return task_request.new_task(service, LOCAL_USER, task_input(**changes)).request.task_id


@pytest.mark.parametrize("process", [0, 1], ids=["the same process", "another process"])
def test_a_held_poll_is_given_a_new_task_at_once(world: LifeWorld, threads: ThreadPoolExecutor, process: int) -> None:
    future = hold(threads, bot_of(world, "bot1"), world.p1)
    began_s = time.monotonic()
    task = new_task(world, world.services[process])
    assert future.result(5).delivery.task_id == task
    assert time.monotonic() - began_s < 1.0
    assert world.p1.wakeup.held == 0


def test_one_task_ends_one_of_the_held_polls(world: LifeWorld, threads: ThreadPoolExecutor) -> None:
    futures = [hold(threads, bot_of(world, f"bot{number}"), world.p1, 1.5) for number in range(2)]
    new_task(world, world.p2)
    given = [future.result(5).delivery for future in futures]
    assert sum(delivery is not None for delivery in given) == 1


def test_a_poll_without_work_is_held_for_as_long_as_it_asked(world: LifeWorld, threads: ThreadPoolExecutor) -> None:
    began_s = time.monotonic()
    answer = hold(threads, bot_of(world, "bot1"), world.p1, 0.4).result(5)
    assert answer.delivery is None
    assert 0.35 <= time.monotonic() - began_s < 2.0


def test_more_polls_than_there_are_places_are_answered_at_once(world: LifeWorld, threads: ThreadPoolExecutor) -> None:
    for number in range(2):
        hold(threads, bot_of(world, f"bot{number}"), world.p1, 1.0)
    third = hold(threads, bot_of(world, "bot9"), world.p1, 5.0)
    assert third.result(0.8).delivery is None


def test_a_process_that_leaves_sends_its_held_polls_home_and_takes_none(
    world: LifeWorld, threads: ThreadPoolExecutor
) -> None:
    future = hold(threads, bot_of(world, "bot1"), world.p1)
    world.p1.wakeup.drain()
    assert future.result(1).delivery is None
    assert hold(threads, bot_of(world, "bot2"), world.p1).result(1).delivery is None


def test_the_held_poll_of_a_session_that_was_replaced_goes_home(world: LifeWorld, threads: ThreadPoolExecutor) -> None:
    bot = bot_of(world, "bot1")
    future = hold(threads, bot, world.p1)
    bot.repeat_handshake(world.p2, "another-session")
    assert future.result(3).delivery is None


def test_news_that_a_poll_fetched_already_do_not_keep_the_held_ones_running(
    world: LifeWorld, threads: ThreadPoolExecutor
) -> None:
    hold(threads, bot_of(world, "bot1"), world.p1, 1.2)
    woken: list[int] = []
    notify = world.p1.wakeup.notify

    def counted() -> None:
        woken.append(1)
        notify()

    world.p1.wakeup.notify = counted  # type: ignore[method-assign]
    bot_of(world, "bot2")  # changes the store and refreshes p1's view by itself
    threading.Event().wait(0.8)
    assert len(woken) <= 8


# ---- keep-alives, which are held so that a run hears of its stop at once


def listen(threads: ThreadPoolExecutor, run: Run, service: Service, hold_s: float = 10.0) -> Future[UpdateAnswer]:
    """A keep-alive that is held; returns once it is."""
    return until_held(threads, service, lambda: update(service, run.token, Update(run.task_id, hold_s=hold_s)))


def running(world: LifeWorld, name: str = "bot1") -> Run:
    bot = bot_of(world, name)
    run = bot.takes(new_task(world, world.p1, dimensions={"id": name}))
    start(world.p1, run)
    world.fresh()
    return run


@pytest.mark.parametrize("process", [0, 1], ids=["the same process", "another process"])
def test_a_silent_run_hears_of_a_kill_at_once(world: LifeWorld, threads: ThreadPoolExecutor, process: int) -> None:
    run = running(world)
    future = listen(threads, run, world.p1)
    began_s = time.monotonic()
    world.cancel(run.task_id, world.services[process])
    assert future.result(5) == UpdateAnswer(must_stop=True, reason="killed by a user", held=True)
    assert time.monotonic() - began_s < 1.0
    assert world.p1.wakeup.held == 0


def test_a_background_run_hears_at_once_that_a_task_wants_its_bot(
    world: LifeWorld, threads: ThreadPoolExecutor
) -> None:
    world.prewarming()
    run = bot_of(world, "bot1").warms()
    start(world.p1, run)
    world.fresh()
    future = listen(threads, run, world.p1)
    began_s = time.monotonic()
    new_task(world, world.p2)
    assert future.result(5).must_stop
    assert time.monotonic() - began_s < 2.0


def test_a_keep_alive_is_not_held_beyond_its_time(world: LifeWorld, threads: ThreadPoolExecutor) -> None:
    run = running(world)
    began_s = time.monotonic()
    assert listen(threads, run, world.p1, 0.3).result(5) == UpdateAnswer(must_stop=False, held=True)
    assert 0.2 < time.monotonic() - began_s < 2.0


def test_a_run_that_is_over_lets_its_keep_alive_go(world: LifeWorld, threads: ThreadPoolExecutor) -> None:
    run = running(world)
    future = listen(threads, run, world.p1)
    end(world.p1, run)
    assert future.result(5).must_stop
    assert world.p1.wakeup.held == 0


def test_half_of_the_places_are_for_polls_alone(world: LifeWorld, threads: ThreadPoolExecutor) -> None:
    first, second = running(world, "bot1"), running(world, "bot2")
    held = listen(threads, first, world.p1)
    assert update(world.p1, second.token, Update(second.task_id, hold_s=10.0)) == UpdateAnswer(must_stop=False)
    poll = hold(threads, bot_of(world, "bot3"), world.p1)
    assert world.p1.wakeup.held == 2
    world.p1.wakeup.drain()
    assert held.result(5) == UpdateAnswer(must_stop=False, held=True)
    poll.result(5)


def test_output_is_never_held(world: LifeWorld) -> None:
    run = running(world)
    began_s = time.monotonic()
    assert not update(world.p1, run.token, Update(run.task_id, b"hello", hold_s=10.0)).held
    assert time.monotonic() - began_s < 1.0
