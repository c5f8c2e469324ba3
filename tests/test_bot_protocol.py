"""What the bot's calls look like on the wire, and what it makes of answers good and bad."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest

from bot.protocol import BotApi, CallFailed
from tests.fake_server import Answer, FakeServer

REPORT = {"dimensions": {"id": ["bot1"]}, "state": {}, "version": "v"}


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer() as running:
        yield running


@pytest.fixture
def api(server: FakeServer) -> BotApi:
    return BotApi(server.url, "bot1", None, random.Random(1))


def answers(*given: Answer) -> Any:
    """A behaviour: these answers in turn, then friendly ones."""
    left = list(given)
    return lambda call: left.pop(0) if left else None


def test_the_newest_session_token_goes_with_every_call(server: FakeServer, api: BotApi) -> None:
    api.handshake(REPORT, "a" * 32 + "/1")
    api.poll(REPORT, "uuid", 0)
    api.task_update("t1", {})
    api.task_error("t1", "broken")
    api.event(REPORT, "bot_log", "hello")
    received = [None, *(call.answer["session"] for call in server.calls)]
    assert [call.body.get("session") for call in server.calls] == received[:-1]


def test_a_handshake_names_its_session_and_no_token(server: FakeServer, api: BotApi) -> None:
    api.handshake(REPORT, "a" * 32 + "/1")
    [call] = server.calls
    assert call.body == {**REPORT, "session_id": "a" * 32 + "/1"}
    assert call.headers["x-luci-swarming-bot-id"] == "bot1"
    assert call.headers["content-type"] == "application/json; charset=UTF-8"


def test_a_poll_says_how_long_it_may_be_held(server: FakeServer, api: BotApi) -> None:
    api.poll(REPORT, "uuid", 20)
    api.poll(REPORT, "uuid", 0)
    assert [call.body.get("hold_s") for call in server.calls] == [20, None]


@pytest.mark.parametrize(
    "trouble",
    [(500, {"error": "x"}), (503, b"busy"), (429, {}), (404, b"<h1>Not Found</h1>"), (200, None), (200, b"no json")],
    ids=["500", "503", "429", "html-404", "dropped", "no-json"],
)
def test_an_update_is_repeated_with_the_same_bytes(server: FakeServer, api: BotApi, trouble: Answer) -> None:
    server.on["task_update"] = answers(trouble, trouble)
    api.session = "token"
    api.task_update("t1", {"output": "aGk=", "output_chunk_start": 0})
    assert len({call.raw for call in server.calls}) == 1
    assert len(server.calls) == 3


@pytest.mark.parametrize(
    "refusal", [(400, {"error": "x"}), (401, {}), (403, {}), (404, {}), (200, {"error": "not yours"})]
)
def test_a_refused_update_is_not_repeated(server: FakeServer, api: BotApi, refusal: Answer) -> None:
    server.on["task_update"] = answers(refusal)
    with pytest.raises(CallFailed):
        api.task_update("t1", {})
    assert len(server.calls) == 1


def test_an_empty_answer_to_an_update_is_a_failure(server: FakeServer, api: BotApi) -> None:
    server.on["task_update"] = answers((200, b"{}"))
    with pytest.raises(CallFailed):
        api.task_update("t1", {})


@pytest.mark.parametrize("answer", [b"{}", b'{"resp": 1}', b'{"ok": true}'])
def test_any_object_acknowledges_a_task_error(server: FakeServer, api: BotApi, answer: bytes) -> None:
    server.on["task_error"] = answers((200, answer))
    api.task_error("t1", "broken")
    [call] = server.calls
    assert call.body["client_error"] == {"missing_cas": [], "missing_cipd": []}
    assert (call.body["id"], call.body["task_id"], call.body["message"]) == ("bot1", "t1", "broken")


def test_repeating_stops_when_the_caller_gives_up(server: FakeServer, api: BotApi) -> None:
    server.on["task_update"] = lambda call: (500, {})
    with pytest.raises(CallFailed):
        api.task_update("t1", {}, give_up=lambda: len(server.calls) >= 2)
    assert len(server.calls) == 2


@pytest.mark.parametrize(
    "answer",
    [{}, {"cmd": "dance"}, {"cmd": "sleep"}, {"cmd": "run"}, {"cmd": "update"}, {"error": "x", "cmd": "bot_restart"}],
)
def test_a_poll_answer_that_cannot_be_understood_is_a_failed_poll(
    server: FakeServer, api: BotApi, answer: dict[str, Any]
) -> None:
    server.script = [answer]
    with pytest.raises(CallFailed) as caught:
        api.poll(REPORT, "uuid", 0)
    assert caught.value.transient


def test_a_closed_idle_connection_costs_no_failure(server: FakeServer, api: BotApi) -> None:
    api.poll(REPORT, "one", 0)
    server.on["poll"] = answers((200, None))  # takes the call on the old connection and closes it without an answer
    api.poll(REPORT, "two", 0)
    assert [call.body["request_uuid"] for call in server.calls] == ["one", "two", "two"]


def test_the_secret_goes_with_calls_but_not_with_the_ping(server: FakeServer) -> None:
    api = BotApi(server.url, "bot1", "s3cret")
    assert api.server_ping()
    api.handshake(REPORT, "a/1")
    ping, handshake = server.calls
    assert "authorization" not in ping.headers and "x-luci-swarming-bot-id" not in ping.headers
    assert handshake.headers["authorization"] == "Bearer s3cret"


def test_an_event_that_nobody_takes_is_given_up(server: FakeServer, api: BotApi) -> None:
    server.on["event"] = lambda call: (400, {"error": "x"})
    assert not api.event(REPORT, "bot_log", "hello")


def test_a_server_that_is_not_there_is_a_transient_failure(server: FakeServer, api: BotApi) -> None:
    server.stop()
    with pytest.raises(CallFailed) as caught:
        api.poll(REPORT, "uuid", 0)
    assert caught.value.transient and caught.value.status is None
    assert not api.server_ping()
    server.start()
