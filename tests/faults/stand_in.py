"""A stand-in for a LUCI bot: speaks the recorded protocol, and lets a test send its requests late, twice or in vain.

As in the recordings, main and task runner are two senders with a token each. The token of a `run` answer goes to the
runner, which takes over the newest one from the answers to its updates; main takes it back when the run is over, also
after a failure. A handshake names its session, no token.
"""

from __future__ import annotations

import http.client
import json
import time
import urllib.parse
import uuid
from dataclasses import dataclass, field
from typing import Any

from tests.server_process import ServerProcess

API = "/swarming/api/v1/bot"
MOST_SPARE = 8
"""A worker takes in no more connections than it has threads."""
PYTHON_STATE = {"executable": "/usr/bin/python3", "packages": [], "version": "3.11.7"}


class NoAnswer(Exception):
    """The connection broke before a whole answer came."""


class Line:
    """A connection to one worker of a server, kept open: all that is sent over it reaches that process."""

    def __init__(self, url: str) -> None:
        parts = urllib.parse.urlsplit(url)
        self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=70)

    def exchange(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> tuple[int, bytes]:
        """Status and body of the answer.

        Raises:
            NoAnswer: there was none.
        """
        try:
            self._connection.request(method, path, body, headers)
            answer = self._connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise NoAnswer(f"{type(error).__name__}: {error}") from error

    def pid(self) -> int:
        """The process at the other end."""
        return int(json.loads(self.exchange("GET", "/healthz", None, {})[1])["pid"])

    def close(self) -> None:
        """Ends it."""
        self._connection.close()


def lines(server: ServerProcess, wanted: int = 2) -> dict[int, Line]:
    """A line to each of so many workers, by process id."""
    found: dict[int, Line] = {}
    spare: list[Line] = []
    deadline_s = time.monotonic() + 40.0
    while len(found) < wanted:
        assert time.monotonic() < deadline_s, f"not within 40 s: {wanted} workers, only {len(found)}"
        line = Line(server.url)
        pid = line.pid()
        if pid not in found:
            found[pid] = line
            continue
        spare.append(line)  # open for a while: an idle worker would take the next one too
        if len(spare) > MOST_SPARE:
            spare.pop(0).close()
            time.sleep(0.05)  # the other worker may not have begun
    for line in spare:
        line.close()
    return found


@dataclass(frozen=True)
class Request:
    """A request that is ready to be sent: at once, later, twice; its bytes stay the same."""

    url: str
    path: str
    body: bytes
    bot_id: str

    def send(self, line: Line | None = None) -> dict[str, Any]:
        """Sends it, over a connection of its own if no line is given; the answer must be a 200.

        Raises:
            NoAnswer: there was none.
        """
        status, answer = self.try_to_send(line)
        assert status == 200, f"{self.path}: HTTP {status}: {answer!r}"
        return answer

    def try_to_send(self, line: Line | None = None) -> tuple[int, dict[str, Any]]:
        """Sends it; status and answer, whatever they are."""
        headers = {"Content-Type": "application/json; charset=UTF-8", "X-Luci-Swarming-Bot-ID": self.bot_id}
        own = line or Line(self.url)
        try:
            status, data = own.exchange("POST", self.path, self.body, headers)
        finally:
            if line is None:
                own.close()
        return status, json.loads(data)


@dataclass
class StandInBot:
    """Main of a bot. `token` is what the last answer left in it."""

    url: str
    bot_id: str
    pool: str = "local"
    dimensions: dict[str, list[str]] = field(default_factory=dict)
    caches: dict[str, int] = field(default_factory=dict)
    session_id: str = ""
    token: str | None = None

    def boot(self, line: Line | None = None) -> StandInBot:
        """A new process of main: new session, handshake."""
        self.session_id, self.token = f"{uuid.uuid4().hex}/{4711}", None
        self.token = self.handshake().send(line)["session"]
        return self

    def handshake(self) -> Request:
        """The handshake of the present session."""
        return self.request("handshake", {**self.report(), "session_id": self.session_id})

    def poll(self, token: str | None = None, **fields: Any) -> Request:
        """A poll with main's token, or an older one."""
        fields = {"request_uuid": str(uuid.uuid4()), "session": token or self.token, **fields}
        return self.request("poll", {**self.report(), **fields})

    def ask(self, line: Line | None = None, **fields: Any) -> dict[str, Any]:
        """Polls and takes the answer's token in, as main does."""
        answer = self.poll(**fields).send(line)
        self.token = answer.get("session") or self.token
        return answer

    def wait_for_run(self, line: Line | None = None, timeout_s: float = 10.0) -> Run:
        """Polls, ten times a second, until there is a run."""
        deadline_s = time.monotonic() + timeout_s
        while (answer := self.ask(line))["cmd"] != "run":
            assert answer["cmd"] == "sleep", answer
            assert time.monotonic() < deadline_s, f"not within {timeout_s} s: a run for {self.bot_id}; {answer}"
            time.sleep(0.1)
        return Run(self, answer)

    def report(self) -> dict[str, Any]:
        """What a bot says of itself in every handshake, poll and event."""
        dimensions = {"id": [self.bot_id], "pool": [self.pool], "os": ["Debian", "Debian-12", "Linux"], "cores": ["2"]}
        state: dict[str, Any] = {
            "audio": None,
            "cwd": "/b/s",
            "disks": {"/": {"free_mb": 79796.7, "size_mb": 258019.6}},
            "hostname": "host1",
            "pid": 4711,
            "python": PYTHON_STATE,
            "running_time": int(time.monotonic()),
            "sleep_streak": 0,
            "user": "chrome-bot",
        }
        if self.caches:
            dimensions["caches"] = sorted(self.caches)
            state["named_caches"] = {name: [["ab", size], 1.0] for name, size in self.caches.items()}
        return {"dimensions": dimensions | self.dimensions, "state": state, "version": "0a5" * 21 + "a"}

    def request(self, path: str, fields: dict[str, Any]) -> Request:
        """Any call of the bot API."""
        body = json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()
        return Request(self.url, f"{API}/{path}", body, self.bot_id)


class Run:
    """The task runner of one `run` answer."""

    def __init__(self, bot: StandInBot, answer: dict[str, Any]) -> None:
        assert answer["cmd"] == "run", answer
        self.bot, self.manifest = bot, answer["manifest"]
        self.run_id: str = self.manifest["task_id"]
        self.task_id = self.run_id[:-1] + "0"
        self.purpose: str = self.manifest["purpose"]
        self.token: str = answer["session"]
        self.code_ran = False

    def update(self, **fields: Any) -> Request:
        """An update with the runner's token as it is now."""
        body = {"id": self.bot.bot_id, "task_id": self.run_id, "session": self.token, "cost_usd": 0.0, **fields}
        return self.bot.request(f"task_update/{self.run_id}", body)

    def end(self, exit_code: int = 0, **fields: Any) -> Request:
        """The last update of a run that ended by itself."""
        stats = {"bot_overhead": 0.1, "hard_timeout": False, "io_timeout": False}
        return self.update(exit_code=exit_code, duration=0.5, **stats, **fields)

    def canceled(self) -> Request:
        """The last update of a run that was told to stop before it began."""
        return self.update(canceled=True)

    def error(self, message: str = "internal failure") -> Request:
        """The report that the bot, not the task, failed."""
        fields = {"id": self.bot.bot_id, "session": self.token, "task_id": self.run_id, "message": message}
        return self.bot.request(f"task_error/{self.run_id}", {**fields, "client_error": {}})

    def tell(self, request: Request, line: Line | None = None) -> dict[str, Any]:
        """Sends one of the above and takes its answer's token in."""
        answer = request.send(line)
        self.token = answer.get("session") or self.token
        return answer

    def start(self, line: Line | None = None) -> bool:
        """The start update; user code runs if and only if it is acknowledged. Whether it does."""
        self.code_ran = not self.tell(self.update(), line)["must_stop"]
        return self.code_ran

    def must_stop(self, line: Line | None = None) -> bool:
        """A keep-alive: whether the run is to stop."""
        return bool(self.tell(self.update(), line)["must_stop"])

    def finish(self, exit_code: int = 0, line: Line | None = None) -> dict[str, Any]:
        """The end update; main has the token back afterwards."""
        answer = self.tell(self.end(exit_code), line)
        self.give_back()
        return answer

    def give_back(self) -> None:
        """Main takes the runner's last token, as it does after every run, however it ended."""
        self.bot.token = self.token
