"""Runs as a bot of ours does them: a real bot process, real commands, a scripted server."""

from __future__ import annotations

import base64
import itertools
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bot.caches import CacheStore, Limits
from bot.control import Control
from bot.journal import Journal
from bot.leftover import RunRecord
from bot.manifest import parse
from bot.protocol import BotApi
from bot.runner import RunContext, TaskRun
from tests.bot_process import BotProcess, is_alive
from tests.fake_server import Answer, Call, FakeServer, manifest

pytestmark = pytest.mark.processes
T = "5e0c7a8f3b2d1011"
IGNORES_TERM = "trap '' TERM; echo ready; while :; do sleep 0.1; done"


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer() as running:
        yield running


@pytest.fixture
def bot(server: FakeServer, tmp_path: Path) -> Iterator[BotProcess]:
    with BotProcess(server, tmp_path / "bot") as running:
        yield running


def sh(script: str, **fields: Any) -> dict[str, Any]:
    """A manifest that runs a shell script."""
    return manifest(T, ["sh", "-c", script], **fields)


def python(code: str, **fields: Any) -> dict[str, Any]:
    """A manifest that runs Python code."""
    return manifest(T, [sys.executable, "-uc", code], **fields)


def stop_once(ready: Callable[[Call], bool]) -> Callable[[Call], Answer | None]:
    """Answers updates with must_stop from the first one on that is ready for it."""
    stopping: list[bool] = []

    def answer(call: Call) -> Answer | None:
        if stopping or ready(call):
            stopping.append(True)
            return 200, {"ok": True, "must_stop": True}
        return None

    return answer


def has_output(call: Call) -> bool:
    return "output" in call.body


def test_a_run_is_started_once_acknowledged_and_its_end_is_told(server: FakeServer, bot: BotProcess) -> None:
    server.give(sh("echo hi; exit 3"))
    end = server.end_of(T)
    first = server.updates(T)[0]
    assert sorted(first) == ["id", "session", "task_id"]
    assert (end["exit_code"], end["hard_timeout"], end["io_timeout"]) == (3, False, False)
    assert 0 < end["duration"] < 5 and 0 <= end["bot_overhead"] < 5
    assert server.output(T) == b"hi\n"


def test_nothing_runs_before_the_start_is_acknowledged(server: FakeServer, bot: BotProcess, tmp_path: Path) -> None:
    seen: list[bool] = []

    def answer(call: Call) -> Answer | None:
        if len(seen) < 2:
            time.sleep(0.2)
            seen.append((tmp_path / "ran").exists())
            return 500, {}
        return None

    server.on["task_update"] = answer
    server.give(sh(f"touch {tmp_path}/ran"))
    server.end_of(T)
    assert seen == [False, False] and (tmp_path / "ran").exists()
    assert [line["task_id"] for line in bot.journal("start")] == [T]


def test_a_task_stopped_before_its_start_never_runs(server: FakeServer, bot: BotProcess, tmp_path: Path) -> None:
    server.on["task_update"] = stop_once(lambda call: True)
    server.give(sh(f"touch {tmp_path}/ran"))
    end = server.end_of(T)
    assert end["canceled"] is True and "exit_code" not in end
    server.next_poll()
    assert not (tmp_path / "ran").exists() and bot.journal("start") == []


def test_a_task_stopped_while_its_caches_are_prepared_never_runs(
    server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    updates: list[Call] = []
    server.on["task_update"] = lambda call: (200, {"must_stop": len(updates) > 1}) if not updates.append(call) else None
    caches = CacheStore(tmp_path / "c", Limits(2**40, 0))
    monkeypatch.setattr(caches, "measure", lambda name: server.wait_for(lambda: len(server.calls) > 1) and 0)
    journal, record = Journal(tmp_path / "journal.jsonl", "bot1"), RunRecord(tmp_path / "run.json")
    api = BotApi(server.url, "bot1", None)
    context = RunContext(api, caches, journal, record, Control(), tmp_path / "w", "", 10.0)
    cache = [{"name": "src", "path": "src", "hint": "-1"}]
    TaskRun(context, parse(sh(f"touch {tmp_path}/ran", caches=cache, purpose="forecast"))).run()
    assert server.end_of(T)["canceled"] is True
    assert not (tmp_path / "ran").exists() and (tmp_path / "journal.jsonl").read_text() == ""


def test_a_command_that_is_not_there_is_an_ordinary_failure(server: FakeServer, bot: BotProcess) -> None:
    server.give(manifest(T, ["nonesuch"]))
    assert server.end_of(T)["exit_code"] == 1
    assert b"nonesuch" in server.output(T)
    assert server.named("task_error") == []


def test_a_hard_timeout_ends_the_run(server: FakeServer, bot: BotProcess) -> None:
    server.give(python("import time; print('on'); time.sleep(30)", hard_timeout=0.5))
    end = server.end_of(T)
    assert (end["exit_code"], end["hard_timeout"], end["io_timeout"]) == (-15, True, False)
    assert end["duration"] >= 0.5


def test_who_ignores_sigterm_is_killed_after_the_grace(server: FakeServer, bot: BotProcess) -> None:
    server.give(sh(IGNORES_TERM, hard_timeout=0.3, grace_period=0.5))
    end = server.end_of(T)
    assert (end["exit_code"], end["hard_timeout"]) == (-9, True)
    assert end["duration"] >= 0.8


def test_silence_beyond_the_io_timeout_ends_the_run(server: FakeServer, bot: BotProcess) -> None:
    talks = "import time\nfor i in range(4): print(i); time.sleep(0.3)\ntime.sleep(30)"
    server.give(python(talks, io_timeout=0.8))
    end = server.end_of(T)
    assert (end["exit_code"], end["hard_timeout"], end["io_timeout"]) == (-15, False, True)
    assert end["duration"] >= 1.6 and server.output(T) == b"0\n1\n2\n3\n"


def test_must_stop_ends_a_running_task_and_its_own_exit_code_counts(server: FakeServer, bot: BotProcess) -> None:
    server.on["task_update"] = stop_once(has_output)
    server.give(sh("trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 0.1; done"))
    end = server.end_of(T)
    assert (end["exit_code"], end["hard_timeout"], end["io_timeout"]) == (7, False, False)
    assert server.output(T).endswith(b"bye\n")


def test_a_silent_background_task_makes_room_within_a_second_and_its_grace(server: FakeServer, bot: BotProcess) -> None:
    asked: list[float] = []
    ready = time.monotonic() + 1.5  # somewhere in the middle of the run
    server.on["task_update"] = stop_once(lambda call: time.monotonic() > ready and not asked.append(call.t))
    server.give(sh("sleep 30", purpose="forecast"))
    assert server.end_of(T)["exit_code"] == -15
    assert asked[0] - ready < 2  # one second by design, and a slow machine
    times = [call.t for call in server.named("task_update")]
    assert max(b - a for a, b in itertools.pairwise(times)) < 2


def test_the_whole_group_goes_with_its_leader(server: FakeServer, bot: BotProcess, tmp_path: Path) -> None:
    server.give(sh(f"(trap '' TERM; sleep 60) & echo $! > {tmp_path}/pid; exit 0"))
    assert server.end_of(T)["exit_code"] == 0
    assert not is_alive(int((tmp_path / "pid").read_text()))


def test_children_have_the_grace_too(server: FakeServer, bot: BotProcess) -> None:
    server.on["task_update"] = stop_once(has_output)
    child = "(trap 'sleep 0.5; echo cleaned; exit' TERM; echo ready; while :; do sleep 0.1; done) & wait"
    server.give(sh(child, grace_period=5))
    server.end_of(T)
    assert server.output(T).endswith(b"cleaned\n")


def test_a_process_that_left_the_group_does_not_hold_up_the_end(server: FakeServer, bot: BotProcess) -> None:
    server.give(sh("setsid sh -c 'while :; do echo noise; sleep 0.01; done' & echo $!; sleep 0.3"))
    assert server.end_of(T)["exit_code"] == 0
    os.kill(int(server.output(T).split(b"\n")[0]), 9)


def test_output_flows_while_the_task_runs(server: FakeServer, bot: BotProcess) -> None:
    server.give(python("import time; print('early'); time.sleep(3)"))
    packet = server.wait_for(lambda: [c for c in server.named("task_update") if "output" in c.body])[0]
    started = server.named("task_update")[0]
    assert packet.t - started.t < 1.5 and "exit_code" not in packet.body


def test_large_output_arrives_in_chunks_at_their_offsets(server: FakeServer, bot: BotProcess) -> None:
    server.give(python("import os\nfor i in range(60): os.write(1, b'%05d' % i * 2000)"))
    server.end_of(T)
    assert server.output(T) == b"".join(b"%05d" % i * 2000 for i in range(60))
    sizes = [len(base64.b64decode(u["output"])) for u in server.updates(T) if "output" in u]
    assert max(sizes) <= 250_000 and len(sizes) >= 3


def test_output_survives_a_server_that_fails_for_a_while(server: FakeServer, bot: BotProcess) -> None:
    failures = [500, 500, 500]
    server.on["task_update"] = lambda call: (failures.pop(), {}) if failures and has_output(call) else None
    server.give(python("import time\nfor i in range(10): print(i); time.sleep(0.1)"))
    assert server.end_of(T)["exit_code"] == 0
    assert server.output(T) == b"".join(b"%d\n" % i for i in range(10))
    assert server.named("task_error") == [] and failures == []


@pytest.mark.parametrize("refusal", [(400, {"error": "bad"}), (200, {"error": "bad"})], ids=["400", "error"])
def test_a_refused_update_stops_the_task_and_is_told(
    server: FakeServer, bot: BotProcess, refusal: Answer, tmp_path: Path
) -> None:
    server.on["task_update"] = lambda call: refusal if has_output(call) else None
    server.give(sh(f"echo $$ > {tmp_path}/pid; echo hi; exec sleep 60"))
    error = server.wait_for(lambda: server.named("task_error"))[0].body
    assert sorted(error) == ["client_error", "id", "message", "session", "task_id"]
    assert not is_alive(int((tmp_path / "pid").read_text()))
    server.next_poll()


def test_a_manifest_that_cannot_be_run_is_the_bots_failure(server: FakeServer, bot: BotProcess) -> None:
    server.give(manifest(T, hard_timeout="soon"))
    error = server.wait_for(lambda: server.named("task_error"))[0].body
    assert (error["task_id"], "hard_timeout" in error["message"]) == (T, True)
    assert server.updates(T) == []
    server.next_poll()


def test_the_task_finds_its_environment(server: FakeServer, bot: BotProcess) -> None:
    names = ["SWARMING_BOT_ID", "SWARMING_TASK_ID", "SWARMING_SERVER", "SWARMING_HEADLESS", "MINE"]
    code = f"import os; print([os.environ[n] for n in {names}], os.path.basename(os.getcwd()), os.environ['TMPDIR'])"
    server.give(python(code, env={"MINE": "x"}, relative_cwd="sub/dir"))
    server.end_of(T)
    expected = f"{['bot1', T, server.url, '1', 'x']} dir {bot.dir}/w/it\n"
    assert server.output(T).decode() == expected


def test_a_cache_comes_back_warm_and_the_report_proves_it(server: FakeServer, bot: BotProcess) -> None:
    cache = [{"name": "src", "path": "deep/src", "hint": "-1"}]
    server.give(sh("test ! -e deep/src/file && echo hello > deep/src/file; exit 5", caches=cache))
    cold = server.end_of(T)
    assert (cold["exit_code"], cold["named_caches_before"]) == (5, {"src": 0})
    assert set(cold["named_caches_stats"]) == {"install", "uninstall"}
    poll = server.next_poll().body
    assert poll["dimensions"]["caches"] == ["src"]
    assert poll["state"]["named_caches"]["src"][0] == ["src", 6]
    server.give({**sh("cat deep/src/file", caches=cache), "task_id": "a2"})
    assert server.end_of("a2")["named_caches_before"] == {"src": 6}
    assert server.output("a2") == b"hello\n"


def test_a_cache_comes_back_after_a_timeout_too(server: FakeServer, bot: BotProcess) -> None:
    cache = [{"name": "src", "path": "src", "hint": "-1"}]
    server.give(sh("echo hello > src/file; sleep 30", caches=cache, hard_timeout=0.5))
    server.end_of(T)
    assert server.next_poll().body["state"]["named_caches"]["src"][0] == ["src", 6]


def test_the_run_directory_is_empty_for_each_task(server: FakeServer, bot: BotProcess) -> None:
    server.give(sh("mkdir -p ro && touch ro/file && chmod 500 ro"), {**sh("ls -A; ls -A $TMPDIR"), "task_id": "a2"})
    server.end_of("a2")
    assert server.output("a2") == b""


def test_the_journal_has_start_and_end_of_each_run(server: FakeServer, bot: BotProcess) -> None:
    server.give(sh("exit 0", pilotlight_claim=17), {**sh("exit 4"), "task_id": "a2"})
    server.end_of("a2")
    lines = [(line["event"], line["task_id"], line.get("exit_code")) for line in bot.journal() if "task_id" in line]
    assert lines == [("start", T, None), ("end", T, 0), ("start", "a2", None), ("end", "a2", 4)]
    assert [line["n"] for line in bot.journal() if "task_id" in line] == [17, 17, None, None]
    assert {(line["bot_id"], line["pid"]) for line in bot.journal()} == {("bot1", bot.process.pid)}


def test_the_token_of_the_run_answer_starts_the_run_and_the_last_one_comes_back(
    server: FakeServer, bot: BotProcess
) -> None:
    server.give(sh("echo hi; sleep 0.6; echo ho"))
    server.end_of(T)
    server.next_poll()
    calls = [call for call in server.calls if "session" in call.body]
    run = next(i for i, call in enumerate(calls) if call.answer.get("cmd") == "run")
    last = max(i for i, call in enumerate(calls) if call.path.startswith("task_update"))
    assert calls[run + 1].body["session"] == calls[run].answer["session"]
    assert calls[last + 1].path == "poll" and calls[last + 1].body["session"] == calls[last].answer["session"]
