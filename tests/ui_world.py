"""A server with its pages, as a person's browser sees it; bots and tasks come in over the same HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
from webtest import TestApp, TestResponse

import main
from server import config
from server.records.pool import PoolGate
from tests.server_world import World

SPEC = {
    "family": "my-src",
    "generation": "r1",
    "pool": "local",
    "makes.named_cache": "my_src",
    "task.command": "python3\nsync.py",
    "task.caches": "my_src: src",
    "cold_cost_s": "100",
    "run_s": "30",
}
"""A good spec as the form sends it."""


class Pages(World):
    """One process with pages, and the browser."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        super().__init__(folder, **settings)
        self.service = self.process()
        config.ensure_first(self.service)
        self.app = TestApp(main.create_app(self.service))

    def get(self, address: str, status: int | str = 200) -> TestResponse:
        """A page."""
        return self.app.get(address, status=status)

    def send(self, page: str, fields: dict[str, str], address: str = "", status: int | str = "*") -> TestResponse:
        """Sends a form with the signature of the page on which it stands."""
        token = self.get(page).html.find("input", attrs={"name": "csrf_token"})["value"]
        return self.app.post(address or page, {"csrf_token": token, **fields}, status=status)

    def bot(self, bot_id: str = "b1", pool: str = "local", **state: Any) -> dict[str, Any]:
        """A bot calls, for the first time or again; what it is told."""
        dimensions = {"id": [bot_id], "pool": [pool], "os": ["Linux"], **state.pop("dimensions", {})}
        body = {"id": bot_id, "dimensions": dimensions, "state": state, "version": "1"}
        return self.app.post_json("/poll", body).json

    def breaks(self, family: str = "my-src", pool: str = "local") -> None:
        """The family's circuit breaker opens, as after three runs that failed."""
        broken = {"failures": 3, "bots": ["b1", "b2", "b3"], "open_since_s": 1.0}
        with self.store.context():
            why = "3 runs in a row failed on 3 bots"
            PoolGate(id=pool, breakers={family: {**broken, "why": why}}).put()
        self.clock.advance(2)

    def task(self, pool: str = "local", name: str = "build") -> str:
        """A real task is created; its id."""
        dimensions = [{"key": "pool", "value": pool}]
        properties = {
            "command": ["true"],
            "dimensions": dimensions,
            "execution_timeout_secs": 60,
            "grace_period_secs": 30,
        }
        piece = {"expiration_secs": 600, "properties": properties}
        body = {"name": name, "priority": 100, "task_slices": [piece]}
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        answer = self.app.post_json("/prpc/swarming.v2.Tasks/NewTask", body, headers=headers)
        return str(_json(answer)["taskId"])


def _json(answer: TestResponse) -> dict[str, Any]:
    return orjson.loads(answer.body.removeprefix(b")]}'\n"))


def text(page: TestResponse) -> str:
    """The words of a page, white space as one blank."""
    return " ".join(page.html.get_text(" ").replace("\u00a0", " ").split())


def error_at(page: TestResponse, field: str) -> str:
    """What the form says is wrong with a field, "" if nothing."""
    control = page.html.find(attrs={"name": field})
    place = control.find_parent(class_=["fld", "savebar"]) if control else None
    found = place.find(class_="err") if place else None
    return " ".join(found.get_text(" ").split()) if found else ""


def value_of(page: TestResponse, field: str) -> str:
    """What stands in a field of a form."""
    control = page.html.find(attrs={"name": field})
    if control.name == "select":
        chosen = control.find("option", selected=True)
        return chosen["value"] if chosen else ""
    return control.get_text() if control.name == "textarea" else control.get("value", "")
