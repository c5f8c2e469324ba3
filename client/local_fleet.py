"""A server and bots of one's own machine, as child processes: started, watched, stopped in order."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import IO, Any

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

ROOT = Path(__file__).resolve().parent.parent
READY_WITHIN_S = 60.0
LEAVE_WITHIN_S = 10.0
HURRY_WITHIN_S = 5.0
TAIL_LINES = 15
LOOK_EVERY_S = 0.1
BOT_SECRET = "PILOTLIGHT_BOT_SECRET"


class FleetError(Exception):
    """Something of the local fleet does not start, or ended; the text is for the person at the keyboard."""


def of_system(error: OSError) -> str:
    """What the system refuses, in one line."""
    return f"{error.filename}: {error.strerror}" if error.filename else str(error)


@dataclass(slots=True)
class Child:
    """A process that we started, how, and where its output goes."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    command: list[str]
    environment: Mapping[str, str]
    log_from: int = 0
    """Where its output begins in the log, which those before it have written to as well; bytes."""

    def has_ended(self) -> bool:
        """Whether it runs no more."""
        return self.process.poll() is not None

    def last_words(self) -> str:
        """The end of its output."""
        output = self.log.read_bytes()[self.log_from :].decode("utf-8", errors="replace")
        return "\n".join(output.splitlines()[-TAIL_LINES:])


@dataclass(slots=True)
class LocalFleet:
    """One server and its bots below a folder.

    Attributes:
        folder: holds the store, the bots' folders (`bots/ID`) and the output of all (`log/NAME.log`).
        port: where the server listens on this machine.
        settings: more PILOTLIGHT_* variables of the server.
        inherits: whether those of our own environment count too.
    """

    folder: Path
    port: int
    settings: Mapping[str, str] = field(default_factory=dict)
    inherits: bool = False
    server: Child | None = None
    bots: list[Child] = field(default_factory=list)
    lock: IO[str] | None = None

    @property
    def url(self) -> str:
        """Where bots reach the server."""
        return f"http://127.0.0.1:{self.port}"

    def take_folder(self) -> list[str]:
        """Makes the folder ours, and ends what a former owner left behind that was killed itself; returns the names.

        Raises:
            FleetError: another process has it.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = open(self.folder / "fleet.lock", "a+", encoding="utf-8")  # noqa: SIM115 -- held as long as we live
        if not _lock(lock):
            lock.seek(0)
            owner = lock.read().strip()
            lock.close()
            raise FleetError(f"{self.folder} is in use by process {owner}; stop that one, or choose another folder")
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        self.lock = lock
        return _stop_leftovers(self.folder)

    def start_server(self) -> None:
        """Starts it and waits until it serves.

        Raises:
            FleetError: the port is in use, or the server ended or stayed silent; its last words are in the text.
        """
        if is_in_use(self.port):
            raise FleetError(f"port {self.port} is in use; choose another one with --port")
        environment = {
            **{
                name: value for name, value in os.environ.items() if self.inherits or not name.startswith("PILOTLIGHT_")
            },
            "PILOTLIGHT_STORE_URL": f"embedded:{self.folder}",
            "PILOTLIGHT_PORT": str(self.port),
            **self.settings,
        }
        self.server = self._start("server", [sys.executable, str(ROOT / "main.py"), "serve"], environment)
        self._wait_until_ready(self.server)

    def start_server_again(self, server: Child) -> Child:
        """Starts a server that has ended as it was started before; whoever needs it waits for it."""
        self.server = self._start(server.name, server.command, server.environment)
        return self.server

    def _wait_until_ready(self, server: Child) -> None:
        deadline_s = time.monotonic() + READY_WITHIN_S
        while time.monotonic() < deadline_s:
            if server.has_ended():
                raise FleetError(f"the server did not start:\n{server.last_words()}")
            if _fetch(f"{self.url}/healthz")[0] == 200:
                return
            time.sleep(LOOK_EVERY_S)
        raise FleetError(f"the server does not answer after {READY_WITHIN_S:g} s; its output is in {server.log}")

    def start_bots(
        self, ids: Iterable[str], pool: str, dimensions: Mapping[str, Mapping[str, str]] | None = None
    ) -> None:
        """Starts bots with the code that the server serves.

        Args:
            ids: of the bots.
            pool: that they work for.
            dimensions: by bot's id.

        Raises:
            FleetError: the server does not give the code.
        """
        code = self.folder / "bot.zip"
        status, data = _fetch(f"{self.url}/bot_code", os.environ.get(BOT_SECRET, ""))
        if status != 200:
            raise FleetError(f"the server does not give its bots' code: HTTP {status}")
        code.write_bytes(data)
        # Commands of tasks find the Python that all this runs with as `python3`.
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
        environment = {**os.environ, "PATH": path}
        for bot_id in ids:
            command = [sys.executable, str(code), "--server", self.url, "--dir", str(self.folder / "bots" / bot_id)]
            command += ["--id", bot_id, "--pool", pool, "--on-term", "hand-back"]
            for key, value in (dimensions or {}).get(bot_id, {}).items():
                command += ["--dimension", f"{key}={value}"]
            self.bots.append(self._start(bot_id, command, environment))

    def start_again(self, bot: Child) -> Child:
        """Starts a bot that has ended as it was started before; it tells the server itself of a run that it lost."""
        self.bots.remove(bot)
        self.bots.append(self._start(bot.name, bot.command, bot.environment))
        return self.bots[-1]

    def _start(self, name: str, command: list[str], environment: Mapping[str, str]) -> Child:
        """Each has a process group of its own: Ctrl-C in the terminal reaches us alone, and we stop them in order."""
        log = self.folder / "log" / f"{name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, "ab") as output:
            log_from = output.tell()
            process = subprocess.Popen(
                command,
                cwd=self.folder,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        child = Child(name, process, log, command, environment, log_from)
        self._remember(child)
        return child

    def _remember(self, child: Child) -> None:
        """So that a start after a `kill -9` of us finds what was left running."""
        _write_pids(self.folder, {**_read_pids(self.folder), child.name: child.process.pid})

    def stop(self) -> None:
        """Bots first, so that they can still say goodbye, then the server; whoever does not leave is killed."""
        _stop(self.bots)
        _stop([self.server] if self.server else [])
        if self.lock:
            _write_pids(self.folder, {})
            self.lock.close()
            self.lock = None


def _lock(file: IO[str]) -> bool:
    """Whether the file is ours alone now. The system gives it back when we end, however that happens."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _stop_leftovers(folder: Path) -> list[str]:
    """By their process ids, each checked to be what it was: ids are used again."""
    found = []
    for name, pid in sorted(_read_pids(folder).items(), key=lambda entry: entry[0] == "server"):
        command = _command_of(pid)
        if str(folder / "bot") in command or (name == "server" and str(ROOT / "main.py") in command):
            found.append(name)
            _end(pid)
    return found


def is_in_use(port: int) -> bool:
    """Whether something listens on this port of this machine already."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            return True
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def free_port() -> int:
    """A port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _stop(children: list[Child]) -> None:
    """Asks, asks again (then a bot kills the command that it waits for), and kills."""
    running = list(children)
    for patience_s in (LEAVE_WITHIN_S, HURRY_WITHIN_S):
        running = [child for child in running if not child.has_ended()]
        for child in running:
            child.process.terminate()
        _wait_for_ends(running, patience_s)
    for child in running:
        child.process.kill()
        child.process.wait()


def _wait_for_ends(children: list[Child], longest_s: float) -> None:
    deadline_s = time.monotonic() + longest_s
    for child in children:
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.process.wait(max(0.1, deadline_s - time.monotonic()))


def _end(pid: int) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        deadline_s = time.monotonic() + LEAVE_WITHIN_S
        try:
            os.kill(pid, number)
        except OSError:
            return  # gone, or somebody else's by now
        while time.monotonic() < deadline_s:
            if not _command_of(pid):
                return
            time.sleep(LOOK_EVERY_S)


def _command_of(pid: int) -> str:
    """The command line of a process, "" when there is none any more (one that waits to be reaped has none)."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8", errors="replace").replace("\0", " ")
    except OSError:
        if sys.platform == "linux":
            return ""
    done = subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _read_pids(folder: Path) -> dict[str, int]:
    try:
        found: Any = json.loads((folder / "children.json").read_text(encoding="utf-8"))
        return {str(name): int(pid) for name, pid in found.items()}
    except (OSError, ValueError, AttributeError):
        return {}


def _write_pids(folder: Path, pids: Mapping[str, int]) -> None:
    path = folder / "children.json"
    part = path.with_suffix(".part")
    part.write_text(json.dumps(dict(pids)) + "\n", encoding="utf-8")
    part.replace(path)


def _fetch(url: str, secret: str = "") -> tuple[int, bytes]:
    """Status and body; status 0 when nobody answers."""
    request = urllib.request.Request(url)
    if secret:
        request.add_header("Authorization", f"Bearer {secret}")
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, b""
    except OSError:
        return 0, b""
