"""A fleet in one interpreter: two processes of the server on one store, bots as recorded, a clock that the test moves.

A `Machine` does what a bot does with its tokens: main takes the token of each answer, hands it to the runner of a run,
and takes the runner's last one back.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from server import bot_management, bot_report, prewarm_gate, prewarm_spec, task_request, task_scheduler, task_to_run
from server import config as server_config
from server import task_update as updates
from server.access import LOCAL_USER
from server.bot_session import Token
from server.policy.model import Purpose
from server.policy.outcome import HandOut, PoolPlan
from server.records import Record, key_of
from server.records.bot import Bot
from server.records.pool import PoolGate
from server.records.task import TaskResult, TaskToRun
from server.service import Service
from server.sweep_schedule import Beat
from server.task_properties import NewTask
from server.task_scheduler import Delivery, EndReport
from server.task_to_run import Answer
from server.task_update import Update, UpdateAnswer
from tests import server_world, specs

POOL = "p"
FAMILY = "src"
LIVE = {
    "mode": "live",
    "reserve_share": 0.0,
    "reserve_min": 0,
    "background_share": 1.0,
    "spec_share": 1.0,
    "min_idle_s": 0,
    "utilization_stop": 1.0,
    "utilization_start": 0.99,
    "utilization_for_s": 0,
    "max_background_grace_s": 10,
    "holdout_share": 0,
}
"""Settings of a pool in which every idle bot may be prewarmed at once."""
KEEP_ALIVE_S = 10.0


class LifeWorld(server_world.World):
    """Processes `p1` and `p2` on one store; more by `process()`."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        super().__init__(folder, **{"free_disk_floor_bytes": 0, **settings})
        self.p1 = self.process("p1")
        self.p2 = self.process("p2")
        self.services = [self.p1, self.p2]

    def fresh(self, *services: Service) -> None:
        """These processes (all, if none is named) see the fleet as it is."""
        for service in services or self.services:
            service.view.refresh(force=True)

    def freeze(self, service: Service) -> None:
        """That process sees nothing of what others do from now on."""
        service.view.refresh = lambda **options: False  # type: ignore[method-assign]
        service.view.catch_up = service.view.standing  # type: ignore[method-assign]

    def configure(self, **changes: Any) -> None:
        """Saves settings for every pool."""
        body = {"defaults": {**self.p1.config.current.defaults.model_dump(), **changes}}
        server_config.save_config(self.p1, LOCAL_USER, body, self.p1.config.refresh(self.p1).config_revision)
        self.fresh()

    def prewarming(self, family: str = FAMILY, **changes: Any) -> None:
        """A pool that hands out, and one spec in it."""
        if self.p1.config.pool(POOL).mode != "live":
            self.configure(**LIVE)
        prewarm_spec.create(self.p1, LOCAL_USER, spec_body(family, **changes))
        self.fresh()

    # ---- tasks

    def new_task(self, service: Service | None = None, **changes: Any) -> str:
        """A task for pool p, known to all processes; its id. Later ones are younger."""
        self.clock.advance(0.001)
        created = task_request.new_task(service or self.p1, LOCAL_USER, task_input(**changes))
        self.fresh()
        return created.request.task_id

    def cancel(self, task_id: str, service: Service | None = None, kill: bool = True) -> tuple[bool, bool]:
        """(canceled, was_running)."""
        return task_scheduler.cancel(service or self.p1, task_id, kill)

    # ---- records

    def record(self, kind: type[Record], key: str) -> Any:
        """A record as it stands in the store."""
        with self.store.context():
            return key_of(kind, key).get()

    def result(self, task_id: str) -> TaskResult:
        return self.record(TaskResult, task_id)

    def state(self, task_id: str) -> str:
        """The state that clients see."""
        return self.result(task_id).state

    def queue(self, task_id: str) -> str:
        """Where the task stands in the queue; "none" for a task that never was in it."""
        found = self.record(TaskToRun, task_id)
        return found.status if found else "none"

    def bot(self, bot_id: str = "bot1") -> Bot:
        return self.record(Bot, bot_id)

    def holds(self, bot_id: str = "bot1") -> str:
        """The task whose run the bot holds, "" for none."""
        bot = self.bot(bot_id)
        return bot.held["task"] if bot and bot.held else ""

    def gate(self) -> PoolGate:
        return self.record(PoolGate, POOL)

    def entries(self) -> list[str]:
        """Tasks of the gate's entries."""
        gate = self.gate()
        return [entry["task"] for entry in gate.entries] if gate else []

    # ---- time

    def beat(self, up_s: float = 86_400.0) -> Beat:
        """What a sweep is told; the service has been up for `up_s`."""
        now_s = self.clock.now_s()
        return Beat(now_s, now_s - 5, now_s - up_s)


def spec_body(family: str = FAMILY, **changes: Any) -> dict[str, Any]:
    """A spec of pool p that fits every bot and fills a named cache of its own."""
    name = family.replace("-", "_")
    body = specs.body(family=family, pool=POOL, makes__named_cache=name, **changes)
    body["dimensions"] = {}
    body["task"]["caches"] = [{"name": name, "path": "src"}]
    return body


def task_input(**changes: Any) -> NewTask:
    """A task for pool p: `dimensions`, `command`, `caches`, `grace`, `expiration_s`, `more_slices`; else as NewTask."""
    dimensions = {"pool": POOL, **changes.pop("dimensions", {})}
    properties = {
        "command": changes.pop("command", ["true"]),
        "dimensions": [{"key": key, "value": value} for key, value in dimensions.items()],
        "execution_timeout_secs": 3600,
        "grace_period_secs": changes.pop("grace", 30),
        "caches": [{"name": name, "path": name} for name in changes.pop("caches", [])],
    }
    expiration = changes.pop("expiration_s", 600)
    pieces = [{"properties": properties, "expiration_secs": expiration}]
    for other in changes.pop("more_slices", []):
        pairs = [{"key": key, "value": value} for key, value in {"pool": POOL, **other}.items()]
        pieces.append({"properties": {**properties, "dimensions": pairs}, "expiration_secs": expiration})
    return NewTask.model_validate({"name": "t", "priority": 100, "task_slices": pieces, **changes})


def report(bot_id: str = "bot1", state: dict[str, Any] | None = None, **dimensions: list[str]) -> bot_report.Report:
    """What a bot of pool p says of itself."""
    body = {
        "dimensions": {"id": [bot_id], "pool": [POOL], **dimensions},
        "state": {"pilotlight_bot": "1", **(state or {})},
        "version": "v1",
    }
    return bot_report.parse(body)


@dataclass
class Run:
    """A run as a runner holds it: its token stays what it was given."""

    task_id: str
    token: Token
    delivery: Delivery


@dataclass
class Machine:
    """One machine with a bot id. Two of the same id are clones. `token` is what main sends with its next poll."""

    world: LifeWorld
    bot_id: str = "bot1"
    name: str = "m"
    token: Token | None = None
    sessions: int = 0
    said: bot_report.Report | None = None
    runs: list[Run] = field(default_factory=list)

    def says(self) -> bot_report.Report:
        return self.said or report(self.bot_id)

    def handshake(self, service: Service | None = None) -> Token:
        """Main starts anew, with a session of its own."""
        self.sessions += 1
        self.token = self.repeat_handshake(service)
        self.world.fresh()
        return self.token

    def repeat_handshake(self, service: Service | None = None, session: str = "") -> Token:
        """A (late) copy of the last handshake, or of an older one; what it answers is not kept."""
        session = session or f"{self.bot_id}/{self.name}/{self.sessions}"
        return bot_management.handshake(service or self.world.p1, self.says(), session)

    def poll(self, service: Service | None = None, token: Token | None = None) -> Answer:
        """A poll whose answer arrives: main takes the token, and a run if there is one."""
        answer = self.lost_poll(service, token)
        self.token = answer.token
        if answer.delivery is not None:
            self.runs.append(Run(answer.delivery.task_id, answer.token, answer.delivery))
        return answer

    def lost_poll(self, service: Service | None = None, token: Token | None = None) -> Answer:
        """A poll whose answer is lost, or whose late copy arrives, with the token that it was sent with."""
        service, token = service or self.world.p1, token or self.token
        assert token is not None
        entry = bot_management.merge_report(service, token, self.says())
        return task_to_run.answer_poll(service, token, entry, 0.0)

    def takes(self, task_id: str, service: Service | None = None) -> Run:
        """Polls and is given this task."""
        answer = self.poll(service)
        assert answer.delivery is not None and answer.delivery.task_id == task_id, answer
        return self.runs[-1]

    def warms(self, service: Service | None = None, **changes: Any) -> Run:
        """Is given a background run for the family (`for_task`, `purpose`, `family`, …)."""
        service = service or self.world.p1
        assert self.token is not None
        delivery = hand_out(service, self.token, **changes)
        self.token = self.token.with_claim(delivery.n)
        self.runs.append(Run(delivery.task_id, self.token, delivery))
        return self.runs[-1]


def exchange(world: LifeWorld) -> None:
    """Pages go round: every process knows what the others noted."""
    for service in world.services:
        service.pages.flush()
    for service in world.services:
        service.pages.merge()


def idle_machines(world: LifeWorld, number: int = 2) -> list[Machine]:
    """bot1, bot2, … which shook hands a second ago, known to all processes."""
    machines = [Machine(world, f"bot{one}") for one in range(1, number + 1)]
    for machine in machines:
        machine.handshake()
    world.clock.advance(1)
    world.fresh()
    return machines


def hand_out(
    service: Service,
    token: Token,
    *,
    family: str = FAMILY,
    for_task: str = "",
    purpose: Purpose = Purpose.FORECAST,
    revision: int = 1,
) -> Delivery:
    """A background claim as `task_to_run` makes it when the plan advises one.

    Raises:
        GateRefused and what a claim raises.
    """
    purpose = Purpose.ON_DEMAND if for_task else purpose
    wanted = HandOut(family, "r1", revision, purpose, for_task=for_task, text="It may be of use.")
    plan = PoolPlan(advice={}, gate_open=True)
    service.view.refresh(force=True)
    return prewarm_gate.claim_background(service, token, POOL, wanted, plan, service.view.standing(POOL))


def start(service: Service, run: Run) -> UpdateAnswer:
    """The update before any user code."""
    return updates.update(service, run.token, Update(run.task_id))


def keep_alive(service: Service, run: Run, output: bytes = b"", offset: int = 0) -> UpdateAnswer:
    """An update of a run under way."""
    return updates.update(service, run.token, Update(run.task_id, output, offset))


def end(service: Service, run: Run, exit_code: int | None = 0, *, took_s: float = 1.0, **report_: Any) -> UpdateAnswer:
    """The last update of a run; `canceled=True` without exit code for one that never started."""
    duration_s = None if exit_code is None else took_s
    return updates.update(service, run.token, Update(run.task_id, end=EndReport(exit_code, duration_s, **report_)))
