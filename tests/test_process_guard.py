"""Real servers that are killed: nothing of an old generation answers, and no two serve one folder or port."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

import pytest
from google.cloud import ndb

from server import process_guard
from server.records.page import ProcessPage
from server.settings import Settings
from server.store.client import Store
from tests.server_process import ROOT, ServerProcess, is_running, kill, wait_until

pytestmark = pytest.mark.processes


def refused(*arguments: str, environ: dict[str, str] | None = None) -> str:
    """Starts a server that must refuse; returns what it says."""
    command = [sys.executable, "main.py", "serve", *arguments]
    ended = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **(environ or {})}, capture_output=True, text=True, timeout=30
    )
    assert ended.returncode != 0
    assert "Traceback" not in ended.stderr
    return ended.stderr


def test_when_the_master_is_killed_no_worker_answers_after_three_seconds(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data", "--workers", "2") as server:
        wait_until(lambda: len(server.workers()) == 2, 5.0, "two workers")
        workers = server.workers()
        kill(server.process.pid)
        wait_until(lambda: not any(map(is_running, workers)), 3.0, "the workers are gone")
        assert server.health() is None


def test_after_the_master_was_killed_a_new_one_serves_the_folder_as_the_next_generation(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data", "--workers", "2") as server:
        first = server.wait_until_ready()
        kill(server.process.pid)
        server.process.wait()
        server.start()
        second = server.wait_until_ready()
        assert int(second["generation"]) == int(first["generation"]) + 1
        for _ in range(20):
            health = server.health()
            assert health and health["generation"] == second["generation"]


def test_a_second_server_on_the_same_folder_is_refused_and_told_who_has_it(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data") as server:
        said = refused("--data", str(server.data), "--port", str(server.port + 1))
        assert str(server.process.pid) in said
        assert str(server.data) in said
        health = server.health()
        assert health and health["ready"]


def test_a_second_server_on_the_same_port_is_refused_though_workers_share_ports(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data") as server:
        said = refused("--data", str(tmp_path / "other"), "--port", str(server.port))
        assert f"127.0.0.1:{server.port}" in said


def test_workers_that_are_killed_again_and_again_are_replaced_and_the_server_lives_on(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data") as server:
        for _ in range(3):
            victim = server.wait_until_ready()["pid"]
            kill(victim)
            wait_until(lambda victim=victim: not is_running(victim), 3.0, "the worker is gone")
        health = server.wait_until_ready()
        assert server.process.poll() is None
        assert health["generation"] == "1"


def test_a_server_that_is_told_to_stop_sends_held_requests_home_and_ends_well(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data") as server:
        url = f"{server.url}/poll"
        bot = {"dimensions": {"id": ["bot1"], "pool": ["local"]}, "state": {}, "version": "1", "request_uuid": "u1"}
        session = post(url, bot)["session"]
        answers: list[dict] = []
        held = {**bot, "session": session, "request_uuid": "u2", "hold_s": 20}
        poll = threading.Thread(target=lambda: answers.append(post(url, held)))
        poll.start()
        poll.join(1.0)
        assert poll.is_alive(), "the poll is held"
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(8.0) == 0
        poll.join(1.0)
        assert answers and answers[0]["cmd"] == "sleep"
    store = Store.open(f"embedded:{server.data}")
    with store.context():
        assert [page for page in ProcessPage.query().fetch() if "bot1" in page.body], "its last page is written"
        assert ndb.Key("Job", "sweep:lapse").get().lease_until_s == 0.0, "the next server need not wait"
    store.close()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_servers_that_are_killed_leave_nothing_behind_that_adds_up(tmp_path: Path, workers: str) -> None:
    (tmp_path / "tmp").mkdir()
    environ = {"TMPDIR": str(tmp_path / "tmp")}
    with ServerProcess(tmp_path / "data", "--workers", workers, environ=environ) as server:
        for _ in range(2):
            kill(server.process.pid)
            server.process.wait()
            server.start()
            server.wait_until_ready()
        assert list((tmp_path / "tmp").iterdir()) == []
        assert len(list(server.data.glob("pilotlight-metrics-*"))) == int(workers) - 1


def test_whichever_worker_is_asked_answers_for_all_and_for_dead_ones(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data", "--workers", "2") as server:
        wait_until(lambda: len(server.workers()) == 2, 5.0, "two workers")
        pids: set[int] = set()
        asked = 0
        while len(pids) < 2 and asked < 200:
            health = server.health()
            asked += 1
            pids.add(health["pid"] if health else 0)
        first = server.workers()[0]
        kill(first)
        wait_until(lambda: not is_running(first), 3.0, "one worker is gone")
        server.wait_until_ready()
        with urllib.request.urlopen(f"{server.url}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        counted = [
            line for line in lines if line.startswith('pilotlight_requests_total{route="/healthz",status="200"}')
        ]
        assert len(counted) == 1
        assert float(counted[0].split()[-1]) > asked


def post(url: str, body: dict) -> dict:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=40) as answer:
        return json.loads(answer.read())


@pytest.mark.parametrize(
    "environ,reason",
    [
        ({"PILOTLIGHT_HOST": "0.0.0.0"}, "PILOTLIGHT_CLIENT_TOKENS"),
        ({"PILOTLIGHT_APP_ENGINE": "true"}, "PILOTLIGHT_BOT_SECRET"),
        ({"PILOTLIGHT_WORKERS": "many"}, "workers"),
        ({"PILOTLIGHT_CLIENT_TOKENS": "/nonexistent"}, "tokens cannot be read"),
        ({"PILOTLIGHT_BOT_SECRET": "file:/nonexistent"}, "bot_secret"),
    ],
)
def test_a_server_with_wrong_or_dangerous_settings_does_not_start_and_says_why(
    tmp_path: Path, environ: dict[str, str], reason: str
) -> None:
    assert reason in refused("--data", str(tmp_path / "data"), environ=environ)


def test_a_damaged_store_ends_the_server_with_a_clear_word(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "pilotlight.db").write_bytes(b"no database" * 1000)
    said = refused("--data", str(data))
    assert "pilotlight.db" in said
    assert (data / "pilotlight.db").read_bytes() == b"no database" * 1000


def test_only_processes_that_surely_are_dead_count_as_gone() -> None:
    settings = Settings(store_url="embedded:somewhere", generation="7")
    dead = subprocess.Popen(["true"])
    dead.wait()
    assert process_guard.is_gone(f"7.{dead.pid}.abc", settings)
    assert process_guard.is_gone(f"6.{os.getpid()}.abc", settings), "an earlier generation"
    assert not process_guard.is_gone(f"7.{os.getpid()}.abc", settings)
    for name in ("", "p1", "x.y.z", "single.1.abc"):
        assert not process_guard.is_gone(name, settings)
    elsewhere = settings.model_copy(update={"store_url": "datastore:project"})
    assert not process_guard.is_gone(f"6.{dead.pid}.abc", elsewhere), "it may be on another machine"
