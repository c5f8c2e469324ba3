"""One live generation of the server per data folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from server import errors
from server.clock import FakeClock
from server.store.generation import FolderInUse, current_generation, join_generation, lock_generation

MASTER = """
import sys, time
from server.store.generation import lock_generation
held = lock_generation(sys.argv[1])
print(held.number, flush=True)
time.sleep(60)
"""
WORKER = """
import sys, time
from server.store.generation import join_generation
held = join_generation(sys.argv[1], int(sys.argv[2]))
print("joined", flush=True)
time.sleep(60)
"""


def test_generations_of_a_folder_are_numbered(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        with lock_generation(tmp_path / "data") as held:
            assert (held.number, held.pid) == (number, os.getpid())
    assert current_generation(tmp_path / "data") == {"generation": 3, "pid": os.getpid()}


def test_a_second_server_hears_which_process_has_the_folder(tmp_path: Path) -> None:
    with lock_generation(tmp_path), pytest.raises(FolderInUse, match=f"process {os.getpid()} already") as caught:
        lock_generation(tmp_path)
    assert caught.value.pid == os.getpid()
    lock_generation(tmp_path).release()


def test_two_folders_have_nothing_to_do_with_each_other(tmp_path: Path) -> None:
    with lock_generation(tmp_path / "one"), lock_generation(tmp_path / "two"):
        pass


def test_workers_of_one_generation_share_the_folder(tmp_path: Path) -> None:
    with lock_generation(tmp_path) as held:
        workers = [join_generation(tmp_path, held.number) for _ in range(3)]
        for worker in workers:
            worker.release()


def test_a_new_master_waits_for_the_workers_of_a_dead_one_and_then_gives_up(tmp_path: Path) -> None:
    master = lock_generation(tmp_path)
    worker = join_generation(tmp_path, master.number)
    master.release()  # as a kill would
    clock = FakeClock()
    with pytest.raises(FolderInUse, match="still serve"):
        lock_generation(tmp_path, wait_for_workers_s=3.0, clock=clock)
    assert 3.0 <= clock.monotonic_s() < 3.5
    worker.release()
    lock_generation(tmp_path, clock=clock).release()


def test_a_worker_of_a_generation_that_has_ended_must_not_serve(tmp_path: Path) -> None:
    lock_generation(tmp_path).release()
    with lock_generation(tmp_path) as held:
        with pytest.raises(FolderInUse, match=r"generation 1 of .* has ended; now there is 2"):
            join_generation(tmp_path, 1)
        join_generation(tmp_path, held.number).release()


def test_a_folder_that_cannot_be_used_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(errors.StoreUnavailable):
        lock_generation(tmp_path / "file" / "data")


def test_a_damaged_lock_file_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "serving.lock").write_text("{rubbish")
    with lock_generation(tmp_path) as held:
        assert held.number == 1


@pytest.mark.processes
def test_a_killed_master_frees_the_folder_and_its_number_is_not_used_again(tmp_path: Path) -> None:
    with _process(MASTER, tmp_path) as (master, said):
        assert said == "1"
        with pytest.raises(FolderInUse, match=f"process {master.pid} already"):
            lock_generation(tmp_path)
        master.send_signal(signal.SIGKILL)
        master.wait()
        with lock_generation(tmp_path) as held:
            assert held.number == 2


@pytest.mark.processes
def test_a_new_master_starts_once_the_last_orphaned_worker_is_gone(tmp_path: Path) -> None:
    with _process(MASTER, tmp_path) as (master, _), _process(WORKER, tmp_path, "1") as (worker, said):
        assert said == "joined"
        master.send_signal(signal.SIGKILL)
        master.wait()
        with pytest.raises(FolderInUse, match="still serve"):
            lock_generation(tmp_path, wait_for_workers_s=0.2)
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        began = time.monotonic()
        lock_generation(tmp_path, wait_for_workers_s=5.0).release()
        assert time.monotonic() - began < 2.0


@contextmanager
def _process(code: str, folder: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A Python process and the first line that it says."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(folder), *arguments], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    try:
        yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_worker_makes_no_folder_in_place_of_one_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(errors.StoreUnavailable):
        join_generation(tmp_path / "gone", 1)
    assert not (tmp_path / "gone").exists()
