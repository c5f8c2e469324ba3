"""A bot of ours as a real process, for tests."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.fake_server import FakeServer

ROOT = Path(__file__).resolve().parent.parent


class BotProcess:
    """Runs `python -m bot` (or a zip) against a server until the block ends; never leaves a process behind."""

    def __init__(self, server: FakeServer, bot_dir: Path, *arguments: str, code: Path | None = None) -> None:
        self.dir = bot_dir
        self._command = [sys.executable, *([str(code)] if code else ["-m", "bot"])]
        self._command += ["--server", server.url, "--dir", str(bot_dir), "--id", "bot1", *arguments]

    def __enter__(self) -> BotProcess:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        record = self.dir / "run.json"
        leader = json.loads(record.read_text()).get("pid") if record.exists() else None
        if leader and _is_of_run(leader):
            os.killpg(leader, signal.SIGKILL)

    def start(self) -> None:
        """Starts, again if it ran before."""
        env = {**os.environ, "PYTHONUNBUFFERED": "1"}
        self.process = subprocess.Popen(self._command, cwd=ROOT, env=env, stderr=subprocess.DEVNULL)

    def signal(self, number: int) -> None:
        """Sends a signal to the bot alone."""
        self.process.send_signal(number)

    def ended(self, timeout_s: float = 10.0) -> int:
        """Waits for the bot's end; returns its exit code."""
        return self.process.wait(timeout_s)

    def journal(self, event: str = "") -> list[dict[str, Any]]:
        """Lines of the bot's journal, or those of one event."""
        lines = (self.dir / "journal.jsonl").read_text().splitlines()
        return [line for line in map(json.loads, lines) if not event or line["event"] == event]


def is_alive(pid: int) -> bool:
    """Whether a process runs (one that waits to be reaped does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def _is_of_run(pid: int) -> bool:
    try:
        return b"PILOTLIGHT_RUN_ID=" in Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False
