"""A bot's life: polls, commands, signals, crashes and restarts, with real processes."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bot import bundle, files
from bot.control import Control
from bot.main import Bot
from bot.options import parse
from server import bot_code
from tests.bot_process import BotProcess, is_alive
from tests.fake_server import FakeServer, manifest

pytestmark = pytest.mark.processes
T = "5e0c7a8f3b2d1011"


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer() as running:
        yield running


@pytest.fixture
def bot(server: FakeServer, tmp_path: Path) -> Iterator[BotProcess]:
    with BotProcess(server, tmp_path / "bot") as running:
        yield running


def sh(script: str, task_id: str = T, **fields: Any) -> dict[str, Any]:
    """A manifest that runs a shell script."""
    return manifest(task_id, ["sh", "-c", script], **fields)


def running_pid(server: FakeServer, task_id: str = T) -> int:
    """The pid that a running task printed as its first line."""
    return int(server.wait_for(lambda: b"\n" in server.output(task_id) and server.output(task_id)).split(b"\n")[0])


def events(server: FakeServer) -> list[tuple[str, str]]:
    return [(call.body["event"], call.body["message"]) for call in server.named("event")]


def test_a_bot_introduces_itself_and_polls(server: FakeServer, tmp_path: Path) -> None:
    with BotProcess(server, tmp_path / "bot", "--pool", "p1", "--dimension", "gpu=a", "--dimension", "gpu=b") as bot:
        poll = server.next_poll()
        assert [call.path for call in server.calls[:3]] == ["server_ping", "handshake", "poll"]
        handshake = server.calls[1].body
        random_part, _, pid = handshake["session_id"].partition("/")
        assert (len(random_part), int(pid)) == (32, bot.process.pid)
        dims = poll.body["dimensions"]
        assert (dims["id"], dims["pool"], dims["gpu"]) == (["bot1"], ["p1"], ["a", "b"])
        assert {"os", "cpu", "cores", "python"} <= set(dims) and "caches" not in dims
        state = poll.body["state"]
        assert state["pilotlight_bot"] is True and state["named_caches"] == {} and state["running_time"] >= 0
        assert all(disk["free_mb"] > 0 for disk in state["disks"].values())
        assert poll.body["hold_s"] == 20


def test_the_servers_dimensions_win_over_the_bots(server: FakeServer, tmp_path: Path) -> None:
    group = {"bot_group_cfg": {"dimensions": {"pool": ["given"], "rack": ["r1"]}}}
    server.on["handshake"] = lambda call: (200, dict(group))
    with BotProcess(server, tmp_path / "bot"):
        dims = server.next_poll().body["dimensions"]
    assert (dims["pool"], dims["rack"]) == (["given"], ["r1"])


def test_the_sleep_streak_counts_idle_polls_since_the_last_task(server: FakeServer, bot: BotProcess) -> None:
    server.wait_for(lambda: len(server.named("poll")) >= 3)
    server.give(sh("true"))
    server.end_of(T)
    server.next_poll()
    server.next_poll()
    polls = [(call.body["state"]["sleep_streak"], call.answer["cmd"]) for call in server.named("poll")]
    assert [streak for streak, _ in polls[:3]] == [0, 1, 2]
    after = [cmd for _, cmd in polls].index("run") + 1
    assert [streak for streak, _ in polls[after : after + 2]] == [0, 1]


def test_a_poll_whose_answer_was_lost_is_repeated_under_the_same_id(server: FakeServer, bot: BotProcess) -> None:
    lost = server.next_poll().body["request_uuid"]
    answers: list[Any] = [(200, None), (500, {}), (200, {"cmd": "dance"}), (200, {})]
    server.on["poll"] = lambda call: answers.pop(0) if answers else None
    server.wait_for(lambda: not answers, 20)
    server.wait_for(lambda: server.named("poll")[-1].answer.get("cmd") == "sleep")
    uuids = [call.body["request_uuid"] for call in server.named("poll")]
    start = uuids.index(lost) + 1
    [again] = {uuid for uuid in uuids[start:] if uuids.count(uuid) > 1}
    assert uuids.count(again) == 5 and len(set(uuids)) == len(uuids) - 4


def test_a_bot_outlives_its_server(server: FakeServer, bot: BotProcess) -> None:
    server.next_poll()
    server.stop()
    time.sleep(1.0)
    server.start()
    server.give(sh("echo back"))
    assert server.end_of(T)["exit_code"] == 0
    assert len(server.named("handshake")) == 1


def test_a_task_outlives_its_server(server: FakeServer, bot: BotProcess) -> None:
    server.give(sh("echo one; sleep 1.5; echo two"))
    server.wait_for(lambda: server.output(T))
    server.stop()
    time.sleep(1.0)
    server.start()
    assert server.end_of(T)["exit_code"] == 0
    assert server.output(T) == b"one\ntwo\n"


def test_a_handshake_is_repeated_under_the_same_session_until_it_succeeds(server: FakeServer, tmp_path: Path) -> None:
    answers: list[Any] = [(500, {}), (403, {"error": "who?"}), (200, b"{}")]
    server.on["handshake"] = lambda call: answers.pop(0) if answers else None
    with BotProcess(server, tmp_path / "bot"):
        server.next_poll()
    assert len({call.body["session_id"] for call in server.named("handshake")}) == 1
    assert len(server.named("handshake")) == 4


def test_a_session_that_is_refused_again_and_again_is_opened_anew(server: FakeServer, bot: BotProcess) -> None:
    server.next_poll()
    server.on["poll"] = lambda call: (401, {"error": "x"}) if len(server.named("handshake")) == 1 else None
    server.wait_for(lambda: len(server.named("handshake")) == 2, 20)
    assert len({call.body["session_id"] for call in server.named("handshake")}) == 2


def test_sigterm_ends_an_idle_bot_at_once_even_in_a_held_poll(server: FakeServer, bot: BotProcess) -> None:
    server.next_poll()
    server.on["poll"] = lambda call: time.sleep(3) or None
    time.sleep(0.2)
    bot.signal(signal.SIGTERM)
    assert bot.ended(2.5) == 0
    assert events(server) == [("bot_shutdown", "Signal was received")]


def test_sigterm_lets_a_running_task_finish(server: FakeServer, bot: BotProcess) -> None:
    server.give(sh("echo $$; sleep 1; echo done"))
    running_pid(server)
    bot.signal(signal.SIGTERM)
    assert bot.ended() == 0
    assert server.end_of(T)["exit_code"] == 0 and server.output(T).endswith(b"done\n")
    assert events(server) == [("bot_shutdown", "Signal was received")]
    assert server.calls[-1].path == "event"


@pytest.mark.parametrize(("arguments", "signals"), [([], 2), (["--on-term", "hand-back"], 1)])
def test_a_task_is_handed_back_when_the_bot_must_go(
    server: FakeServer, tmp_path: Path, arguments: list[str], signals: int
) -> None:
    with BotProcess(server, tmp_path / "bot", *arguments) as bot:
        server.give(sh("echo $$; sleep 60"))
        pid = running_pid(server)
        for _ in range(signals):
            bot.signal(signal.SIGTERM)
            time.sleep(0.1)
        assert bot.ended() == 0
    assert not is_alive(pid)
    [error] = server.named("task_error")
    assert error.body["task_id"] == T and error.body["handed_back"] is True
    assert not any("exit_code" in update for update in server.updates(T))
    assert events(server) == [("bot_shutdown", "Signal was received")]


def test_a_third_signal_does_not_wait_for_the_grace_of_a_command_that_will_not_end(
    server: FakeServer, bot: BotProcess
) -> None:
    server.give(sh("trap '' TERM; echo $$; while :; do sleep 0.1; done", grace_period=60))
    pid = running_pid(server)
    for _ in range(3):
        bot.signal(signal.SIGTERM)
        time.sleep(0.3)
    assert bot.ended(5) == 0
    assert not is_alive(pid)
    assert [error.body["handed_back"] for error in server.named("task_error")] == [True]


def test_a_run_that_was_not_started_is_handed_back_for_another_bot(server: FakeServer, tmp_path: Path) -> None:
    control = Control(hand_back_at_once=True)
    control.told_to_leave()
    Bot(parse(["--server", server.url, "--dir", str(tmp_path)]), control, random.Random(1))._run({"manifest": sh("")})
    assert server.updates(T) == []
    assert [error.body["handed_back"] for error in server.named("task_error")] == [True]


def test_terminate_is_acknowledged_and_ends_the_bot(server: FakeServer, bot: BotProcess) -> None:
    server.script = [{"cmd": "terminate", "task_id": T}]
    assert bot.ended() == 0
    end = server.end_of(T)
    assert (end["exit_code"], end["duration"]) == (0, 0)
    assert events(server) == [("bot_shutdown", "Signal was received")]


def test_a_restart_keeps_the_process_and_opens_a_new_session(server: FakeServer, bot: BotProcess) -> None:
    server.script = [{"cmd": "bot_restart", "message": "new config"}]
    first, second = server.wait_for(lambda: len(server.named("handshake")) == 2 and server.named("handshake"))
    old, new = first.body["session_id"].split("/"), second.body["session_id"].split("/")
    assert old[0] != new[0] and old[1] == new[1] == str(bot.process.pid)
    assert events(server) == [("bot_shutdown", "About to restart: new config")]


def test_a_restart_waits_for_a_server_that_answers(server: FakeServer, bot: BotProcess) -> None:
    server.next_poll()
    server.on["server_ping"] = lambda call: (500, b"no")
    server.script = [{"cmd": "bot_restart", "message": "new config"}]
    server.wait_for(lambda: server.named("event"))
    assert events(server)[0][0] == "bot_error"
    assert len(server.named("handshake")) == 1


def test_a_reboot_needs_leave(server: FakeServer, bot: BotProcess) -> None:
    server.script = [{"cmd": "host_reboot", "message": "please"}]
    server.wait_for(lambda: server.named("event"))
    [(event, message)] = events(server)
    assert event == "bot_error" and "--allow-reboot" in message


def test_a_task_that_cannot_even_be_named_is_a_bot_error(server: FakeServer, bot: BotProcess) -> None:
    server.script = [{"cmd": "run", "manifest": {"command": ["true"]}}]
    server.wait_for(lambda: server.named("event"))
    assert events(server)[0][0] == "bot_error" and bot.journal("start") == []


def test_a_second_bot_in_the_same_directory_is_refused(server: FakeServer, bot: BotProcess) -> None:
    server.next_poll()
    with BotProcess(server, bot.dir) as second:
        assert second.ended() == 3
    server.next_poll()
    assert len(server.named("handshake")) == 1


def test_what_a_killed_bot_left_running_is_killed_before_its_next_handshake(
    server: FakeServer, bot: BotProcess, tmp_path: Path
) -> None:
    alive_at_handshake: list[bool] = []
    cache = [{"name": "src", "path": "src", "hint": "-1"}]
    server.give(sh(f"setsid sleep 60 & echo $! > {tmp_path}/pid; echo $$; echo 12345 > src/f; sleep 60", caches=cache))
    pids = [running_pid(server), int((tmp_path / "pid").read_text())]
    bot.signal(signal.SIGKILL)
    bot.ended()
    assert all(map(is_alive, pids))
    server.on["handshake"] = lambda call: alive_at_handshake.append(any(map(is_alive, pids)))
    bot.start()
    state = server.next_poll().body["state"]
    assert alive_at_handshake == [False]
    told = [call.path.split("/")[0] for call in server.calls]
    assert told.index("task_error") < len(told) - 1 - told[::-1].index("handshake")
    [error] = server.named("task_error")
    started = server.named("task_update")[0].answer["session"]
    assert (error.body["task_id"], error.body["session"]) == (T, started)
    assert state["named_caches"]["src"][0] == ["src", 6]
    assert [line["task_id"] for line in bot.journal("leftover")] == [T]
    assert not (bot.dir / "run.json").exists() and not (bot.dir / "w").exists()


def test_a_recycled_pid_is_not_killed(server: FakeServer, tmp_path: Path) -> None:
    bot = BotProcess(server, tmp_path / "bot")
    bot.dir.mkdir()
    record = {"run_id": "gone", "task_id": T, "caches": {}, "pid": os.getpid(), "mark": "another-boot:1"}
    (bot.dir / "run.json").write_text(json.dumps(record))
    with bot:
        server.next_poll()
        assert [line["killed"] for line in bot.journal("leftover")] == [[]]


def test_a_bot_killed_at_any_moment_accounts_for_every_start(server: FakeServer, bot: BotProcess) -> None:
    moments = {
        "a0": lambda: server.updates("a0"),  # about to start it, or just after
        "a1": lambda: server.output("a1"),  # in the middle
        "a2": lambda: any("exit_code" in update for update in server.updates("a2")),  # clearing up
    }
    for task_id, moment in moments.items():
        server.give(sh("echo $$; sleep 60" if task_id == "a1" else "echo $$", task_id=task_id))
        server.wait_for(moment)
        bot.signal(signal.SIGKILL)
        bot.ended()
        bot.start()
        server.next_poll()
    started = [line["task_id"] for line in bot.journal("start")]
    assert len(started) == len(set(started)) and {"a1", "a2"} <= set(started)
    over = {line["task_id"] for line in bot.journal() if line["event"] in ("end", "leftover")}
    assert set(started) <= over


def test_a_bot_updates_itself_to_the_code_that_the_server_names(server: FakeServer, tmp_path: Path) -> None:
    old = bot_code.archive(server.url)
    entries = {**bundle.entries_of(old), "bot/news.py": b"# of another version\n"}
    new_version = bundle.content_version(entries)
    path = tmp_path / "bot.zip"
    path.write_bytes(old)
    server.on["bot_code"] = lambda call: (200, bot_code._zip(entries))
    with BotProcess(server, tmp_path / "bot", code=path) as bot:
        assert server.next_poll().body["version"] == bot_code.version()
        server.script = [{"cmd": "update", "version": new_version}]
        first, second = server.wait_for(lambda: len(server.named("handshake")) == 2 and server.named("handshake"))
        assert server.named("bot_code")[0].path == f"bot_code/{new_version}"
        assert (first.body["version"], second.body["version"]) == (bot_code.version(), new_version)
        assert second.body["session_id"].endswith(f"/{bot.process.pid}")
        server.give(sh("echo hi"))
        assert server.end_of(T)["exit_code"] == 0


@pytest.mark.parametrize("fault", ["other version", "broken", "no zip"])
def test_code_that_is_not_what_was_promised_is_not_started(server: FakeServer, tmp_path: Path, fault: str) -> None:
    good = bot_code.archive(server.url)
    entries = {**bundle.entries_of(good), "bot/main.py": b"raise SystemExit(7)"}
    broken = bot_code._zip(entries)
    served, version = {
        "other version": (good, "0" * 64),
        "broken": (broken, bundle.content_version(entries)),
        "no zip": (b"hello", "0" * 64),
    }[fault]
    server.on["bot_code"] = lambda call: (200, served)
    with BotProcess(server, tmp_path / "bot"):
        server.script = [{"cmd": "update", "version": version}]
        server.wait_for(lambda: server.named("event"))
        server.next_poll()
    assert events(server)[0][0] == "bot_error" and "BadCode" in events(server)[0][1]
    assert len(server.named("handshake")) == 1


def test_the_secret_is_used_and_kept_from_tasks(
    server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PILOTLIGHT_BOT_SECRET", "s3cret")
    with BotProcess(server, tmp_path / "bot"):
        server.give(sh("env"))
        server.end_of(T)
    assert server.calls[1].headers["authorization"] == "Bearer s3cret"
    assert b"s3cret" not in server.output(T)


def test_a_run_directory_that_cannot_be_cleared_quarantines_the_bot_until_it_can(
    server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = parse(["--server", server.url, "--dir", str(tmp_path), "--id", "bot1"])
    bot = Bot(options, Control(), random.Random(1))
    refuse = [True]

    def remove(path: Path) -> None:
        if refuse:
            raise OSError("held by someone")

    monkeypatch.setattr(files, "remove_tree", remove)
    bot._recover()
    assert "held by someone" in bot.report()["state"]["quarantined"]
    refuse.clear()
    bot._heal()
    assert "quarantined" not in bot.report()["state"]


@pytest.mark.parametrize(
    "arguments",
    [[], ["--server", "ftp://x"], *(["--server", "http://x", "--dimension", wrong] for wrong in ("gpu", "id=x", "=x"))],
)
def test_a_wrong_command_line_is_told_at_once(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(arguments)
    assert caught.value.code == 2 and "error:" in capsys.readouterr().err
