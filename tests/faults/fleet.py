"""What the fault tests start and look at: a server of two workers that gets killed, its API, its records, real bots."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
import urllib.request
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from client.api import Api, is_final, state_name
from client.prpc import PrpcClient, Retry
from server.documents import dump_yaml
from server.proto import swarming_pb2 as swarming
from server.records import key_of
from server.records.pool import PoolGate
from server.records.task import TaskResult
from server.store.client import Store
from tests.bot_process import BotProcess
from tests.server_process import ROOT, ServerProcess, is_running, kill

POOL = "local"
QUICK = {
    "mode": "live",
    "min_idle_s": 0,
    "utilization_for_s": 0,
    "reserve_min": 0,
    "reserve_share": 0,
    "background_share": 1,
    "spec_share": 1,
    "value_threshold": 0,
    "holdout_share": 0,
    "affinity_hold_s": 0,
    "bot_backoff_s": 0,
    "sleep_min_s": 0.2,
    "sleep_max_s": 1,
    "held_poll_s": 2,
    "claim_timeout_s": 5,
    "foreign_claim_timeout_s": 5,
    "hand_outs_per_min": 10_000,
}
"""A pool in which everything happens soon, and any idle bot may be prewarmed."""
PATIENT = Retry(first_s=0.1, longest_s=1.0, total_s=60.0)


class FaultServer(ServerProcess):
    """A server of two workers, by default on an embedded store of its own."""

    def __init__(
        self,
        folder: Path,
        *,
        config: Mapping[str, Any] | None = None,
        faulty: bool = False,
        environ: Mapping[str, str] | None = None,
        workers: int = 2,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.faults = folder / "faults"
        self.faults.mkdir(exist_ok=True)
        config_file = folder / "config.yaml"
        config_file.write_text(dump_yaml({"defaults": {**QUICK, **(config or {})}}))
        settings = {"PILOTLIGHT_CONFIG_FILE": str(config_file), "FAULT_FOLDER": str(self.faults), **(environ or {})}
        super().__init__(folder / "data", environ=settings)
        self._program = ["-m", "tests.faults.faulty_server"] if faulty else ["main.py"]
        self._workers = workers

    def start(self) -> None:
        """Starts it, again if it ran before; does not wait."""
        place = [] if "PILOTLIGHT_STORE_URL" in self._environ else ["--data", str(self.data)]
        command = [sys.executable, *self._program, "serve", "--port", str(self.port), *place]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--workers", str(self._workers)], cwd=ROOT, env=self._environ, stderr=log
            )

    def wait_for_all_workers(self) -> None:
        """Waits until every worker is there."""
        self.wait_until_ready()
        wait_for(lambda: len(self.workers()) == self._workers, 10.0, "all workers")

    def kill_master(self) -> list[int]:
        """Kills the master alone; returns the processes of the generation that it leaves behind."""
        left = self.workers()
        kill(self.process.pid)
        self.process.wait()
        return left

    def arm(self, fault: str) -> Path:
        """Asks for a fault of `faulty_server`; returns the file that is there until it has happened."""
        file = self.faults / fault
        file.touch()
        return file

    def api(self, url: str = "") -> Api:
        """A client that does not give up soon; `url` puts a proxy between."""
        return Api(PrpcClient(url or self.url, timeout_s=20.0, retry=PATIENT, rng=random.Random(1)))

    @contextmanager
    def records(self) -> Iterator[Store]:
        """The store itself, beside the server."""
        store = Store.open(f"embedded:{self.data}")
        try:
            with store.context():
                yield store
        finally:
            store.close()

    def gate_entries(self, pool: str = POOL) -> list[dict[str, Any]]:
        """The background runs that the pool's gate counts."""
        with self.records():
            gate = key_of(PoolGate, pool).get()
        return list(gate.entries) if gate else []

    def result(self, task_id: str) -> TaskResult:
        """A task's record, with what the API does not show."""
        with self.records():
            return key_of(TaskResult, task_id).get()


class Bot(BotProcess):
    """A bot of ours, from the zip that the server hands out."""

    def __init__(self, url: str, folder: Path, bot_id: str, code: Path, *arguments: str, pool: str = POOL) -> None:
        server: Any = _At(url)
        super().__init__(server, folder, "--id", bot_id, "--pool", pool, *arguments, code=code)
        self.bot_id = bot_id
        self._log = folder.parent / f"{folder.name}.log"

    def start(self) -> None:
        """Starts, again if it ran before; what it says is kept beside its folder."""
        with self._log.open("ab") as log:
            environ = {**os.environ, "PYTHONUNBUFFERED": "1"}
            self.process = subprocess.Popen(self._command, cwd=ROOT, env=environ, stderr=log)

    def kill(self) -> None:
        """Kills the bot's own process; a task that it runs goes on by itself."""
        self.process.kill()
        self.process.wait()

    def wait_for(self, event: str, timeout_s: float = 15.0) -> dict[str, Any]:
        """Waits for the first such line of the journal."""
        there = (self.dir / "journal.jsonl").exists
        wait_for(lambda: there() and self.journal(event), timeout_s, f"{event} in a journal")
        return self.journal(event)[0]

    def said(self) -> str:
        """What it wrote to its standard error."""
        return self._log.read_text() if self._log.exists() else ""


class _At:
    """What a BotProcess wants to know of its server."""

    def __init__(self, url: str) -> None:
        self.url = url


def bot_code(server: ServerProcess, folder: Path) -> Path:
    """The zip of `GET /bot_code`."""
    target = folder / "bot.zip"
    with urllib.request.urlopen(f"{server.url}/bot_code", timeout=10) as answer:
        target.write_bytes(answer.read())
    return target


def task(
    *command: str, name: str = "", priority: int = 100, grace_s: int = 1, tags: Iterable[str] = (), **dimensions: str
) -> swarming.NewTaskRequest:
    """A request for a task of the pool, with a request id of its own."""
    wanted = {"pool": POOL, **dimensions}
    properties = swarming.TaskProperties(
        command=command or ("true",),
        dimensions=[swarming.StringPair(key=key, value=value) for key, value in wanted.items()],
        execution_timeout_secs=300,
        grace_period_secs=grace_s,
    )
    piece = swarming.TaskSlice(properties=properties, expiration_secs=600, wait_for_capacity=True)
    return swarming.NewTaskRequest(
        name=name or "task", priority=priority, task_slices=[piece], tags=tags, user="t", request_uuid=str(uuid.uuid4())
    )


def spec(family: str = "src", *command: str, grace_s: int = 1, **fields: Any) -> dict[str, Any]:
    """A prewarm spec that every idle bot is worth warming for."""
    return {
        "family": family,
        "generation": "g1",
        "pool": POOL,
        "makes": {"named_cache": family.replace("-", "_")},
        "task": {
            "command": list(command) or ["sleep", "60"],
            "caches": [{"name": family.replace("-", "_"), "path": "c"}],
            "grace_period_s": grace_s,
        },
        "cold_cost_s": 3600,
        "warm_cost_s": 0,
        "run_s": 1,
        "expected_per_h": 100_000,
        **fields,
    }


def state(api: Api, task_id: str) -> str:
    """The task's state by its name."""
    return state_name(api.result(task_id))


def wait_for_state(api: Api, task_id: str, wanted: str, timeout_s: float = 20.0) -> swarming.TaskResultResponse:
    """Waits until the task is in that state."""
    wait_for(lambda: state(api, task_id) == wanted, timeout_s, f"{wanted} of task {task_id}")
    return api.result(task_id)


def wait_for_ends(api: Api, task_ids: list[str], timeout_s: float) -> dict[str, str]:
    """Waits until all tasks are final; returns their states."""
    deadline_s = time.monotonic() + timeout_s
    while True:
        found = dict(zip(task_ids, api.results(task_ids), strict=True))
        open_tasks = {task_id: state_name(result) for task_id, result in found.items() if not is_final(result)}
        if not open_tasks:
            return {task_id: state_name(result) for task_id, result in found.items()}
        if time.monotonic() >= deadline_s:
            raise AssertionError(f"not within {timeout_s} s: the ends of {open_tasks}")
        time.sleep(0.2)


def wait_for(happened: Callable[[], Any], timeout_s: float, what: str) -> None:
    """Waits for something that real processes do, asking ten times a second."""
    deadline_s = time.monotonic() + timeout_s
    while not happened():
        assert time.monotonic() < deadline_s, f"not within {timeout_s} s: {what}"
        time.sleep(0.1)


def starts(bots: Iterable[BotProcess]) -> Counter[str]:
    """How often user code of each task was started, by what the bots wrote down themselves."""
    found: Counter[str] = Counter()
    for bot in bots:
        found.update(f"{line['task_id'][:-1]}0" for line in bot.journal("start"))
    return found


def started_twice(bots: Iterable[BotProcess]) -> dict[str, int]:
    """Tasks whose user code was started more than once; must be empty."""
    return {task_id: times for task_id, times in starts(bots).items() if times > 1}


def assert_only_this_generation_answers(server: ServerProcess, times: int = 40) -> None:
    """Whoever answers is a living worker of the present master."""
    present = server.wait_until_ready()["generation"]
    for _ in range(times):
        health = server.health()
        assert health is not None and health["generation"] == present
        assert health["pid"] in server.workers()


def assert_all_gone(pids: Iterable[int], within_s: float = 5.0) -> None:
    """Processes of an old generation do not run any more."""
    wait_for(lambda: not [pid for pid in pids if is_running(pid)], within_s, "the old generation is gone")

