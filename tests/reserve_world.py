"""A pool near its reserve whose bots poll two processes, and the ways in which bots leave at one of them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from server import bot_management, task_request, task_stops
from server.access import LOCAL_USER
from tests.life_world import LIVE, LifeWorld, Machine, report, task_input

RESERVE = 4
ELSEWHERE, HERE = 7, 4
"""Bots of the process at which bots leave, and of the other one, which is asked for background work."""


def take_real_tasks(world: LifeWorld, bots: list[Machine]) -> None:
    for bot in bots:
        task_request.new_task(world.p1, LOCAL_USER, task_input(dimensions={"id": bot.bot_id}))
        assert bot.poll(world.p1).delivery is not None


def are_declared_dead(world: LifeWorld, bots: list[Machine]) -> None:
    for bot in bots:
        assert task_stops.declare_dead(world.p1, bot.bot_id, world.clock.now_s())


def quarantine_themselves(world: LifeWorld, bots: list[Machine]) -> None:
    for bot in bots:
        bot.said = report(bot.bot_id, {"quarantined": "no disk left"})
        bot.poll(world.p1)


def say_goodbye(world: LifeWorld, bots: list[Machine]) -> None:
    for bot in bots:
        assert bot.token is not None
        bot_management.leave(world.p1, bot.token, "shut down")


Leave = Callable[[LifeWorld, list[Machine]], None]
WAYS: tuple[Leave, ...] = (take_real_tasks, are_declared_dead, quarantine_themselves, say_goodbye)


def fleet(world: LifeWorld) -> tuple[list[Machine], list[Machine]]:
    """Bots of the first and of the second process, all of them idle and known to both, each worth a bet."""
    world.configure(**LIVE | {"reserve_min": RESERVE})
    elsewhere = [Machine(world, f"a{number}") for number in range(ELSEWHERE)]
    here = [Machine(world, f"b{number}") for number in range(HERE)]
    for bots, service in ((elsewhere, world.p1), (here, world.p2)):
        for bot in bots:
            bot.handshake()
            assert bot.poll(service).delivery is None
    world.prewarming(expected_per_h=100_000)
    return elsewhere, here


def ask_at_once(world: LifeWorld, bots: list[Machine]) -> None:
    """Those that were given nothing yet poll the second process at once."""
    with ThreadPoolExecutor(len(bots)) as threads:
        list(threads.map(lambda bot: bot.poll(world.p2), [bot for bot in bots if not bot.runs]))
