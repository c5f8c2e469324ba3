"""One deployment for all tests of a file: two instances, two bots, Google's side, an emulator."""

from __future__ import annotations

import contextlib
import json
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from client.api import Api
from client.prpc import PrpcClient
from server.records import key_of
from server.records.pool import PoolGate
from server.store.client import Store
from tests.app_engine.browser import Browser
from tests.app_engine.deployment import ADMIN_TOKEN, BOT_SECRET, Instance, described, upload
from tests.app_engine.google_side import CloudTasks, FrontEnd, cron, cron_urls
from tests.emulator import HOST_VARIABLE, emulator  # noqa: F401 -- the second is a fixture
from tests.faults.fleet import PATIENT, Bot

POOL = "local"
QUICK = {
    "mode": "live",
    "min_idle_s": "0",
    "utilization_stop": "1",
    "utilization_start": "0.99",
    "utilization_for_s": "0",
    "reserve_min": "0",
    "reserve_share": "0",
    "background_share": "1",
    "spec_share": "1",
    "value_threshold": "0",
    "holdout_share": "0",
    "affinity_hold_s": "5",
    "bot_backoff_s": "0",
    "sleep_min_s": "0.2",
    "sleep_max_s": "1",
    "keep_alive_s": "1",
    "claim_timeout_s": "5",
    "foreign_claim_timeout_s": "5",
}
"""Pools in which everything happens soon, as the form takes it."""
SPEC = {
    "generation": "g1",
    "pool": POOL,
    "cold_cost_s": "3600",
    "warm_cost_s": "0",
    "run_s": "1",
    "expected_per_h": "100000",
    "task.grace_period_s": "1",
}
"""A spec that every idle bot is worth warming for."""


@dataclass
class App:
    """The application as its users see it: through instance `a`, instance `b`, or the front end."""

    project: str
    datastore: str
    folder: Path
    files: Path
    cloud: CloudTasks
    instances: list[Instance]
    front: FrontEnd
    browser: Browser
    bots: dict[str, Bot] = field(default_factory=dict)
    _tries: Counter[str] = field(default_factory=Counter)

    @property
    def a(self) -> Instance:
        """One instance; bot-a polls it."""
        return self.instances[0]

    @property
    def b(self) -> Instance:
        """The other one; bot-b polls it."""
        return self.instances[1]

    def api(self, instance: Instance | None = None, token: str = ADMIN_TOKEN) -> Api:
        """A client of one instance, or of the front end."""
        url = instance.url if instance else self.front.url
        return Api(PrpcClient(url, token, timeout_s=20.0, retry=PATIENT))

    def bot(self, bot_id: str, url: str, *arguments: str) -> Bot:
        """A bot of ours, from the zip that this address hands out."""
        secret = self.folder / "bot-secret"
        secret.write_text(BOT_SECRET)
        return Bot(url, self.folder / bot_id, bot_id, self.folder / "bot.zip", "--secret-file", str(secret), *arguments)

    def fleet(self, instance: Instance) -> dict[str, Any]:
        """`GET /api/v1/fleet` of one instance."""
        return self.api(instance).get("/fleet").body

    def warm(self, instance: Instance, family: str) -> dict[str, list[str]]:
        """Generation → bots that are warm for it, as one instance tells."""
        found: dict[str, list[str]] = {}
        for bot in self.fleet(instance)["bots"]:
            for slot in bot["slots"].values():
                if slot["family"] == family and slot["phase"] in ("warm", "in_use"):
                    found.setdefault(slot["generation"], []).append(bot["id"])
        return found

    def gate_entries(self) -> list[dict[str, Any]]:
        """The background runs that the pool's gate counts."""
        store = Store.open(f"datastore:{self.project}")
        try:
            with store.context():
                gate = key_of(PoolGate, POOL).get()
                return list(gate.entries) if gate else []
        finally:
            store.close()

    def why(self, instance: Instance, bot_id: str) -> str:
        """Why a bot does what it does, as one instance tells."""
        return json.dumps(self.api(instance).get(f"/why/bots/{bot_id}").body, indent=1)

    @contextlib.contextmanager
    def registered(self, instance: Instance, stem: str, *command: str, **fields: str) -> Iterator[str]:
        """A spec, registered in the form at one instance; retired in the end, and none of its runs left.

        Gives its family, another one for each try of a test: what was retired is not registered again.
        """
        self._tries[stem] += 1
        family = stem if self._tries[stem] == 1 else f"{stem}{self._tries[stem]}"
        given = {name.replace("__", "."): text for name, text in fields.items()}
        made = {"family": family, "slot": family, "makes.named_cache": family, "task.caches": f"{family}: c"}
        page = self.browser.send(
            f"{instance.url}/specs/new", {**SPEC, **made, "task.command": "\n".join(command), **given}
        )
        assert page.status == 303, page.text
        try:
            yield family
        finally:
            self.browser.send(f"{instance.url}/specs/{family}", {}, f"{instance.url}/specs/{family}/retire")
            wait_for(lambda: not self.gate_entries(), 15.0, f"no run of {family} is left")


@pytest.fixture(scope="module")
def app(emulator: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:  # noqa: F811
    """Two instances that share a Datastore, each with a bot, and the pool's config set in the form."""
    folder = tmp_path_factory.mktemp("app-engine")
    with contextlib.ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setenv(HOST_VARIABLE, emulator)
        made = stack.enter_context(deployed(folder, emulator))
        configure(made)
        bot_code_of(made)
        for bot_id, instance in (("bot-a", made.a), ("bot-b", made.b)):
            made.bots[bot_id] = stack.enter_context(made.bot(bot_id, instance.url))
        wait_for(lambda: len(made.fleet(made.b)["bots"]) == 2, 15.0, "both bots are there")
        yield made


@contextlib.contextmanager
def deployed(folder: Path, datastore: str) -> Iterator[App]:
    """Two instances with what is around them, warmed up, rung by cron; no bots."""
    project = f"app-engine-{time.time_ns()}"
    files = upload(folder / "files")
    queue = described()["env_variables"]["PILOTLIGHT_CLOUD_TASKS_QUEUE"].replace("$GOOGLE_CLOUD_PROJECT", project)
    with contextlib.ExitStack() as stack:
        cloud = stack.enter_context(CloudTasks(queue, []))
        instances = [
            Instance(name, files, project, datastore=datastore, cloud_tasks=cloud.host)
            for name in ("instance-a", "instance-b")
        ]
        cloud.urls += [instance.url for instance in instances]
        for instance in instances:
            instance.start()
            stack.push(instance)
        for instance in instances:
            instance.wait_until_ready(30.0)
        front = stack.enter_context(FrontEnd(cloud.urls))
        yield App(project, datastore, folder, files, cloud, instances, front, Browser(ADMIN_TOKEN))


def configure(app: App) -> None:
    """Sets the config of all pools in the form, as an administrator would; cron comes for the first time."""
    page = app.browser.send(f"{app.a.url}/config/defaults", QUICK)
    assert page.status == 303, page.text
    for path in cron_urls():
        assert cron(app.a.url, path) == 200


def bot_code_of(app: App) -> None:
    """Fetches the bot's zip with the bots' secret."""
    request = urllib.request.Request(f"{app.a.url}/bot_code", headers={"Authorization": f"Bearer {BOT_SECRET}"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        (app.folder / "bot.zip").write_bytes(answer.read())


def wait_for(happened: Callable[[], Any], timeout_s: float, what: str | Callable[[], str]) -> Any:
    """Waits for something that real processes do, ten times a second; what it is."""
    deadline_s = time.monotonic() + timeout_s
    while True:
        found = happened()
        if found:
            return found
        if time.monotonic() > deadline_s:
            raise AssertionError(f"not within {timeout_s:g} s: {what if isinstance(what, str) else what()}")
        time.sleep(0.1)
