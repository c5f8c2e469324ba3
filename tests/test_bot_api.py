"""What the bot API answers to nonsense, to strangers, to plain bots, and without a store."""

from __future__ import annotations

import json
from typing import Any
from unittest import mock

import pytest
from webtest import TestApp

import main
from bot import bundle
from server import bot_code, errors
from server.task_properties import Properties
from tests.life_world import LifeWorld, Machine

API = "/swarming/api/v1/bot"


@pytest.fixture
def app(world: LifeWorld) -> TestApp:
    return TestApp(main.create_app(world.p1), extra_environ={"REMOTE_ADDR": "127.0.0.1", "HTTP_HOST": "localhost"})


def handshake(app: TestApp, bot_id: str = "b1") -> dict[str, Any]:
    return app.post_json(f"{API}/handshake", {**body(bot_id), "session_id": f"{bot_id}/1"}).json


def body(bot_id: str = "b1", **changes: Any) -> dict[str, Any]:
    return {"dimensions": {"id": [bot_id], "pool": ["p"]}, "state": {}, "version": "v", **changes}


@pytest.mark.parametrize(
    ("path", "sent", "field"),
    [
        ("/poll", b"{", "body"),
        ("/poll", b"[]", "body"),
        ("/poll", b'{"dimensions": {"pool": ["p"]}, "state": {}}', "dimensions.id"),
        ("/poll", b'{"dimensions": {"id": ["a", "b"]}, "state": {}}', "dimensions.id"),
        ("/poll", b'{"dimensions": {"id": ["a"]}, "state": {}, "hold_s": "long"}', "hold_s"),
        (f"{API}/handshake", b'{"dimensions": {"id": ["a"]}, "state": {}, "session_id": "A B"}', "session_id"),
        (f"{API}/event", b'{"dimensions": {"id": ["a"]}, "state": {}, "event": "party"}', "event"),
        (f"{API}/task_update/7c28fa80b5b2c111", b'{"id": "b1"}', "session"),
    ],
)
def test_nonsense_is_refused_by_the_name_of_its_field(app: TestApp, path: str, sent: bytes, field: str) -> None:
    answer = app.post(path, sent, content_type="application/json; charset=UTF-8", status=400)
    assert answer.json["error"]["field"] == field


def test_a_body_beyond_the_limit_is_refused_with_the_limit(app: TestApp) -> None:
    answer = app.post("/poll", b" " * 1_048_577, content_type="application/json", status=413)
    assert "1048576" in answer.json["error"]["message"]


def test_malformed_dimensions_quarantine_the_bot_and_say_why(app: TestApp) -> None:
    session = handshake(app)["session"]
    dimensions = {"id": ["b1"], "pool": ["p"], "os": "Linux"}
    poll = app.post_json(f"{API}/poll", body(session=session, dimensions=dimensions)).json
    assert poll["cmd"] == "sleep" and poll["quarantined"] and "os" in poll["quarantined_why"]


def test_unknown_fields_do_no_harm(app: TestApp) -> None:
    session = handshake(app)["session"]
    assert app.post_json(f"{API}/poll", body(session=session, whatever=[1, {"a": 2}])).json["cmd"] == "sleep"


def test_a_poll_without_a_session_is_told_to_start_anew(app: TestApp) -> None:
    assert app.post_json(f"{API}/poll", body(session=None)).json["cmd"] == "bot_restart"
    assert app.post_json(f"{API}/poll", body(session="forged")).json["cmd"] == "bot_restart"


def test_a_plain_bot_runs_a_task_by_poll_alone(app: TestApp, world: LifeWorld) -> None:
    task_id = world.new_task()
    run = app.post_json("/poll", body()).json
    assert run["cmd"] == "run" and run["manifest"]["task_id"][:-1] == task_id[:-1]
    update = {"id": "b1", "task_id": run["manifest"]["task_id"], "session": run["session"]}
    started = app.post_json(f"{API}/task_update/{update['task_id']}", update).json
    assert started["must_stop"] is False
    ended = app.post_json(f"{API}/task_update/{update['task_id']}", {**update, "exit_code": 0, "duration": 0.1}).json
    assert ended["ok"] is True
    assert world.state(task_id) == "COMPLETED"
    assert app.post_json("/poll", body(session=ended["session"])).json["cmd"] == "sleep"


def test_an_update_for_another_bots_task_must_stop_and_changes_nothing(app: TestApp, world: LifeWorld) -> None:
    task_id = world.new_task()
    run = app.post_json("/poll", body()).json
    other = handshake(app, "b2")["session"]
    update = {"id": "b2", "task_id": run["manifest"]["task_id"], "session": other, "exit_code": 0, "duration": 1.0}
    assert app.post_json(f"{API}/task_update/{update['task_id']}", update).json["must_stop"] is True
    assert world.state(task_id) == "PENDING"


def test_an_update_for_an_unknown_task_is_not_found_as_json(app: TestApp) -> None:
    session = handshake(app)["session"]
    update = {"id": "b1", "task_id": "7c28fa80b5b2c111", "session": session}
    answer = app.post_json(f"{API}/task_update/7c28fa80b5b2c111", update, status=404)
    assert answer.content_type == "application/json"


def test_a_lost_store_lets_bots_sleep_and_updates_be_repeated(app: TestApp, world: LifeWorld) -> None:
    world.new_task()
    run = app.post_json("/poll", body()).json
    update = {"id": "b1", "task_id": run["manifest"]["task_id"], "session": run["session"]}
    gone = errors.StoreUnavailable("the store is gone")
    store = world.p1.store
    with mock.patch.multiple(store, transaction=mock.Mock(side_effect=gone), context=mock.Mock(side_effect=gone)):
        poll = app.post_json("/poll", body("new", session=None)).json
        assert poll["cmd"] == "sleep" and 5 <= poll["duration"] <= 15
        refused = app.post_json(f"{API}/task_update/{update['task_id']}", update, status=503)
        assert refused.json["error"]["message"]
    assert app.post_json(f"{API}/task_update/{update['task_id']}", update).json["must_stop"] is False


def test_a_clock_that_jumps_back_loses_no_task(app: TestApp, world: LifeWorld) -> None:
    session = handshake(app)["session"]
    app.post_json(f"{API}/poll", body(session=session))
    world.clock.jump(-3600)
    task_id = world.new_task()
    run = app.post_json(f"{API}/poll", body(session=session)).json
    assert run["cmd"] == "run" and run["manifest"]["task_id"][:-1] == task_id[:-1]


def test_a_bot_that_is_long_overdue_is_not_counted_on(world: LifeWorld) -> None:
    here, gone = Machine(world, "here"), Machine(world, "gone")
    for machine in (here, gone):
        machine.handshake()
        machine.poll()
    for _ in range(30):
        world.clock.advance(10)
        here.poll()
    advice = world.p1.view.plan("p").advice
    assert advice["gone"].background is None and not advice["gone"].tasks
    usable = [bot for bot in world.p1.view.pool_view("p").bots if bot.alive]
    assert [bot.id for bot in usable] == ["here"]
    gone.poll()
    assert all(bot.alive for bot in world.p1.view.pool_view("p").bots)


@pytest.mark.parametrize("bot_id", ["a\u0000", "a\n", ""])
def test_a_bot_id_with_control_characters_is_refused(app: TestApp, bot_id: str) -> None:
    assert app.post_json("/poll", body(bot_id), status=400).json["error"]["field"] == "dimensions.id"


def test_a_poll_without_state_is_a_poll(app: TestApp) -> None:
    sent = {"dimensions": {"id": ["b1"], "pool": ["p"]}}
    assert app.post_json("/poll", sent).json["quarantined"] is False


@pytest.mark.parametrize(
    "changes",
    [
        {"command": ["echo", "a\u0000b"]},
        {"env": [{"key": "X", "value": "a\u0000b"}]},
        {"dimensions": [{"key": "pool", "value": "p"}, {"key": "os", "value": "a\u0000"}]},
    ],
)
def test_a_task_with_a_nul_character_is_refused_before_it_reaches_a_bot(changes: dict[str, Any]) -> None:
    good = {"command": ["true"], "dimensions": [{"key": "pool", "value": "p"}], "execution_timeout_secs": 60}
    with pytest.raises(ValueError, match="NUL"):
        Properties.model_validate({**good, **changes})


def test_the_switch_takes_a_truth_value_and_nothing_like_one(app: TestApp) -> None:
    app.post_json("/api/v1/switch", {"stopped": "yes"}, status=400)
    assert app.get("/api/v1/switch").json["stopped"] is False


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8080", "[::1]:8080"])
def test_the_bots_version_is_the_same_by_whatever_name_the_server_is_called(app: TestApp, host: str) -> None:
    headers = {"Host": host}
    served = app.get("/bot_code", headers=headers)
    named = app.get(f"{API}/bot_code/{'0' * 64}", headers=headers)
    own = {**body(), "state": {"pilotlight_bot": "1"}, "session_id": "b1/1"}
    connected = app.post_json(f"{API}/handshake", own, headers=headers).json
    details = app.post_json(
        "/prpc/swarming.v2.Swarming/GetDetails", {}, headers={**headers, "Accept": "application/json"}
    )
    versions = {
        bundle.content_version(bundle.entries_of(served.body)),
        served.headers["X-Pilotlight-Bot-Version"],
        named.headers["X-Pilotlight-Bot-Version"],
        connected["bot_version"],
        json.loads(details.body.removeprefix(b")]}'\n"))["botVersion"],
    }
    assert versions == {bot_code.version()}
    assert host.encode() in bundle.entries_of(served.body)[bundle.CONFIG]


def test_a_bot_of_another_make_is_not_told_of_our_version(app: TestApp) -> None:
    assert handshake(app)["bot_version"] == "v"
