"""Replays what a real Swarming bot sent: its requests as recorded, with our task's id and our tokens put in."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from webtest import TestApp

from server import task_scheduler
from tests.life_world import LifeWorld

FOLDER = Path(__file__).parent / "recordings" / "bot"
RECORDED_TASK = "5e0c7a8f3b2d1011"


class Replay:
    """One recording against one server. `answers` are ours, in order, beside those that the bot was given then."""

    def __init__(self, world: LifeWorld, name: str) -> None:
        import main

        self.world = world
        local = {"REMOTE_ADDR": "127.0.0.1", "HTTP_HOST": "localhost"}
        self.app = TestApp(main.create_app(world.p1), extra_environ=local)
        self.calls = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))["calls"]
        self.task_id = ""
        self.output = b""
        self.answers: list[tuple[dict[str, Any], dict[str, Any]]] = []
        self._session = ""

    def run(self) -> Replay:
        """Sends every request; a task is made, or killed, before the request whose recorded answer shows it."""
        for call in self.calls:
            recorded = call["response"] if isinstance(call.get("response"), dict) else {}
            if recorded.get("cmd") == "run":
                self.task_id = self.world.new_task(dimensions={"pool": call["body"]["dimensions"]["pool"][0]})
            if recorded.get("must_stop") and self.task_id:
                task_scheduler.cancel(self.world.p1, self.task_id, kill_running=True)
            if call["method"] == "GET":
                assert self.app.get(call["path"]).status_int == 200
            else:
                self._post(call, recorded)
            self.world.clock.advance(1.0)
        return self

    def _post(self, call: dict[str, Any], recorded: dict[str, Any]) -> None:
        body = dict(call["body"])
        if body.get("session"):
            body["session"] = self._session
        if "task_id" in body:
            body["task_id"] = self.task_id[:-1] + "1"
        if isinstance(body.get("output"), dict):
            body["output"] = base64.b64encode(b"x" * body["output"]["bytes"]).decode()
        if body.get("output"):
            offset, data = body.get("output_chunk_start", 0), base64.b64decode(body["output"])
            self.output = self.output[:offset].ljust(offset, b"\0") + data
        path = call["path"].replace(RECORDED_TASK, self.task_id[:-1] + "1")
        answer = self.app.post_json(path, body).json
        self._session = answer.get("session") or self._session
        self.answers.append((recorded, answer))

    def result(self) -> Any:
        """What became of the task, from the store."""
        return self.world.result(self.task_id)

