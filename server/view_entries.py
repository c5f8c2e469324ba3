"""What a view keeps of a record: immutable entries, and the policy's values within them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from server import bot_warmth
from server.policy import model
from server.records.bot import Bot
from server.records.task import TaskToRun


@dataclass(frozen=True, slots=True)
class BotEntry:
    """A bot's record as the view keeps it; `policy` is what the policy sees of it."""

    policy: model.Bot
    pool: str
    session_id: str
    claim_no: int
    fingerprint: str
    version: str
    foreign: bool
    changed_s: float
    held: dict[str, Any] | None
    server_quarantined: str
    first_seen_s: float
    external_ip: str
    authenticated_as: str
    state: dict[str, Any]


@dataclass(frozen=True, slots=True)
class TaskEntry:
    """A task's place in the queue as the view keeps it."""

    policy: model.PendingTask
    pool: str
    pending: bool
    changed_s: float


@dataclass(frozen=True, slots=True)
class Standing:
    """A pool as background work finds it, for the gate's own check.

    Attributes:
        seen_at_s: when the view was current.
        epoch: of the stop switch, as the view knows it.
        usable: bots that are there and healthy.
        idle: those of them that hold no run, are not kept quiet, and are not late for the poll that they promised.
        pending: real tasks that wait.
        growth_p90: of the tasks in the system, as in `model.GateState`.
    """

    seen_at_s: float
    epoch: int
    usable: tuple[model.Bot, ...]
    idle: tuple[model.Bot, ...]
    pending: tuple[model.PendingTask, ...]
    growth_p90: float


def bot_entry(record: Bot) -> BotEntry:
    """The view's entry of a bot."""
    held = record.held
    return BotEntry(
        policy=model.Bot(
            id=str(record.key.id()),
            dimensions={key: frozenset(values) for key, values in record.dimensions.items()},
            alive=record.alive,
            quarantined=record.server_quarantined or record.quarantined,
            maintenance=record.maintenance,
            idle_since_s=record.idle_since_s,
            quiet_until_s=record.quiet_until_s,
            slots=bot_warmth.slots_of(record),
            held=held_of(held) if held else None,
            last_seen_s=record.last_seen_s,
            failed_s=record.failed_s,
            out_of_turn=record.out_of_turn,
        ),
        pool=record.pool,
        session_id=record.session_id,
        claim_no=record.claim_no,
        fingerprint=record.fingerprint,
        version=record.version,
        foreign=record.foreign,
        changed_s=record.changed_s,
        held=held,
        server_quarantined=record.server_quarantined,
        first_seen_s=record.first_seen_s,
        external_ip=record.external_ip,
        authenticated_as=record.authenticated_as,
        state=record.state,
    )


def held_of(held: dict[str, Any]) -> model.Held:
    """The policy's value of a record's held run."""
    return model.Held(
        task_id=held["task"],
        n=held["n"],
        purpose=model.Purpose(held.get("purpose", "")),
        family=held.get("family", ""),
        generation=held.get("generation", ""),
        slot=held.get("slot", ""),
        for_task=held.get("for", ""),
        since_s=held.get("since_s", 0.0),
        stop=held.get("stop", ""),
        resumable=held.get("resumable", False),
        net=held.get("net", 0.0),
    )


def task_entry(record: TaskToRun) -> TaskEntry:
    """The view's entry of a task's place in the queue."""
    victim = record.victim
    return TaskEntry(
        policy=model.PendingTask(
            id=str(record.key.id()),
            priority=record.priority,
            created_s=record.created_s,
            dimensions=tuple((key, tuple(values)) for key, values in record.dimensions),
            wishes=tuple(model.Wish(family, generation) for family, generation in record.wishes),
            expires_s=record.deadline_s,
            victim=model.Victim(victim["bot"], victim["n"], victim["until_s"]) if victim else None,
        ),
        pool=record.pool,
        pending=record.status == "pending",
        changed_s=record.changed_s,
    )
