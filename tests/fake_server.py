"""A small server on loopback that speaks the Swarming bot API by a script, and remembers what bots said."""

from __future__ import annotations

import base64
import contextlib
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

API = "/swarming/api/v1/bot/"
Body = dict[str, Any]
Answer = tuple[int, Any]  # status and body; a body of bytes is sent as it is, None drops the connection
IDLE: Body = {"cmd": "sleep", "duration": 0.05}


def manifest(task_id: str = "5e0c7a8f3b2d1011", command: list[str] | None = None, **fields: Any) -> Body:
    """A complete manifest of a run; fields given here replace its own."""
    return {
        "task_id": task_id,
        "bot_id": "bot1",
        "bot_dimensions": {"id": ["bot1"], "pool": ["default"]},
        "dimensions": {"pool": "default"},
        "command": command or ["true"],
        "env": {},
        "env_prefixes": {},
        "caches": [],
        "relative_cwd": None,
        "grace_period": 5,
        "hard_timeout": 60,
        "io_timeout": 60,
        **fields,
    }


@dataclass
class Call:
    """One request, and when it came."""

    t: float
    path: str  # without the API's prefix
    body: Body
    raw: bytes
    headers: dict[str, str]
    answer: Any = None


@dataclass
class FakeServer:
    """Answers polls from `script`, then with sleep; other calls in a friendly way unless `on` says otherwise.

    Every answer to a POST carries a new session token, unless it has one.
    """

    script: list[Any] = field(default_factory=list)  # answers to polls, in order; a callable is asked
    on: dict[str, Callable[[Call], Answer | None]] = field(default_factory=dict)  # by first part of the path
    calls: list[Call] = field(default_factory=list)
    port: int = 0

    def __enter__(self) -> FakeServer:
        self._changed = threading.Condition()
        self._token = 0
        self._polled: dict[str, Any] = {}
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Listens, on the same port as before if it did before."""
        server = self

        class Handler(_Handler):
            fake = server

        self._http = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._http.daemon_threads = True
        self.port = self._http.server_address[1]
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Is gone; connections are refused."""
        self._http.shutdown()
        self._http.server_close()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def give(self, *runs: Body) -> None:
        """The next polls get these manifests."""
        with self._changed:
            self.script += [{"cmd": "run", "manifest": run} for run in runs]

    def named(self, name: str) -> list[Call]:
        """Calls whose path begins with this part, e.g. `poll`."""
        with self._changed:
            return [call for call in self.calls if call.path.split("/")[0] == name]

    def updates(self, task_id: str) -> list[Body]:
        """Bodies of a task's updates, as they came."""
        return [call.body for call in self.named("task_update") if call.path.endswith("/" + task_id)]

    def output(self, task_id: str) -> bytes:
        """A task's output, put together by offset."""
        data = bytearray()
        for update in self.updates(task_id):
            if "output" in update:
                start, piece = update["output_chunk_start"], base64.b64decode(update["output"])
                assert start <= len(data), "a hole in the output"
                data[start : start + len(piece)] = piece
        return bytes(data)

    def wait_for(self, what: Callable[[], Any], timeout_s: float = 10.0) -> Any:
        """Waits until `what()` is true, and returns it."""
        until = time.monotonic() + timeout_s
        while True:
            found = what()
            if found:
                return found
            left_s = until - time.monotonic()
            assert left_s > 0, f"nothing came; calls: {[(c.path, sorted(c.body)) for c in self.calls][-12:]}"
            with self._changed:
                self._changed.wait(min(left_s, 0.1))

    def end_of(self, task_id: str, timeout_s: float = 10.0) -> Body:
        """The update that ended a task."""
        ends = ("exit_code", "canceled")
        return self.wait_for(lambda: [u for u in self.updates(task_id) if any(e in u for e in ends)], timeout_s)[0]

    def next_poll(self) -> Call:
        """The first poll that comes from now on."""
        seen = len(self.named("poll"))
        return self.wait_for(lambda: self.named("poll")[seen:])[0]

    def answer(self, call: Call) -> Answer:
        """Notes a call and answers it."""
        name = call.path.split("/")[0]
        chosen = self.on[name](call) if name in self.on else None
        status, body = chosen or (200, self._usual(name, call))
        if status == 200 and isinstance(body, dict):
            with self._changed:
                self._token += 1
            body = {"session": f"token-{self._token}", **body}
        call.answer = body
        with self._changed:
            self.calls.append(call)
            self._changed.notify_all()
        return status, body

    def _usual(self, name: str, call: Call) -> Any:
        if name == "poll":
            with self._changed:
                chosen = self.script.pop(0) if self.script else IDLE
            return chosen(call) if callable(chosen) else dict(chosen)
        if name == "task_update":
            return {"ok": True, "must_stop": False}
        return {"resp": 1} if name == "task_error" else {}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 65536  # head and body in one segment: nothing waits for an acknowledgement
    fake: FakeServer

    def do_GET(self) -> None:
        self._serve(b"")

    def do_POST(self) -> None:
        self._serve(self.rfile.read(int(self.headers["Content-Length"])))

    def _serve(self, raw: bytes) -> None:
        body = json.loads(raw) if raw else {}
        headers = {key.lower(): value for key, value in self.headers.items()}
        status, answer = self.fake.answer(Call(time.monotonic(), self.path.removeprefix(API), body, raw, headers))
        if answer is None:
            self.close_connection = True
            return
        data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        kind = "text/html" if isinstance(answer, bytes) else "application/json"
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
        self.wfile.flush()

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):  # a bot that was killed
            super().handle()

    def log_message(self, *_: object) -> None:
        pass
