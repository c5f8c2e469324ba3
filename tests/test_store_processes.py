"""Several real processes on one embedded store: they race, and they get killed."""

from __future__ import annotations

import contextlib
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from google.cloud import ndb

from server.store.client import Store
from server.store.sqlite_pool import FILE_NAME
from tests.store_process import Counter, Entry, OnCall

pytestmark = pytest.mark.processes

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A folder for a store."""
    return f"embedded:{tmp_path / 'data'}"


@pytest.fixture
def start(url: str) -> Iterator[Start]:
    """Starts processes on the store and ends them with the test."""
    processes: list[subprocess.Popen[str]] = []

    def started(role: str, argument: str) -> subprocess.Popen[str]:
        processes.append(
            subprocess.Popen(
                [sys.executable, "-m", "tests.store_process", role, url, argument],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        )
        return processes[-1]

    yield started
    for process in processes:
        process.kill()
        process.communicate()


def test_processes_that_count_at_once_lose_no_count(start: Start, url: str) -> None:
    processes = [start("count", "60") for _ in range(4)]  # they also create the store at once
    for process in processes:
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0, output
    store = Store.open(url)
    with store.context():
        assert ndb.Key(Counter, "c").get().value == 240
    store.close()


def test_processes_that_read_both_and_write_one_leave_no_write_skew(start: Start, url: str) -> None:
    store = Store.open(url)
    rounds = [f"r{number}" for number in range(40)]
    with store.context():
        ndb.put_multi([OnCall(id=f"{name}-{doctor}", here=True) for name in rounds for doctor in ("ann", "bob")])
    doctors = [start("go_home", "ann"), start("go_home", "bob")]
    assert [_line(doctor) for doctor in doctors] == ["ready", "ready"]
    for name in rounds:
        for doctor in doctors:
            assert doctor.stdin
            doctor.stdin.write(name + "\n")
            doctor.stdin.flush()
        assert [_line(doctor) for doctor in doctors] == ["done", "done"]
    with store.context():
        found = OnCall.query().fetch()
    store.close()
    assert len(found) == 80
    stayed = {name: sum(d.here for d in found if d.key.id().startswith(name + "-")) for name in rounds}
    assert stayed == dict.fromkeys(rounds, 1)


def test_a_writer_killed_again_and_again_loses_nothing_acknowledged(start: Start, url: str, tmp_path: Path) -> None:
    acknowledged: list[int] = []
    for _ in range(4):
        writer = start("write", str(acknowledged[-1] + 10 if acknowledged else 0))
        assert writer.stdout
        until = time.monotonic() + 10
        wanted = len(acknowledged) + 40
        while len(acknowledged) < wanted and time.monotonic() < until:
            acknowledged.append(int(writer.stdout.readline()))
        writer.send_signal(signal.SIGKILL)
        acknowledged += [int(line) for line in writer.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
        writer.wait()
    store = Store.open(url)
    with store.context():
        stored = {key.id() for key in Entry.query().fetch(keys_only=True)}
        assert Entry.query().order(Entry.number).count() == len(stored)
        total = ndb.Key(Counter, "sum").get().value
    store.close()
    assert len(acknowledged) >= 160
    assert set(acknowledged) <= stored
    assert total == sum(stored), "a record and the sum that was written with it came apart"
    with contextlib.closing(sqlite3.connect(tmp_path / "data" / FILE_NAME)) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().strip()
