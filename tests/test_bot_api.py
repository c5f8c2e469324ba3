"""The bot API as a real Swarming bot uses it, replayed from recordings; and what it answers to nonsense."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from webtest import TestApp

import main
from server import errors, task_output
from tests.bot_recordings import FOLDER, Replay
from tests.life_world import LifeWorld

API = "/swarming/api/v1/bot"
OUTCOMES: dict[str, tuple[str, int | None]] = {
    "task_success": ("COMPLETED", 0),
    "task_exit_code_3": ("COMPLETED", 3),
    "task_named_cache": ("COMPLETED", 0),
    "task_large_output": ("COMPLETED", 0),
    "session_token_rotation": ("COMPLETED", 0),
    "task_hard_timeout": ("TIMED_OUT", -15),
    "task_hard_timeout_sigkill": ("TIMED_OUT", -9),
    "task_io_timeout": ("TIMED_OUT", -15),
    "task_canceled_before_start": ("CANCELED", None),
    "task_killed": ("KILLED", -15),
    "task_killed_handles_sigterm": ("KILLED", 7),
    "task_error_before_start": ("BOT_DIED", None),
    "task_internal_failure": ("BOT_DIED", None),
    "sigterm_during_task": ("RUNNING", None),
}
WITHOUT_TASK = ("idle_polls", "event_bot_error", "quarantined")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[LifeWorld]:
    made = LifeWorld(tmp_path)
    yield made
    made.close()


@pytest.fixture
def app(world: LifeWorld) -> TestApp:
    return TestApp(main.create_app(world.p1), extra_environ={"REMOTE_ADDR": "127.0.0.1", "HTTP_HOST": "localhost"})


def test_every_recording_is_replayed() -> None:
    assert {path.stem for path in FOLDER.glob("*.json")} == {*OUTCOMES, *WITHOUT_TASK}


@pytest.mark.parametrize("name", OUTCOMES)
def test_a_recorded_run_ends_as_it_did(world: LifeWorld, name: str) -> None:
    replay = Replay(world, name).run()
    state, exit_code = OUTCOMES[name]
    result = replay.result()
    assert (result.state, result.exit_code) == (state, exit_code)
    assert task_output.read(world.p1, replay.task_id) == replay.output


@pytest.mark.parametrize("name", [*OUTCOMES, *WITHOUT_TASK])
def test_the_bot_is_told_what_it_was_told_then(world: LifeWorld, name: str) -> None:
    for recorded, ours in Replay(world, name).run().answers:
        assert ours.get("cmd") == recorded.get("cmd")
        if ours.get("cmd") == "sleep":
            assert 0 < ours["duration"] <= 300
        if "must_stop" in recorded and not ours.get("canceled"):
            assert ours["must_stop"] == recorded["must_stop"] or not recorded["must_stop"] or ours["ok"]
        assert "error" not in ours


def test_a_killed_run_is_told_to_stop_while_it_runs(world: LifeWorld) -> None:
    answers = [ours for _, ours in Replay(world, "task_killed").run().answers if "must_stop" in ours]
    assert [answer["must_stop"] for answer in answers][:2] == [False, True]


def test_a_task_canceled_after_its_hand_out_never_starts(world: LifeWorld) -> None:
    answers = [ours for _, ours in Replay(world, "task_canceled_before_start").run().answers if "must_stop" in ours]
    assert answers[0]["must_stop"] is True


def test_a_bot_that_quarantines_itself_gets_no_task(world: LifeWorld) -> None:
    replay = Replay(world, "quarantined")
    world.new_task(dimensions={"pool": "default"})
    polls = [ours for _, ours in replay.run().answers if "cmd" in ours]
    assert [answer["cmd"] for answer in polls] == ["sleep", "sleep"]


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
