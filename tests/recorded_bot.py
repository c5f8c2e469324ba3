"""Recorded calls of a real LUCI Swarming bot, and their replay against our server."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from webtest import TestApp as WebApp

import main
from server import task_output, task_request, task_scheduler
from server.access import LOCAL_USER
from server.records import key_of
from server.records.task import TaskResult
from server.task_ids import run_id
from server.task_properties import NewTask
from tests.server_world import World

FOLDER = Path(__file__).parent / "recordings" / "bot"
API = "/swarming/api/v1/bot"
RECORDED_RUN = "5e0c7a8f3b2d1011"
HEADERS = {"Content-Type": "application/json; charset=UTF-8", "X-Luci-Swarming-Bot-ID": "bot1"}


def calls(name: str) -> list[dict[str, Any]]:
    """The calls of one recording, in order."""
    return json.loads((FOLDER / f"{name}.json").read_text("utf-8"))["calls"]


def names() -> list[str]:
    """All recordings."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


@dataclass(frozen=True)
class Exchange:
    """One recorded call, what our server answered, and what it had answered in the recording."""

    name: str
    body: dict[str, Any]
    ours: dict[str, Any]
    theirs: dict[str, Any]


@dataclass
class Replay:
    """Sends a bot's recorded requests to our server, with our ids and tokens in them.

    The session token is the newest one that our server gave, as the recorded bot and its runner keep it. A task like
    the recorded one is made just before the poll that is to get it. Where the recorded server began to say `must_stop`,
    somebody cancels the task.
    """

    world: World
    exchanges: list[Exchange] = field(default_factory=list)
    task_id: str = ""
    tokens_used: list[str] = field(default_factory=list)
    canceled: tuple[bool, bool] | None = None
    """What the client was told that canceled the task: (canceled, was running)."""
    output: bytes = b""
    """What the bot sent of it, put together."""

    def __post_init__(self) -> None:
        self.service = self.world.process()
        self._app = WebApp(main.create_app(self.service), extra_environ={"REMOTE_ADDR": "127.0.0.1"})
        self._token = ""

    def play(self, name: str, begin: int = 0, end: int | None = None) -> Replay:
        """Replays all of a recording, or the calls from `begin` to before `end`, at its pace."""
        last_s = calls(name)[begin]["t"]
        for call in calls(name)[begin:end]:
            self.world.clock.advance(call["t"] - last_s)
            last_s = call["t"]
            theirs = call["response"]
            if theirs.get("cmd") == "run":
                self._make_task(theirs["manifest"])
            if theirs.get("must_stop") and self.canceled is None:
                self.canceled = task_scheduler.cancel(self.service, self.task_id, True)
            self._send(call, theirs)
        return self

    def _send(self, call: dict[str, Any], theirs: dict[str, Any]) -> None:
        ours_run = run_id(self.task_id) if self.task_id else ""
        path = call["path"].replace(RECORDED_RUN, ours_run)
        if call["method"] == "GET":
            self._app.get(path, status=200)
            return
        body = self._our_body(dict(call["body"]), ours_run)
        text = json.dumps(body, sort_keys=True)
        ours = self._app.post(path, text, headers=HEADERS, status=call["response_status"]).json
        self._token = ours.get("session", self._token)
        self.exchanges.append(Exchange(path.removeprefix(f"{API}/").split("/")[0], body, ours, theirs))

    def _our_body(self, body: dict[str, Any], ours_run: str) -> dict[str, Any]:
        if body.get("session"):
            body["session"] = self._token
            self.tokens_used.append(self._token)
        if "task_id" in body:
            body["task_id"] = ours_run
        if isinstance(body.get("output"), dict):  # bytes that were left out of the recording
            start, length = body["output_chunk_start"], body["output"]["bytes"]
            body["output"] = base64.b64encode(bytes((start + i) % 251 for i in range(length))).decode()
        if body.get("output"):
            at, data = body["output_chunk_start"], base64.b64decode(body["output"])
            self.output = self.output[:at].ljust(at, b"\0") + data
        return body

    def _make_task(self, manifest: dict[str, Any]) -> None:
        properties = {
            "command": manifest["command"],
            "dimensions": [{"key": key, "value": value} for key, value in manifest["dimensions"].items()],
            "env": [{"key": key, "value": value} for key, value in manifest["env"].items()],
            "env_prefixes": [{"key": key, "value": value} for key, value in manifest["env_prefixes"].items()],
            "caches": [{"name": cache["name"], "path": cache["path"]} for cache in manifest["caches"]],
            "relative_cwd": manifest["relative_cwd"] or "",
            "outputs": manifest["outputs"],
            # A real client cannot ask for less than half a minute; the recording's test server could.
            "execution_timeout_secs": max(30, manifest["hard_timeout"]),
            "io_timeout_secs": max(30, manifest["io_timeout"]),
            "grace_period_secs": manifest["grace_period"],
        }
        piece = {"properties": properties, "expiration_secs": 600}
        wanted = NewTask.model_validate({"name": "recorded", "priority": 100, "task_slices": [piece]})
        self.task_id = task_request.new_task(self.service, LOCAL_USER, wanted).request.task_id

    # ---- afterwards

    def of(self, name: str) -> list[Exchange]:
        """All calls of one kind: handshake, poll, task_update, …"""
        return [exchange for exchange in self.exchanges if exchange.name == name]

    def result(self) -> TaskResult:
        """The task as it stands in the store."""
        with self.world.store.context():
            return key_of(TaskResult, self.task_id).get()

    def stored_output(self) -> bytes:
        """The task's output as a client reads it."""
        return task_output.read(self.service, self.task_id)
