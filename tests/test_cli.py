"""The command line against a real server and bot: what a user types, sees, and gets as exit code."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from client import options, samples
from client.local_fleet import ROOT, LocalFleet, free_port
from client.prpc import Retry
from client.run import task_request
from server.proto import swarming_pb2 as swarming
from tests.local_fleet import BOT, POOL, Pilot, running

pytestmark = pytest.mark.processes

SPEC: dict[str, Any] = {
    "family": "tools",
    "generation": "g1",
    "pool": POOL,
    "dimensions": {"os": "nowhere"},
    "makes": {"named_cache": "tools"},
    "task": {"command": ["true"], "caches": [{"name": "tools", "path": "t"}], "grace_period_s": 1},
}

SILENT = "import time; time.sleep(60)"


@pytest.fixture(scope="module")
def pilot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pilot]:
    with running(tmp_path_factory.mktemp("cli")) as found:
        yield found


def wait_for(what: Callable[[], Any], timeout_s: float = 15.0) -> Any:
    until = time.monotonic() + timeout_s
    while time.monotonic() < until:
        if found := what():
            return found
        time.sleep(0.1)
    raise AssertionError("it did not come")


def python(code: str) -> list[str]:
    return ["--", "python3", "-c", code]


# ---- run


def test_run_shows_the_output_and_exits_with_the_tasks_exit_code(pilot: Pilot) -> None:
    result = pilot("run", "--pool", POOL, *python("print('hi'); raise SystemExit(3)"))
    assert (result.stdout, result.exit_code) == ("hi\n", 3)


def test_output_arrives_while_the_task_still_runs(pilot: Pilot, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    wait = f"while not os.path.exists({str(gate)!r}): time.sleep(0.05)"
    code = f"import os, time\nprint('first', flush=True)\n{wait}\nprint('last')"
    with pilot.process("run", "--pool", POOL, *python(code)) as process:
        assert process.stdout and process.stdout.readline() == "first\n"
        gate.touch()
        assert process.stdout.read() == "last\n"
    assert process.returncode == 0


def test_bytes_pass_through_as_they_are(pilot: Pilot) -> None:
    result = pilot("run", "--pool", POOL, *python(r"import os; os.write(1, b'\xff\x00\xfe' * 100000)"))
    assert result.stdout_bytes == b"\xff\x00\xfe" * 100000


def test_the_task_gets_environment_cache_name_tags_and_dimensions_as_given(pilot: Pilot) -> None:
    code = "import os; print(os.environ['COLOUR'], os.path.isdir('kept/here'))"
    given = ["--env", "COLOUR=red=ish", "--cache", "c1=kept/here", "--dimension", f"id={BOT}|other", "--name", "named"]
    result = pilot("run", "--pool", POOL, *given, "--tag", "team:a", "--warm", "tools@g7", *python(code))
    assert result.stdout == "red=ish True\n"
    task = pilot.json("tasks", "--tag", "team:a")["items"][0]
    assert task["name"] == "named"
    assert {"warm:tools@g7", f"pool:{POOL}"} <= set(task["tags"])


def test_with_json_stdout_is_the_result_alone(pilot: Pilot) -> None:
    result = pilot("run", "--pool", POOL, "--json", *python("print('to stderr'); raise SystemExit(4)"))
    assert json.loads(result.stdout)["exit_code"] == "4"
    assert "to stderr" in result.stderr
    assert result.exit_code == 4


def test_a_task_that_dies_of_a_signal_gives_the_shells_exit_code(pilot: Pilot) -> None:
    result = pilot("run", "--pool", POOL, *python("import os; os.kill(os.getpid(), 9)"))
    assert result.exit_code == 128 + 9


def test_a_silent_task_that_somebody_kills_ends_within_seconds_and_the_command_with_a_sentence(pilot: Pilot) -> None:
    killed_s: list[float] = []

    def kill() -> None:
        task = wait_for(lambda: pilot.json("tasks", "--state", "running").get("items"))[0]
        time.sleep(1.5)  # it listens from its second second on
        pilot("cancel", task["task_id"])
        killed_s.append(time.monotonic())

    killer = threading.Thread(target=kill)
    with pilot.process("run", "--pool", POOL, *python(SILENT)) as process:
        killer.start()
        _, err = process.communicate(timeout=20)
        killer.join()
    assert process.returncode == 1
    assert "KILLED after it ran for" in err and "it was stopped by a user" in err
    assert time.monotonic() - killed_s[0] < 5


def test_ctrl_c_stops_the_task_and_exits_with_130(pilot: Pilot) -> None:
    with pilot.process("run", "--pool", POOL, "--name", "ctrl-c", *python(SILENT)) as process:
        wait_for(lambda: pilot.json("tasks", "--state", "running").get("items"))
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "is being stopped; it has 30 s to end by itself" in err
    wait_for(lambda: [task["state"] for task in pilot.json("tasks", "--limit", "1")["items"]] == ["KILLED"])


def test_a_task_that_no_bot_can_run_says_why_it_waits(pilot: Pilot) -> None:
    with pilot.process("run", "--pool", POOL, "--dimension", "os=nowhere", "--", "true", bufsize=1) as process:
        assert process.stderr
        lines = [process.stderr.readline() for _ in range(2)]
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
    assert lines[0].startswith("task ")
    assert "os:nowhere" in lines[1] or "os=nowhere" in lines[1]


def test_a_wrong_request_is_refused_with_its_field(pilot: Pilot) -> None:
    result = pilot("run", "--pool", POOL, "--cache", "Not A Name=x", "--", "true")
    assert result.exit_code == 1
    assert "is not a cache name" in result.stderr


# ---- looking


def test_lists_are_lines_with_tabs_when_piped(pilot: Pilot) -> None:
    pilot("run", "--pool", POOL, "--name", "looked at", "--", "true")
    head, first, *_ = pilot("tasks").stdout.splitlines()
    assert head.split("\t") == ["task", "state", "name", "bot", "made", "waited", "ran"]
    assert first.split("\t")[1:4] == ["completed", "looked at", BOT]
    assert "\N{NO-BREAK SPACE}" not in first


def test_bots_tell_what_they_do(pilot: Pilot) -> None:
    row = next(line for line in pilot("bots").stdout.splitlines() if line.startswith(BOT)).split("\t")
    assert row[1:3] == ["idle", POOL]
    assert pilot.json("bots", "--pool", "elsewhere") == {"items": [], "fleet": []}


def test_warm_tells_how_the_pool_stands_and_what_holds_back_more(pilot: Pilot) -> None:
    assert pilot("warm", "--pool", POOL).stdout.startswith(f"{POOL} (live): 1 of 1 bot idle")
    assert [pool["pool"] for pool in pilot.json("warm", "--pool", POOL)["pools"]] == [POOL]


def test_why_answers_for_bots_and_for_tasks(pilot: Pilot) -> None:
    assert BOT in pilot.json("why", BOT)["sentence"]
    task = pilot.json("tasks", "--limit", "1")["items"][0]["task_id"]
    assert pilot.json("why", task)["task_id"] == task
    assert pilot.json("why", POOL)["pool"] == POOL
    told = pilot("why", POOL).stdout
    assert "gate\t" in told and "decided so far\ttimes" in told
    missing = pilot("why", "no-such-bot")
    assert (missing.exit_code, "no-such-bot" in missing.stderr) == (1, True)


# ---- changing


def test_a_spec_is_registered_edited_paused_resumed_and_retired(pilot: Pilot, tmp_path: Path) -> None:
    file = tmp_path / "spec.yaml"
    file.write_text(yaml.safe_dump(SPEC))
    assert pilot("specs", "register", str(file)).stdout == "tools is active: revision 1, g1.\n"
    file.write_text(yaml.safe_dump({**SPEC, "generation": "g2"}))
    assert pilot("specs", "register", str(file)).stdout == "tools is active: revision 2, g2.\n"
    assert yaml.safe_load(pilot("specs", "show", "tools").stdout)["generation"] == "g2"
    for verb, state in (("pause", "paused"), ("resume", "active"), ("retire", "retired")):
        assert f"tools is {state}" in pilot("specs", verb, "tools", "--why", "a test").stdout
    assert "tools\tretired" in pilot("specs").stdout
    assert "tools" in [spec["family"] for spec in pilot.json("specs")["specs"]]


def test_json_that_is_asked_of_a_group_is_what_its_command_prints(pilot: Pilot) -> None:
    assert json.loads(pilot("config", "--json", "show").stdout)["revision"] >= 1


def test_a_wrong_spec_is_refused_with_every_wrong_field(pilot: Pilot) -> None:
    result = pilot("specs", "register", "-", input=yaml.safe_dump({**SPEC, "fresh_for_s": -1, "slot": "Not A Slot"}))
    assert result.exit_code == 1
    assert "fresh_for_s:" in result.stderr and "slot:" in result.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: &a [x, x]\nb: [*a, *a]\n", "Error: YAML: line 2, column 5: aliases are not read\n"),
        ("family: a\nfamily: b\n", "Error: YAML: line 2, column 1: 'family' is given twice\n"),
        ("family: [\n", "Error: YAML: line 2, column 1: "),
        ("family: \xff\n", "Error: YAML: "),
        ("family: " + "[" * 20_000, "Error: YAML: "),
        ("- family\n", "Error: "),
        ("", "Error: "),
        ("#" * (256 * 1024 + 1), "Error: the file has more than 256 KiB; nothing was sent\n"),
    ],
    ids=["aliases", "a key twice", "not YAML", "not UTF-8", "deep", "a list", "nothing", "too large"],
)
@pytest.mark.parametrize("command", [["specs", "register", "-"], ["config", "set", "-", "--base", "1"]])
def test_a_file_that_cannot_be_read_is_refused_in_one_line(
    pilot: Pilot, command: list[str], text: str, said: str
) -> None:
    result = pilot(*command, input=text.encode("latin-1"))
    assert result.exit_code == 1
    assert result.stderr.startswith(said)
    assert result.stderr.count("\n") == 1


def test_a_date_without_quotes_is_a_generation_as_it_stands(pilot: Pilot) -> None:
    text = yaml.safe_dump({**SPEC, "family": "dated"}).replace("generation: g1", "generation: 2024-01-01")
    assert pilot("specs", "register", "-", input=text).stdout == "dated is active: revision 1, 2024-01-01.\n"
    again = pilot("specs", "register", "-", input=text + "fresh_for_s: 60\n")
    assert again.stdout == "dated is active: revision 2, 2024-01-01.\n"
    pilot("specs", "retire", "dated")


def test_the_switch_stops_prewarming_and_starts_it_again(pilot: Pilot) -> None:
    assert pilot("stop", "--why", "a test").stdout == "Prewarming is stopped.\n"
    wait_for(lambda: pilot.json("warm")["stopped"])
    assert pilot("start").stdout == "Prewarming is on.\n"


def test_the_config_goes_out_and_comes_back(pilot: Pilot, tmp_path: Path) -> None:
    shown = pilot.json("config", "show")
    body = yaml.safe_load(pilot("config", "show").stdout)
    assert body["pools"][POOL]["mode"] == "live"
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump({**body, "pools": {POOL: {**body["pools"][POOL], "min_idle_s": 4}}}))
    saved = pilot("config", "set", str(file), "--base", str(shown["revision"]))
    assert saved.stdout == f"Revision {shown['revision'] + 1} is in force.\n"
    again = pilot("config", "set", str(file), "--base", str(shown["revision"]))
    assert (again.exit_code, "nothing was changed" in again.stderr) == (1, True)


def test_a_task_that_has_ended_cannot_be_cancelled(pilot: Pilot) -> None:
    pilot("run", "--pool", POOL, "--", "true")
    task = pilot.json("tasks", "--limit", "1")["items"][0]["task_id"]
    result = pilot("cancel", task)
    assert (result.exit_code, "Nothing changed." in result.stderr) == (1, True)


# ---- trouble on the way


def test_without_a_server_a_command_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(options, "READ_PATIENCE", Retry(total_s=0))
    nobody = Pilot("http://127.0.0.1:1")
    for command in (["tasks"], ["specs"], ["run", "--pool", POOL, "--", "true"]):
        result = nobody(*command)
        assert result.exit_code == 1
        assert "no answer from http://127.0.0.1:1" in result.stderr
        assert "./pilot up starts one" in result.stderr
        assert "Traceback" not in result.output


def test_a_reader_that_leaves_early_ends_the_command_quietly_and_its_task(pilot: Pilot) -> None:
    talks = "import time\nwhile True: print('x' * 1000, flush=True); time.sleep(0.1)"
    with pilot.process("run", "--pool", POOL, "--name", "talks", *python(talks)) as process:
        assert process.stdout and process.stderr
        assert process.stdout.readline()
        process.stdout.close()
        assert "Traceback" not in process.stderr.read()
    assert process.returncode == 1
    wait_for(lambda: newest(pilot) == ("talks", "KILLED"))


def newest(pilot: Pilot) -> tuple[str, str]:
    """Name and state of the youngest task."""
    task = pilot.json("tasks", "--limit", "1")["items"][0]
    return task["name"], task["state"]


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_the_end_of_the_terminal_ends_the_task_as_ctrl_c_does(pilot: Pilot, number: signal.Signals) -> None:
    with pilot.process("run", "--pool", POOL, "--name", number.name, *python(SILENT)) as process:
        wait_for(lambda: newest(pilot) == (number.name, "RUNNING"))
        process.send_signal(number)
        process.communicate(timeout=20)
    assert process.returncode == 128 + number
    wait_for(lambda: newest(pilot) == (number.name, "KILLED"))


def test_a_task_that_was_started_to_outlive_its_terminal_does(pilot: Pilot) -> None:
    command = ["nohup", *pilot.words("run", "--pool", POOL, "--name", "nohup", *python("import time; time.sleep(3)"))]
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, cwd=ROOT, **pipes) as process:
        wait_for(lambda: newest(pilot) == ("nohup", "RUNNING"))
        process.send_signal(signal.SIGHUP)
    assert process.returncode == 0


@pytest.mark.parametrize("words", [["--env", "A=\udcff", "--", "true"], ["--", "a\udcffb"]])
def test_what_is_not_utf_8_is_refused_in_words(pilot: Pilot, words: list[str]) -> None:
    result = pilot("run", "--pool", POOL, *words)
    assert (result.exit_code, "is not UTF-8" in result.stderr, "codec" in result.stderr) == (2, True, False)


def test_a_command_without_a_word_fails_for_what_it_is(pilot: Pilot) -> None:
    result = pilot("run", "--pool", POOL, "--", "")
    assert result.exit_code == 1 and "name" not in result.stderr


def test_the_exit_code_is_the_tasks_own_from_0_to_255(pilot: Pilot) -> None:
    assert [
        pilot("run", "--pool", POOL, "--", "sh", "-c", f"exit {n}").exit_code for n in (0, 1, 2, 126, 128, 255)
    ] == [
        0,
        1,
        2,
        126,
        128,
        255,
    ]


def test_a_list_that_is_empty_for_its_filter_does_not_say_that_there_are_no_tasks(pilot: Pilot) -> None:
    assert pilot("tasks", "--tag", "no:such").stderr == "No such tasks.\n"
    assert pilot("bots", "--pool", "nosuch").stderr == "No bot is in a pool nosuch.\n"
    assert pilot("warm", "--pool", "nosuch").stderr == "Nothing is warm: no pool nosuch is known.\n"


def test_ctrl_c_before_a_task_runs_withdraws_it(pilot: Pilot) -> None:
    with pilot.process("run", "--pool", "nope", *python("")) as process:
        assert process.stderr
        lines = iter(process.stderr.readline, "")
        assert next(line for line in lines if "no bot of pool nope" in line)
        process.send_signal(signal.SIGINT)
        assert "was withdrawn before it ran" in process.communicate(timeout=20)[1]


def test_a_task_that_its_bot_refuses_ends_with_the_bots_own_words(
    pilot: Pilot, monkeypatch: pytest.MonkeyPatch
) -> None:
    def with_secret(**given: Any) -> swarming.NewTaskRequest:
        request = task_request(**given)
        request.task_slices[0].properties.secret_bytes = b"x"
        return request

    pilot("release", BOT)  # tasks that were made to fail before this one may have looked like a black hole
    monkeypatch.setattr("client.run.task_request", with_secret)
    result = pilot("run", "--pool", POOL, *python(""))
    assert result.exit_code == 1
    assert f"{BOT} was given it and did not start it: secret_bytes: this bot does not support it" in result.stderr


def test_the_simulator_is_called_by_the_name_of_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "client", "simulate", "--help"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.stdout.startswith("Usage: pilot simulate")


def test_the_token_of_a_file_goes_with_every_call(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("s3cr3t-s3cr3t-s3cr3t-s3cr3t mira admin\n")
    mine = tmp_path / "mine"
    mine.write_text("s3cr3t-s3cr3t-s3cr3t-s3cr3t\n")
    settings = {"PILOTLIGHT_CLIENT_TOKENS": str(tokens)}
    fleet = LocalFleet(tmp_path / "data", free_port(), {"PILOTLIGHT_CONFIG_FILE": str(samples.CONFIG), **settings})
    fleet.take_folder()
    try:
        fleet.start_server()
        pilot = Pilot(fleet.url)
        assert pilot("tasks").exit_code == 1
        assert pilot("tasks", "--token-file", str(mine)).exit_code == 0
        assert pilot("config", "show", "--token-file", str(mine)).exit_code == 0
    finally:
        fleet.stop()


def test_a_task_for_a_pool_without_bots_is_said_to_wait_at_once(pilot: Pilot) -> None:
    with pilot.process("run", "--pool", "nope", "--expiration", "60", *python("")) as process:
        assert process.stderr
        lines = iter(process.stderr.readline, "")
        assert next(line for line in lines if "no bot of pool nope is known" in line)
        process.send_signal(signal.SIGINT)


def test_limits_of_run_are_those_of_the_server(pilot: Pilot) -> None:
    for option in ("--timeout", "--expiration"):
        refused = pilot("run", "--pool", POOL, option, "29", *python(""))
        assert (refused.exit_code, "30<=x" in refused.stderr) == (2, True)


def test_a_bot_is_released_or_said_to_be_unknown(pilot: Pilot) -> None:
    assert "may take work again" in pilot("release", BOT).stdout
    assert pilot("release", "nobody").exit_code == 1
