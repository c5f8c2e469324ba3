"""Google's Firestore emulator in Datastore mode, started once per test session where gcloud and Java exist.

Where they do not, tests that need it are skipped, and say so; in CI they fail if only the emulator is missing.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

HOST_VARIABLE = "DATASTORE_EMULATOR_HOST"
_START_WITHIN_S = 60.0
# What gcloud says where the emulator is not among its components.
_NOT_INSTALLED = ("components install", "apt-get install", "not currently installed")


class NotInstalled(Exception):
    """gcloud is there, its emulator is not."""


def missing() -> str:
    """Why there can be no emulator on this machine; empty if there can."""
    if os.environ.get(HOST_VARIABLE):
        return ""
    tools = [tool for tool in ("gcloud", "java") if shutil.which(tool) is None]
    if tools:
        return f"SKIPPED: no Firestore emulator on this machine ({' and '.join(tools)} not found)"
    return ""


@contextmanager
def running(folder: Path) -> Iterator[str]:
    """Runs an emulator and gives its host and port; its output goes to a file in `folder`.

    One that the environment names already is used and left running.
    """
    if os.environ.get(HOST_VARIABLE):
        yield os.environ[HOST_VARIABLE]
        return
    host = f"127.0.0.1:{_free_port()}"
    log = folder / "emulator.log"
    with open(log, "wb") as output:
        process = subprocess.Popen(
            [
                "gcloud",
                "emulators",
                "firestore",
                "start",
                "--database-mode=datastore-mode",
                f"--host-port={host}",
            ],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait_until_ready(host, process, log)
        yield host
    finally:
        _stop(process)


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Host and port of an emulator that lives as long as the test session."""
    reason = missing()
    if reason:
        pytest.skip(reason)
    with contextlib.ExitStack() as stack:
        try:
            host = stack.enter_context(running(tmp_path_factory.mktemp("emulator")))
        except NotInstalled as error:
            if os.environ.get("CI"):
                pytest.fail(f"gcloud and java are here, and the tests need what is missing: {error}")
            pytest.skip(f"SKIPPED: {error}")
        yield host


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _wait_until_ready(host: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_WITHIN_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(f"http://{host}/", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    said = log.read_text(errors="replace")[-2000:]
    if any(hint in said for hint in _NOT_INSTALLED):
        raise NotInstalled("gcloud has no Firestore emulator on this machine")
    raise RuntimeError(f"the emulator did not start:\n{said}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ends the whole process group: gcloud starts Java as a child and does not take it along."""
    for kind, patience_s in ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)):
        try:
            os.killpg(process.pid, kind)
        except ProcessLookupError:
            break
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline and _group_lives(process):
            time.sleep(0.05)
    process.wait()


def _group_lives(process: subprocess.Popen[bytes]) -> bool:
    process.poll()  # a finished child counts as alive until somebody asks
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return False
    return True
