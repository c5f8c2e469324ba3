"""What a view keeps of a record: immutable entries, and the policy's values within them."""

from __future__ import annotations

from dataclasses import dataclass, replace
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
class SeenPoll:
    """The last poll of a bot that this process answered."""

    at_s: float
    next_s: float
    held: bool


NEVER = SeenPoll(0.0, 0.0, False)
UNKNOWN_PACE_S = 20.0
"""How soon a bot polls of which no poll is known: the longest for which a poll is held."""
PLAN_LASTS_S = 3.0
"""A guess must hold until the plan that is made with it is made anew."""


def with_polls(bot: model.Bot, here: SeenPoll, elsewhere: SeenPoll, now_s: float, news_after_s: float) -> model.Bot:
    """The bot with what is known of its polls.

    One that may poll other processes too, which tell of it late, is taken to go on polling as it did until they would
    have told: else nobody would wait for a warm bot that another process saw last.

    Args:
        bot: as its record says.
        here: its last poll at this process.
        elsewhere: its last poll at any other, as far as is known.
        now_s: the present.
        news_after_s: how late other processes tell.
    """
    last = here if here.at_s >= elsewhere.at_s else elsewhere
    last_seen_s = max(bot.last_seen_s, last.at_s)
    due_s = max(last.next_s, bot.idle_since_s)  # who ended a run polls at once, whatever it was told before
    pace_s = max(0.0, last.next_s - last.at_s) if last != NEVER else UNKNOWN_PACE_S
    recent_s = now_s - pace_s - news_after_s
    if due_s < now_s and last_seen_s >= recent_s and (here == NEVER or elsewhere.at_s >= recent_s):
        due_s = now_s + max(pace_s, PLAN_LASTS_S)
    is_elsewhere = here == NEVER or last is elsewhere
    return replace(
        bot, last_seen_s=last_seen_s, next_poll_s=due_s, held_poll=last.held, polls_elsewhere=is_elsewhere
    )


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
