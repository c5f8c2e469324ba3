"""A real LUCI bot's requests, replayed: our server makes of them what the bot meant, and tells it what it needs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import recorded_bot
from tests.recorded_bot import Replay
from tests.server_world import World

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
"""What becomes of the task: its state and exit code."""
WITHOUT_TASK = {"idle_polls", "event_bot_error", "quarantined"}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "data", free_disk_floor_bytes=0)
    yield world
    world.close()


@pytest.fixture
def replay(world: World) -> Replay:
    return Replay(world)


def test_every_recording_is_replayed() -> None:
    assert set(recorded_bot.names()) == {*OUTCOMES, *WITHOUT_TASK}


@pytest.mark.parametrize("name", OUTCOMES)
def test_a_recorded_task_ends_as_it_did_with_all_of_its_output(replay: Replay, name: str) -> None:
    result = replay.play(name).result()
    assert (result.state, result.exit_code) == OUTCOMES[name]
    assert replay.stored_output() == replay.output


@pytest.mark.parametrize("name", recorded_bot.names())
def test_a_bot_is_told_in_every_call_what_it_was_told_in_the_recording(replay: Replay, name: str) -> None:
    """The command of each poll, and whether each update is to stop; never a reply that kills a task."""
    replay.play(name)
    assert [one.ours["cmd"] for one in replay.of("poll")] == [one.theirs["cmd"] for one in replay.of("poll")]
    updates = replay.of("task_update")
    assert until_stopped(one.ours for one in updates) == until_stopped(one.theirs for one in updates)
    for one in updates:
        assert "error" not in one.ours
    for one in replay.of("task_error"):
        assert one.ours == {"resp": 1}


def until_stopped(answers: Iterable[dict[str, Any]]) -> list[bool]:
    """What the answers said, up to the first `must_stop`: that one counts, later ones mean nothing to the bot."""
    told: list[bool] = []
    for answer in answers:
        told.append(answer["must_stop"])
        if answer["must_stop"]:
            break
    return told


def test_idle_polls_are_told_to_sleep_within_the_pools_bounds(replay: Replay) -> None:
    replay.play("idle_polls")
    sleeps = [one.ours["duration"] for one in replay.of("poll")]
    assert len(sleeps) == 4
    assert all(1.0 <= sleep_s <= 60.0 for sleep_s in sleeps)
    assert not any(one.ours["quarantined"] for one in replay.of("poll"))
    entry = replay.service.view.bot("bot1")
    assert (entry.pool, entry.policy.alive) == ("default", False)  # it said goodbye
    assert entry.state["left"] == "Signal was received"
    assert entry.policy.dimensions["os"] == {"Debian", "Debian-12", "Debian-12.11", "Linux"}


def test_a_poll_that_says_nothing_new_costs_nothing_though_its_state_differs_each_time(replay: Replay) -> None:
    recorded = [call for call in recorded_bot.calls("idle_polls") if call["path"].endswith("/poll")]
    assert len({str(call["body"]["state"]) for call in recorded}) == len(recorded)
    replay.play("idle_polls", end=4)
    replay.service.view.refresh = lambda **options: False  # type: ignore[method-assign]  # that costs per second
    with replay.world.store.ops.measure() as ops:
        replay.play("idle_polls", begin=4, end=6)
    assert len(replay.of("poll")) == 4
    assert (ops.reads, ops.writes, ops.queries) == (0, 0, 0)


def test_a_task_that_succeeds(replay: Replay) -> None:
    result = replay.play("task_success").result()
    assert (result.state, result.exit_code, result.failure, result.bot_id) == ("COMPLETED", 0, False, "bot1")
    assert result.duration_s == pytest.approx(0.0386, abs=1e-4)
    assert result.stats["bot_overhead"] == pytest.approx(0.6937, abs=1e-4)
    assert replay.stored_output() == replay.output
    assert b"\nswarming_bot_logs: " in replay.output


def test_the_manifest_says_what_the_task_asked_for(replay: Replay) -> None:
    replay.play("task_named_cache")
    run = next(one for one in replay.of("poll") if one.ours["cmd"] == "run")
    ours, theirs = run.ours["manifest"], run.theirs["manifest"]
    for name in ("command", "env", "env_prefixes", "caches", "relative_cwd", "grace_period", "dimensions", "outputs"):
        assert ours[name] == theirs[name], name
    assert (ours["hard_timeout"], ours["io_timeout"]) == (theirs["hard_timeout"], theirs["io_timeout"])
    assert ours["task_id"][:-1] + "0" == replay.task_id
    assert ours["task_id"].endswith("1")
    assert ours["bot_id"] == "bot1"
    assert ours["bot_dimensions"]["pool"] == ["default"]


def test_a_task_that_fails_with_exit_code_3_is_completed_and_failed(replay: Replay) -> None:
    result = replay.play("task_exit_code_3").result()
    assert (result.state, result.exit_code, result.failure) == ("COMPLETED", 3, True)
    assert not result.internal_failure


@pytest.mark.parametrize(
    ("name", "exit_code"),
    [("task_hard_timeout", -15), ("task_hard_timeout_sigkill", -9), ("task_io_timeout", -15)],
)
def test_a_task_beyond_a_limit_of_time_is_timed_out(replay: Replay, name: str, exit_code: int) -> None:
    result = replay.play(name).result()
    assert (result.state, result.exit_code, result.failure) == ("TIMED_OUT", exit_code, True)
    assert result.completed_s > result.started_s
    assert replay.stored_output() == replay.output


def test_packets_of_output_are_put_together_where_they_belong(replay: Replay) -> None:
    replay.play("task_hard_timeout_sigkill")
    starts = [one.body["output_chunk_start"] for one in replay.of("task_update") if "output" in one.body]
    assert starts == [0, 918]
    assert replay.stored_output() == replay.output
    assert b"\0" not in replay.stored_output()


def test_600_kilobytes_of_output_arrive_byte_for_byte(replay: Replay) -> None:
    replay.play("task_large_output")
    assert len(replay.output) == 600_788
    assert replay.stored_output() == replay.output
    assert replay.result().state == "COMPLETED"


def test_a_task_canceled_before_its_start_never_runs(replay: Replay) -> None:
    result = replay.play("task_canceled_before_start").result()
    assert replay.canceled == (True, False)
    first, second = replay.of("task_update")
    assert first.ours["must_stop"] is True
    assert second.body["canceled"] is True
    assert (result.state, result.started_s, result.bot_id) == ("CANCELED", 0.0, "")


@pytest.mark.parametrize(("name", "exit_code"), [("task_killed", -15), ("task_killed_handles_sigterm", 7)])
def test_a_running_task_that_is_told_to_stop_is_killed(replay: Replay, name: str, exit_code: int) -> None:
    result = replay.play(name).result()
    assert replay.canceled == (True, True)
    must_stop = [one.ours["must_stop"] for one in replay.of("task_update")]
    assert must_stop[:2] == [False, True]
    assert (result.state, result.exit_code) == ("KILLED", exit_code)
    assert replay.stored_output() == replay.output


def test_a_bot_that_cannot_run_a_task_at_all_ends_it_as_bot_died(replay: Replay) -> None:
    result = replay.play("task_error_before_start").result()
    assert (result.state, result.internal_failure, result.started_s) == ("BOT_DIED", True, 0.0)
    assert "missing required key bot_dimensions" in result.error


def test_a_run_that_fails_within_the_bot_ends_with_its_error_and_keeps_its_output(replay: Replay) -> None:
    result = replay.play("task_internal_failure").result()
    assert (result.state, result.internal_failure) == ("BOT_DIED", True)
    assert result.error
    assert replay.output
    assert replay.stored_output() == replay.output


def test_the_newest_token_comes_back_and_the_run_knows_its_claim(replay: Replay) -> None:
    """The token of the `run` answer comes back in the start, and after the run in the poll."""
    replay.play("session_token_rotation")
    assert replay.result().state == "COMPLETED"
    tokens = [replay.service.sessions.verify(text) for text in replay.tokens_used]
    claim = replay.result().claim["n"]
    assert [token.claim for token in tokens] == [0, 0, claim, claim, claim, claim, claim]
    assert len({token.session for token in tokens}) == 1


def test_an_error_that_a_bot_reports_is_counted_and_it_goes_on(replay: Replay) -> None:
    replay.play("event_bot_error")
    assert replay.of("event")[0].ours == {}
    assert replay.service.pages.counters()["default/event.bot_error"] == 1
    assert all(one.ours["cmd"] == "sleep" for one in replay.of("poll"))


def test_a_bot_that_quarantines_itself_is_told_so_and_given_nothing(replay: Replay) -> None:
    replay.play("quarantined")
    polls = replay.of("poll")
    assert all(one.ours["quarantined"] for one in polls)
    assert all(one.ours["quarantined_why"] for one in polls)


def test_a_bot_told_to_end_during_a_task_goes_on_updating_and_stays_alive(replay: Replay) -> None:
    result = replay.play("sigterm_during_task").result()
    assert result.state == "RUNNING"
    assert [one.ours["must_stop"] for one in replay.of("task_update")] == [False] * 4
    assert replay.service.view.bots("default")[0].policy.last_seen_s == replay.world.clock.now_s()
    assert replay.stored_output() == replay.output
