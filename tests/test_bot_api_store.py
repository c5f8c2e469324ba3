"""A store that fails at any moment of a task's life: bots are told to wait, and the task is done once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from server import errors, task_output
from tests.life_world import LifeWorld
from tests.wire_bot import API, WireBot, b64

CALLS_OF_A_LIFE = 22
"""Calls of the store in `a_life`; each of them is the one that fails in a test of its own."""
GONE = errors.StoreUnavailable("the store does not answer")


class Failed:
    """A call that got no answer."""

    def result(self, timeout: Any = None) -> Any:
        raise GONE

    def exception(self, timeout: Any = None) -> Exception:
        return GONE

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        callback(self)


class FailingStore:
    """From its n-th call on the store does not answer, until `heal()`. `done`: that call was done all the same."""

    def __init__(self, world: LifeWorld, first: int, done: bool) -> None:
        self._stub, self._left, self._done, self.broken = world.store.stub, first, done, False
        self._real: dict[str, Any] = {}
        for name in ("lookup", "commit", "begin_transaction", "run_query"):
            method = getattr(self._stub, name)
            self._real[name] = method._method
            method._method = FailingMethod(self, method._method)

    def heal(self) -> None:
        """It answers again."""
        for name, method in self._real.items():
            getattr(self._stub, name)._method = method

    def call(self, inner: Any, request: Any, options: dict[str, Any]) -> Any:
        """One call of any kind."""
        self._left -= 1
        if self._left >= 0:
            return inner.future(request, **options)
        if self._done and not self.broken:
            inner.future(request, **options).result()
        self.broken = True
        return Failed()


class FailingMethod:
    """One kind of call."""

    def __init__(self, store: FailingStore, inner: Any) -> None:
        self._store, self._inner = store, inner

    def future(self, request: Any, **options: Any) -> Any:
        return self._store.call(self._inner, request, options)


Ask = Callable[[str, Callable[[], Any]], Any]


def a_life(bot: WireBot, ask: Ask) -> None:
    """Everything that a bot asks for in the life of one task."""
    ask("handshake", lambda: bot.post(f"{API}/handshake", bot.report(session_id="bot1/7"), None))
    while ask("poll", lambda: bot.poll(None)).json["cmd"] != "run":
        bot.world.clock.advance(15)
    ask("update", lambda: bot.update(None))
    ask("update", lambda: bot.update(None, output=b64(b"hi\n"), output_chunk_start=0))
    ask("update", lambda: bot.update(None, exit_code=0, duration=1))
    ask("poll", lambda: bot.poll(None))


def until_answered(bot: WireBot, failing: FailingStore, first_answers: list[tuple[str, Any]]) -> Ask:
    """Repeats each request as bots do; the store is back when the first one that met its loss is repeated."""

    def ask(name: str, send: Callable[[], Any]) -> Any:
        answer = send()
        first_answers.append((name, answer))
        if failing.broken:
            failing.heal()
        while answer.status_int != 200:
            bot.world.clock.advance(2)
            answer = send()
        return answer

    return ask


@pytest.mark.parametrize("done", [False, True], ids=["not done", "done and not told"])
@pytest.mark.parametrize("first", range(CALLS_OF_A_LIFE))
def test_wherever_the_store_fails_the_bot_is_told_to_wait_and_the_task_is_done_once(
    world: LifeWorld, first: int, done: bool
) -> None:
    bot = WireBot(world)
    bot.handshake()
    task = world.new_task()
    failing, answers = FailingStore(world, first, done), []
    a_life(bot, until_answered(bot, failing, answers))
    failing.heal()
    assert failing.broken
    for name, answer in answers:
        assert answer.json not in ({}, None)
        if answer.status_int != 200:
            assert name != "poll", "a poll is always answered"
            assert (answer.status_int, answer.json["error"]["code"]) == (503, "UNAVAILABLE")
            assert int(answer.headers["Retry-After"]) >= 1
    result = world.result(task)
    assert (result.state, result.exit_code) == ("COMPLETED", 0)
    assert task_output.read(world.p1, task) == b"hi\n"
    assert world.holds() == ""


def test_a_poll_while_the_store_is_gone_sleeps_five_to_fifteen_seconds(world: LifeWorld) -> None:
    bot = WireBot(world)
    failing = FailingStore(world, 0, done=False)
    for _ in range(5):
        answer = bot.post("/poll", bot.report()).json
        assert answer["cmd"] == "sleep"
        assert 5 <= answer["duration"] <= 15
    failing.heal()
    assert bot.post("/poll", bot.report()).json["session"]


def test_a_run_goes_on_while_the_store_is_gone_as_far_as_it_needs_none(world: LifeWorld) -> None:
    bot = WireBot(world)
    bot.handshake()
    task = world.new_task()
    bot.poll()
    bot.update()
    failing = FailingStore(world, 0, done=False)
    world.clock.advance(20)
    assert bot.update().json["must_stop"] is False
    bot.update(503, output=b64(b"hi"), output_chunk_start=0)
    bot.update(503, exit_code=0, duration=1)
    failing.heal()
    assert bot.update(output=b64(b"hi"), output_chunk_start=0, exit_code=0, duration=1).json["ok"]
    assert (world.state(task), task_output.read(world.p1, task)) == ("COMPLETED", b"hi")
