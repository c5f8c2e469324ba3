"""A bot at the wire: it sends what a test tells it, and keeps the newest token."""

from __future__ import annotations

import base64
import json
from typing import Any

from webtest import TestApp as WebApp

import main
from tests.life_world import LifeWorld

API = "/swarming/api/v1/bot"
JSON = {"Content-Type": "application/json; charset=UTF-8"}


class WireBot:
    """A bot that calls the processes of a world over HTTP, the first one unless told otherwise."""

    def __init__(self, world: LifeWorld, bot_id: str = "bot1", process: int = 0) -> None:
        self.world, self.bot_id = world, bot_id
        self._process = process
        self._apps: dict[int, WebApp] = {}
        self._app(process)
        self.session = ""
        self.run = ""

    def _app(self, process: int) -> WebApp:
        if process not in self._apps:
            app = main.create_app(self.world.services[process])
            self._apps[process] = WebApp(app, extra_environ={"REMOTE_ADDR": "127.0.0.1"})
        return self._apps[process]

    def report(self, **changes: Any) -> dict[str, Any]:
        dimensions = {"id": [self.bot_id], "pool": ["p"]}
        return {"dimensions": dimensions, "state": {"pilotlight_bot": "1"}, "version": "v1", **changes}

    def post(self, path: str, body: Any, status: Any = 200, process: int | None = None) -> Any:
        app = self._app(self._process if process is None else process)
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        answer = app.post(path, data, headers=JSON, status="*" if status is None else status)
        assert answer.content_type == "application/json"
        if answer.status_int == 200 and answer.json.get("session"):
            self.session = answer.json["session"]
        return answer

    def handshake(self, **changes: Any) -> Any:
        return self.post(f"{API}/handshake", self.report(session_id=f"{self.bot_id}/1", **changes))

    def poll(self, status: Any = 200, **changes: Any) -> Any:
        answer = self.post(f"{API}/poll", self.report(session=self.session, request_uuid="u", **changes), status)
        if answer.status_int == 200 and answer.json["cmd"] == "run":
            self.run = answer.json["manifest"]["task_id"]
        return answer

    def update(self, status: Any = 200, process: int | None = None, **fields: Any) -> Any:
        body = {"id": self.bot_id, "task_id": self.run, "session": self.session, "cost_usd": 0.1, **fields}
        return self.post(f"{API}/task_update/{self.run}", body, status, process)


def b64(data: bytes) -> str:
    """Bytes as updates carry them."""
    return base64.b64encode(data).decode()
