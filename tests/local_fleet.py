"""A fleet of real processes for tests of the command line: one server, one bot, ended with the block."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from client import samples
from client.cli import cli
from client.local_fleet import ROOT, LocalFleet, free_port

POOL = "local"
BOT = "cli-1"


@dataclass(slots=True)
class Pilot:
    """The command line, pointed at one server."""

    url: str

    def __call__(self, *arguments: str, input: str | bytes | None = None) -> Result:
        """Runs a command in this process."""
        return CliRunner().invoke(cli, self._words(arguments), input=input)

    def json(self, *arguments: str) -> Any:
        """What a command prints with --json."""
        result = self(*arguments, "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    def process(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """The same as a process of its own, to which signals can be sent."""
        command = self.words(*arguments)
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(command, cwd=ROOT, text=True, **{**pipes, **options})

    def words(self, *arguments: str) -> list[str]:
        """The command as a process of its own gets it."""
        return [sys.executable, "-m", "client", *self._words(arguments)]

    def _words(self, arguments: tuple[str, ...]) -> list[str]:
        """`--server` goes behind the name of the command, or of the one within a group."""
        words = list(arguments)
        nested = words[0] in ("specs", "config", "announced") and len(words) > 1 and not words[1].startswith("-")
        at = 2 if nested else 1
        return [*words[:at], "--server", self.url, *words[at:]]


@contextmanager
def running(folder: Path, settings: Mapping[str, str] | None = None) -> Iterator[Pilot]:
    """A server with the sample config, and one bot that has connected."""
    chosen = {"PILOTLIGHT_CONFIG_FILE": str(samples.CONFIG), **(settings or {})}
    fleet = LocalFleet(folder, free_port(), chosen)
    fleet.take_folder()
    try:
        fleet.start_server()
        fleet.start_bots([BOT], POOL)
        pilot = Pilot(fleet.url)
        assert pilot("run", "--pool", POOL, "--", "true").exit_code == 0  # the bot is there
        yield pilot
    finally:
        fleet.stop()
