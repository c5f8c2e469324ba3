"""Processes as groups: start, terminate, kill, and recognise one again in a later life of the bot."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

RUN_ID_ENV = "PILOTLIGHT_RUN_ID"
CREATE_NEW_PROCESS_GROUP = 0x00000200


def spawn(command: Sequence[str], cwd: Path, env: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Starts a command as the leader of a group of its own, both outputs in one pipe.

    Raises:
        OSError: it cannot be started.
    """
    return subprocess.Popen(
        list(command),
        cwd=str(cwd),
        env=dict(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        bufsize=0,
        start_new_session=sys.platform != "win32",
        creationflags=CREATE_NEW_PROCESS_GROUP if sys.platform == "win32" else 0,
    )


def output_of(process: subprocess.Popen[bytes]) -> IO[bytes]:
    """The pipe with the output of a spawned command."""
    assert process.stdout is not None
    return process.stdout


def terminate_group(pid: int) -> None:
    """Asks a group to end."""
    if sys.platform == "win32":
        with contextlib.suppress(OSError):
            os.kill(pid, signal.CTRL_BREAK_EVENT)
    else:
        _signal_group(pid, signal.SIGTERM)


def kill_group(pid: int) -> None:
    """Ends a group."""
    if sys.platform == "win32":
        subprocess.run(["taskkill", "/T", "/F", "/PID", str(pid)], capture_output=True, check=False)
    else:
        _signal_group(pid, signal.SIGKILL)


def wait_for_group(pid: int, until_s: float) -> bool:
    """Waits until a group whose leader has been reaped is gone, or monotonic `until_s`; whether it is gone."""
    while _group_alive(pid):
        if time.monotonic() >= until_s:
            return False
        time.sleep(0.05)
    return True


def start_mark(pid: int) -> str:
    """A text that differs between two processes that had the same pid; "" when the process or the means is missing."""
    try:
        if sys.platform == "linux":
            boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
            return f"{boot}:{_stat(pid)[19]}"
        if sys.platform != "win32":
            asked = ["ps", "-o", "lstart=", "-p", str(pid)]
            return subprocess.run(asked, capture_output=True, text=True, timeout=10, check=False).stdout.strip()
    except (OSError, IndexError, subprocess.SubprocessError):
        pass
    return ""


def kill_leftover(pid: int | None, mark: str, run_id: str, within_s: float = 5.0) -> list[int]:
    """Kills what a former life of the bot left running; returns the pids that were found.

    The group goes only if its leader is the very process that was recorded; beyond that, on Linux, every process goes
    that carries the run's id in its environment.
    """
    until = time.monotonic() + within_s
    found: set[int] = set()
    while time.monotonic() < until:
        alive = set(_carriers(run_id))
        if pid and mark and start_mark(pid) == mark:
            if not _is_zombie(pid):
                alive.add(pid)
            kill_group(pid)
        for other in alive:
            _kill(other)
        if not alive:
            break
        found |= alive
        time.sleep(0.05)
    return sorted(found)


def _carriers(run_id: str) -> list[int]:
    if sys.platform != "linux" or not run_id:
        return []
    needle, pids = f"{RUN_ID_ENV}={run_id}".encode(), []
    for pid in _pids():
        if pid != os.getpid():
            with contextlib.suppress(OSError):  # gone, or not ours
                if needle in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                    pids.append(pid)
    return pids


def _stat(pid: int) -> list[str]:
    """Fields of a process's stat file on Linux, from its state on."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()


def _is_zombie(pid: int) -> bool:
    try:
        return sys.platform == "linux" and _stat(pid)[0] in ("Z", "X")
    except (OSError, IndexError):
        return False


def _group_alive(pid: int) -> bool:
    if sys.platform == "win32":
        return False
    try:
        os.killpg(pid, 0)
    except (ProcessLookupError, PermissionError):
        return False
    # Where nobody reaps orphans soon, dead members keep a group in being.
    return sys.platform != "linux" or any(_is_live_member(other, pid) for other in _pids())


def _is_live_member(pid: int, group: int) -> bool:
    try:
        stat = _stat(pid)
        return stat[2] == str(group) and stat[0] not in ("Z", "X")
    except (OSError, IndexError):
        return False


def _pids() -> list[int]:
    return [int(entry.name) for entry in os.scandir("/proc") if entry.name.isdigit()]


def _kill(pid: int) -> None:
    with contextlib.suppress(OSError):  # it has ended already
        if sys.platform == "win32":
            os.kill(pid, signal.SIGTERM)  # which is a kill there
        else:
            os.kill(pid, signal.SIGKILL)


def _signal_group(pid: int, number: int) -> None:
    if sys.platform == "win32":
        return  # groups have their own way there
    with contextlib.suppress(ProcessLookupError, PermissionError):  # it has ended already
        os.killpg(pid, number)
