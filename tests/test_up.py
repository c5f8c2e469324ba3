"""`./pilot up` and the script in front of it, as processes: start, stop, start again, and what goes wrong there."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from client.api import connect, state_name, wait_for_end
from client.local_fleet import ROOT, free_port
from client.run import task_request
from tests.bot_process import is_alive
from tests.local_fleet import Pilot

pytestmark = pytest.mark.processes

UP_WITHIN_S = 30.0


def up_command(data: Path, port: int, *arguments: str) -> list[str]:
    """It as a process of its own."""
    return [sys.executable, "-m", "client", "up", "--port", str(port), "--data", str(data), *arguments]


class Up:
    """A running `up`, its output in a file."""

    def __init__(self, data: Path, port: int, *arguments: str) -> None:
        self.data, self.port, self.pilot = data, port, Pilot(f"http://127.0.0.1:{port}")
        self._said = data.with_name(f"{data.name}.{time.monotonic_ns()}.txt")
        command = up_command(data, port, *arguments)
        with open(self._said, "wb") as output:
            self.process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT)

    def said(self) -> str:
        """All that it has printed."""
        return self._said.read_text(encoding="utf-8")

    def wait_until_up(self) -> Up:
        until = time.monotonic() + UP_WITHIN_S
        while "Pilotlight is up" not in self.said():
            assert self.process.poll() is None and time.monotonic() < until, self.said()
            time.sleep(0.05)
        return self

    def children(self) -> dict[str, int]:
        """Process ids by name."""
        found: dict[str, int] = json.loads((self.data / "children.json").read_text(encoding="utf-8"))
        return found

    def end(self, number: int = signal.SIGINT) -> int:
        self.process.send_signal(number)
        return self.process.wait(UP_WITHIN_S)


@contextmanager
def up(data: Path, port: int, *arguments: str) -> Iterator[Up]:
    """Runs `up` until it is up; leaves nothing behind."""
    started = Up(data, port, *arguments)
    try:
        yield started.wait_until_up()
    finally:
        if started.process.poll() is None:
            started.end(signal.SIGTERM)


def fails(data: Path, port: int, *arguments: str) -> str:
    """Runs `up` where it has to end with exit code 1; returns what it said."""
    started = Up(data, port, *arguments)
    try:
        assert started.process.wait(UP_WITHIN_S) == 1, started.said()
    finally:
        if started.process.poll() is None:
            started.end(signal.SIGTERM)
    return started.said()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_everything_and_the_next_start_goes_on_with_the_data(tmp_path: Path, number: int) -> None:
    port = free_port()
    with up(tmp_path / "d", port, "--bots", "2", "--no-samples") as first:
        assert first.pilot("run", "--pool", "local", "--name", "kept", "--", "true").exit_code == 0
        children = first.children()
        assert sorted(children) == ["local-1", "local-2", "server"]
        assert first.end(number) == 0
        assert [name for name, pid in children.items() if is_alive(pid)] == []
    with up(tmp_path / "d", port, "--bots", "1", "--no-samples") as second:
        assert [task["name"] for task in second.pilot.json("tasks")["items"]] == ["kept"]


def test_the_samples_come_once_and_an_idle_bot_gets_warm_for_them(tmp_path: Path) -> None:
    port = free_port()
    with up(tmp_path / "d", port, "--bots", "2") as first:
        until = time.monotonic() + 90
        while not _warm(first.pilot):
            assert time.monotonic() < until, first.pilot("why", "local-1").output + first.pilot("tasks").output
            time.sleep(0.5)
        script = str(tmp_path / "d" / "sample" / "build_and_test.py")
        warm = first.pilot("run", "--pool", "local", "--cache", "sample_src=cache", "--", "python3", script)
        assert "warm: 0 of 3002 files built" in warm.stdout
        assert first.pilot("specs", "retire", "sample-src").exit_code == 0
        first.end()
    with up(tmp_path / "d", port, "--bots", "0") as second:
        assert [spec["state"] for spec in second.pilot.json("specs")["specs"]] == ["retired"]


def test_a_single_bot_gets_warm_unless_the_config_that_is_there_keeps_it_untouched(tmp_path: Path) -> None:
    port = free_port()
    with up(tmp_path / "d", port, "--bots", "1") as first:
        assert "got ready for it while it was idle" in first.said()
        until = time.monotonic() + 90
        while not _warm(first.pilot):
            assert time.monotonic() < until, first.pilot("why", "local-1").output + first.pilot("tasks").output
            time.sleep(0.5)
        config = tmp_path / "config.yaml"
        config.write_text("pools: {local: {mode: live, reserve_min: 1}}\n")
        assert first.pilot("config", "set", str(config), "--base", "1").exit_code == 0
        first.end()
    with up(tmp_path / "d", port, "--bots", "1") as second:
        assert "No bot gets ready for it: the pool keeps 1 idle" in second.said()


def _warm(pilot: Pilot) -> int:
    pools = pilot.json("warm", "--pool", "local")["pools"]
    return sum(family["warm"] for pool in pools for family in pool["families"])


def test_without_bots_and_samples_it_is_an_empty_server_that_says_how_to_add_bots(tmp_path: Path) -> None:
    with up(tmp_path / "d", free_port(), "--bots", "0", "--no-samples") as started:
        assert "/bootstrap" in started.said()
        assert started.pilot.json("specs")["specs"] == []
        assert list(started.children()) == ["server"]


def test_a_port_in_use_is_said_in_one_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = fails(tmp_path / "d", port)
    assert said.splitlines()[-1] == f"Error: port {port} is in use; choose another one with --port"


@pytest.mark.parametrize("below", ["", "sub"], ids=["a device", "below a file"])
def test_a_data_folder_that_cannot_be_one_is_said_in_one_line(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").touch()
    data = tmp_path / "file" / below if below else Path("/dev/null")
    said = subprocess.run(up_command(data, free_port()), cwd=ROOT, capture_output=True, text=True, timeout=UP_WITHIN_S)
    assert said.returncode == 1
    assert said.stderr.startswith(f"Error: {data}: ") and len(said.stderr.splitlines()) == 1


def test_a_store_that_cannot_be_used_is_said_without_the_words_of_former_starts(tmp_path: Path) -> None:
    with up(tmp_path / "d", free_port(), "--bots", "0", "--no-samples"):
        pass
    store = tmp_path / "d" / "pilotlight.db"
    store.write_bytes(b"no database, but of some length" * 1000)
    lines = fails(tmp_path / "d", free_port(), "--bots", "0", "--no-samples").splitlines()
    assert "is damaged" in lines[-1] and "it was left as it is" in lines[-1]
    assert lines[-2] == "Error: the server did not start:"
    assert store.read_bytes().startswith(b"no database")


def test_ctrl_c_at_the_very_beginning_leaves_no_traceback(tmp_path: Path) -> None:
    for delay_s in (0.05, 0.1, 0.15, 0.2, 0.3):
        command = up_command(tmp_path / "d", free_port(), "--bots", "0", "--no-samples")
        with subprocess.Popen(
            command,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # Tests in the background ignore it.
        ) as process:
            time.sleep(delay_s)
            process.send_signal(signal.SIGINT)
            try:
                said, _ = process.communicate(timeout=UP_WITHIN_S)
            finally:
                process.terminate()
        assert "client" not in said or "Traceback" not in said, said


def test_a_folder_in_use_is_said_and_left_alone(tmp_path: Path) -> None:
    with up(tmp_path / "d", free_port(), "--bots", "1", "--no-samples") as first:
        said = fails(tmp_path / "d", free_port(), "--bots", "1", "--no-samples")
        assert f"is in use by process {first.process.pid}" in said.splitlines()[-1]
        assert first.pilot("run", "--pool", "local", "--", "true").exit_code == 0


def test_what_a_killed_start_left_running_is_stopped_by_the_next(tmp_path: Path) -> None:
    port = free_port()
    with up(tmp_path / "d", port, "--bots", "1", "--no-samples") as first:
        left = first.children()
        first.process.kill()
        first.process.wait()
        assert all(is_alive(pid) for pid in left.values())
        with up(tmp_path / "d", port, "--bots", "1", "--no-samples") as second:
            assert not any(is_alive(pid) for pid in left.values())
            assert second.pilot("run", "--pool", "local", "--", "true").exit_code == 0


def test_a_server_that_is_killed_comes_back_and_nothing_that_it_took_is_lost(tmp_path: Path) -> None:
    with up(tmp_path / "d", free_port(), "--bots", "2", "--no-samples") as started:
        before = started.children()
        api = connect(started.pilot.url)
        command = ["sh", "-c", "sleep 0.3; echo done"]
        tasks = [api.new_task(task_request(pool="local", command=command)) for _ in range(8)]
        os.kill(before["server"], signal.SIGKILL)
        tasks += [api.new_task(task_request(pool="local", command=command)) for _ in range(8)]  # waits for the server
        ends = [wait_for_end(api, task, UP_WITHIN_S) for task in tasks]
        assert {state_name(end) for end in ends} == {"COMPLETED"}
        assert {b"".join(api.stdout(task)) for task in tasks} == {b"done\n"}
        after = started.children()
        assert after.pop("server") != before.pop("server") and after == before
        assert "the server ended with code -9 and starts again in 1 s" in started.said()
        assert sorted(starts(tmp_path / "d")) == sorted(tasks)


def starts(data: Path) -> list[str]:
    """Tasks of which user code was started, as the bots' own journals have it."""
    lines = [line for file in (data / "bots").glob("*/journal.jsonl") for line in file.read_text().splitlines()]
    return [one["task_id"][:-1] + "0" for one in map(json.loads, lines) if one["event"] == "start"]


def test_a_server_that_cannot_start_again_ends_all_with_its_last_words(tmp_path: Path) -> None:
    with up(tmp_path / "d", free_port(), "--bots", "1", "--no-samples") as started:
        children = started.children()
        for file in (tmp_path / "d").glob("pilotlight.db*"):
            file.write_bytes(b"no database")
        os.kill(children["server"], signal.SIGKILL)
        assert started.process.wait(60) == 1
        assert "the server ended 5 times in a row" in started.said() and "store" in started.said()
        assert not is_alive(children["local-1"])


def test_a_bot_that_is_killed_comes_back_and_tells_of_the_run_that_it_lost(tmp_path: Path) -> None:
    with up(tmp_path / "d", free_port(), "--bots", "1", "--no-samples") as started:
        before = started.children()["local-1"]
        lost = start_long_task(started)
        os.kill(before, signal.SIGKILL)
        wait_for(lambda: "local-1 ended with code -9 and starts again in 1 s" in started.said())
        assert started.pilot("run", "--pool", "local", "--", "true").exit_code == 0
        assert started.children()["local-1"] != before
        state = next(task["state"] for task in started.pilot.json("tasks")["items"] if task["task_id"] == lost)
        assert state == "BOT_DIED"


def test_ctrl_c_hands_running_tasks_back_and_every_screen_says_so(tmp_path: Path) -> None:
    port = free_port()
    with up(tmp_path / "d", port, "--bots", "1", "--no-samples") as started:
        task = start_long_task(started)
        waits = subprocess.Popen(started.pilot.words("run", "--pool", "local", "--", "true"), cwd=ROOT)
        time.sleep(1.2)
        assert started.end() == 0
        assert f"stopping; local-1 hands {task} back\n" in started.said()
    with up(tmp_path / "d", port, "--bots", "1", "--no-samples") as again:
        assert waits.wait(UP_WITHIN_S) == 0
        row = next(line for line in again.pilot("tasks").stdout.splitlines() if line.startswith(task)).split("\t")
        assert row[1] == "handed back" and float(row[-1].removesuffix(" s")) > 1.0
        assert "because its bot was shut down and handed it back" in again.pilot("why", task).stdout
        assert [found["state"] for found in again.pilot.json("tasks", "--state", "bot_died")["items"]] == ["BOT_DIED"]


def test_a_command_that_will_not_end_holds_up_ctrl_c_for_seconds_and_does_not_outlive_it(tmp_path: Path) -> None:
    with up(tmp_path / "d", free_port(), "--bots", "1", "--no-samples") as started:
        task = start_long_task(started, "sh", "-c", "trap '' TERM; echo $$ >pid; while :; do sleep 0.1; done")
        [pid_file] = (tmp_path / "d" / "bots" / "local-1" / "w").rglob("pid")
        pid = int(pid_file.read_text())
        began_s = time.monotonic()
        assert started.end() == 0
        assert time.monotonic() - began_s < 20 and not is_alive(pid), task


def start_long_task(started: Up, *command: str) -> str:
    """Returns its id once it runs; whoever started it does not wait for it."""
    request = task_request(pool="local", command=command or ["sleep", "60"])
    task_id = connect(started.pilot.url).new_task(request)
    wait_for(lambda: task_id in started.pilot("tasks", "--state", "running").stdout)
    return task_id


def wait_for(what: Callable[[], bool]) -> None:
    until = time.monotonic() + UP_WITHIN_S
    while not what():
        assert time.monotonic() < until
        time.sleep(0.1)


# ---- the script


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The script alone, as on a machine where nothing was installed yet."""
    folder = tmp_path / "a folder"
    folder.mkdir()
    shutil.copy(ROOT / "pilot", folder / "pilot")
    (folder / "requirements.txt").write_text("click==8.5.1\n")
    return folder


def script(
    checkout: Path, programs: dict[str, str], *arguments: str, through: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs it where only these programs (as `sh` text) and some of the system's tools exist."""
    tools = checkout.parent / "bin"
    tools.mkdir(exist_ok=True)
    for name in ("sh", "dirname", "cat", "cksum", "mkdir", "readlink", "rm", "sleep", "tail", "tee"):
        found = shutil.which(name)
        if found and not (tools / name).exists():
            (tools / name).symlink_to(found)
    for name, text in programs.items():
        (tools / name).write_text(f"#!/bin/sh\n{text}\n")
        (tools / name).chmod(0o755)
    command: Sequence[str] = [str(tools / "sh"), str(through or checkout / "pilot"), *arguments]
    env = {"PATH": str(tools), "HOME": str(checkout)}
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=30)


def test_without_python_one_line_says_what_to_install(checkout: Path) -> None:
    done = script(checkout, {"apt-get": "exit 0"}, "up")
    assert done.returncode == 1
    assert done.stderr == (
        "pilot: Python 3.11 or newer is needed; install it: sudo apt-get install python3 python3-venv\n"
    )


def test_an_old_python_is_as_good_as_none(checkout: Path) -> None:
    done = script(checkout, {"python3": "exit 1", "dnf": "exit 0"}, "up")
    assert done.stderr == "pilot: Python 3.11 or newer is needed; install it: sudo dnf install python3\n"


def test_without_the_venv_module_one_line_says_what_to_install(checkout: Path) -> None:
    python = "case $2 in *ensurepip*) exit 1 ;; *) exit 0 ;; esac"
    done = script(checkout, {"python3": python, "apt-get": "exit 0"}, "up")
    assert done.returncode == 1
    assert done.stderr == "pilot: Python's venv module is missing; install it: sudo apt-get install python3-venv\n"


def test_an_environment_that_cannot_be_made_is_told_with_what_was_said_of_it(checkout: Path) -> None:
    done = script(checkout, {"python3": '[ "$2" != venv ] || { echo "no room" >&2; exit 1; }'}, "up")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-2:] == ["no room", f"pilot: could not make {checkout.resolve()}/.pilot/venv"]


def test_a_link_to_the_script_is_as_good_as_the_script(checkout: Path) -> None:
    places = [checkout.parent / "b in" / "pilot", checkout.parent / "b in" / "again"]
    places[0].parent.mkdir()
    places[0].symlink_to(Path("..") / checkout.name / "pilot")
    places[1].symlink_to(places[0])
    for place in places:
        done = script(checkout, {"python3": "exit 0"}, "up", through=place)
        assert f"could not make {checkout.resolve()}/.pilot/venv" in done.stderr or "installing into" in done.stderr
        assert f"{checkout.resolve()}/.pilot/venv" in done.stderr


def test_requirements_that_cannot_be_installed_are_told_with_the_end_of_what_pip_said(checkout: Path) -> None:
    python = (
        f'if [ "$2" = venv ]; then mkdir -p "$3/bin" && cat "$0" >"$3/bin/python" && exec {shutil.which("chmod")} +x '
        '"$3/bin/python"; fi\n'
        '[ "$3" != install ] || { echo "Collecting click==8.5.1"; echo "no such index"; exit 1; }'
    )
    done = script(checkout, {"python3": python}, "up")
    assert done.returncode == 1
    assert "pilot:   fetching click\n" in done.stderr
    assert "no such index" in done.stderr
    assert not (checkout / ".pilot" / "installing").exists()
    assert not (checkout / ".pilot" / "venv" / "pilot.stamp").exists()
