"""A server as a real process, for tests that kill it."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def free_port() -> int:
    """A port that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class ServerProcess:
    """`python main.py serve` until the block ends; leaves no process behind."""

    def __init__(self, data: Path, *arguments: str, port: int = 0, environ: dict[str, str] | None = None) -> None:
        self.data = data
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = data.parent / f"{data.name}-{self.port}.log"
        self._arguments = arguments
        self._environ = {k: v for k, v in os.environ.items() if not k.startswith("PILOTLIGHT_")} | (environ or {})

    def __enter__(self) -> ServerProcess:
        self.start()
        try:
            self.wait_until_ready()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for pid in [self.process.pid, *self.workers()]:
            kill(pid, signal.SIGKILL)
        self.process.wait()

    def start(self) -> None:
        """Starts it, again if it ran before; does not wait."""
        command = [sys.executable, "main.py", "serve", "--port", str(self.port), "--data", str(self.data)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen([*command, *self._arguments], cwd=ROOT, env=self._environ, stderr=log)

    def wait_until_ready(self, timeout_s: float = 15.0) -> dict[str, Any]:
        """Waits for a `/healthz` that says ready, of this very master, and returns it."""
        deadline_s = time.monotonic() + timeout_s
        while time.monotonic() < deadline_s:
            health = self.health()
            if health and health["ready"] and health["pid"] in self.workers():
                return health
            assert self.process.poll() is None, f"the server ended: {self.log.read_text()[-2000:]}"
            time.sleep(0.02)
        raise AssertionError(f"the server is not ready: {self.log.read_text()[-2000:]}")

    def health(self, timeout_s: float = 2.0) -> dict[str, Any] | None:
        """What `/healthz` says, None if nobody answers."""
        try:
            with urllib.request.urlopen(f"{self.url}/healthz", timeout=timeout_s) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return json.loads(error.read())
        except (OSError, http.client.HTTPException):  # its process may be killed in the middle of the answer
            return None

    def workers(self) -> list[int]:
        """Process ids of the master's children."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        try:
            return [int(pid) for pid in children.read_text().split()]
        except OSError:
            return []


def kill(pid: int, number: int = signal.SIGKILL) -> None:
    """Sends a signal to a process that may be gone."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def is_running(pid: int) -> bool:
    """Whether a process runs (one that waits to be reaped does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def wait_until(happened: Any, timeout_s: float, what: str) -> None:
    """Waits for something that real processes do."""
    deadline_s = time.monotonic() + timeout_s
    while not happened():
        assert time.monotonic() < deadline_s, f"not within {timeout_s} s: {what}"
        time.sleep(0.02)
