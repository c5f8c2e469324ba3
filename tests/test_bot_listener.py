"""A run that says nothing: how often it tells that it is there, and how soon it hears that it is to stop."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator

import pytest

from bot.control import Event
from bot.listener import Listener, Rhythm
from bot.protocol import BotApi
from bot.verdict import Verdict
from tests.fake_server import Answer, Call, FakeServer

T = "5e0c7a8f3b2d1011"


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer() as running:
        yield running


def test_a_call_that_was_held_is_followed_by_the_next_at_once() -> None:
    assert Rhythm(False, 10.0, 10.0).pause_s(held=True, took_s=10.0) == 0.0


@pytest.mark.parametrize(
    ("background", "keep_alive_s", "pause_s"), [(False, 10.0, 9.7), (False, 3.0, 2.7), (True, 10.0, 0.7)]
)
def test_one_that_was_not_held_is_followed_by_the_next_when_the_server_wants_to_hear_of_it(
    background: bool, keep_alive_s: float, pause_s: float
) -> None:
    assert Rhythm(background, keep_alive_s, 10.0).pause_s(held=False, took_s=0.3) == pytest.approx(pause_s)


def test_a_slow_answer_makes_no_pause_negative() -> None:
    assert Rhythm(True, 10.0, 10.0).pause_s(held=False, took_s=7.0) == 0.0


class Holding:
    """A server that holds updates until it is told what to answer."""

    def __init__(self, server: FakeServer) -> None:
        self.calls, self.come, self.answer = 0, threading.Event(), queue.SimpleQueue[Answer]()
        server.on["task_update"] = self._hold

    def _hold(self, call: Call) -> Answer:
        assert 0 < call.body["hold_s"] <= 10
        self.calls += 1
        self.come.set()
        return self.answer.get()


def listening(server: FakeServer) -> tuple[Listener, Verdict, queue.SimpleQueue[Event]]:
    events: queue.SimpleQueue[Event] = queue.SimpleQueue()
    verdict = Verdict(events)
    listener = Listener(BotApi(server.url, "bot1", None), T, verdict, Rhythm(False, 10.0, 10.0))
    listener.start()
    return listener, verdict, events


def test_a_stop_is_heard_the_moment_the_server_tells_of_it(server: FakeServer) -> None:
    holding = Holding(server)
    listener, verdict, events = listening(server)
    assert holding.come.wait(5)
    assert events.empty()
    holding.answer.put((200, {"must_stop": True, "held": True}))
    assert events.get(timeout=1) is Event.MUST_STOP and verdict.must_stop
    holding.answer.put((200, {"must_stop": True}))
    listener.finish()


def test_the_end_of_a_run_breaks_off_a_call_that_is_held_and_tries_it_no_more(server: FakeServer) -> None:
    holding = Holding(server)
    listener, verdict, events = listening(server)
    assert holding.come.wait(5)
    began_s = time.monotonic()
    listener.finish()
    assert time.monotonic() - began_s < 1
    assert holding.calls == 1
    assert events.empty() and verdict.failure is None
    holding.answer.put((200, {"must_stop": True}))


def test_a_refusal_ends_the_run(server: FakeServer) -> None:
    server.on["task_update"] = lambda call: (400, {"error": "no"})
    listener, verdict, events = listening(server)
    assert events.get(timeout=5) is Event.UPDATE_FAILED
    assert verdict.failure is not None
    listener.finish()


def test_a_run_shorter_than_a_second_asks_nothing(server: FakeServer) -> None:
    listener, _, _ = listening(server)
    listener.finish()
    assert server.calls == []
