"""Process groups, and knowing a process again."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from bot import processes
from tests.bot_process import is_alive

pytestmark = [pytest.mark.processes, pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")]


@pytest.fixture
def run_id() -> str:
    return uuid.uuid4().hex


@pytest.fixture
def sleeper(run_id: str, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    env = {**os.environ, processes.RUN_ID_ENV: run_id}
    process = processes.spawn(["sh", "-c", "sleep 60 & wait"], tmp_path, env)
    yield process
    processes.kill_group(process.pid)
    process.wait()
    processes.output_of(process).close()


def test_a_process_keeps_its_mark_and_another_has_another(sleeper: subprocess.Popen[bytes]) -> None:
    mark = processes.start_mark(sleeper.pid)
    assert mark and mark == processes.start_mark(sleeper.pid) != processes.start_mark(os.getpid())


def test_a_leftover_is_found_by_its_mark_alone(sleeper: subprocess.Popen[bytes]) -> None:
    assert sleeper.pid in processes.kill_leftover(sleeper.pid, processes.start_mark(sleeper.pid), "another-run")
    assert sleeper.wait(2) == -9


def test_a_leftover_whose_pid_was_never_recorded_is_found_by_its_run(
    sleeper: subprocess.Popen[bytes], run_id: str
) -> None:
    while processes.RUN_ID_ENV.encode() not in Path(f"/proc/{sleeper.pid}/environ").read_bytes():
        time.sleep(0.01)  # between fork and exec it still has ours
    assert sleeper.pid in processes.kill_leftover(None, "", run_id)
    assert sleeper.wait(2) == -9


def test_another_process_with_a_recorded_pid_lives(sleeper: subprocess.Popen[bytes]) -> None:
    assert processes.kill_leftover(sleeper.pid, "another-boot:17", "another-run", within_s=0.2) == []
    assert processes.kill_leftover(sleeper.pid, "", "", within_s=0.2) == []
    assert is_alive(sleeper.pid)


def test_a_group_of_the_dead_is_gone(sleeper: subprocess.Popen[bytes]) -> None:
    assert not processes.wait_for_group(sleeper.pid, time.monotonic() + 0.2)
    processes.kill_group(sleeper.pid)
    assert processes.wait_for_group(sleeper.pid, time.monotonic() + 5)
    processes.terminate_group(sleeper.pid)
