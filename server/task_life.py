"""The life of a task as one table, and nothing else: no store, no clock.

A row says what an event does to the four records that a transition may touch. The scheduler evaluates the guards that
need records (is the token the claim's, does the session match) and picks the event; the table decides the rest.
An event that has no row in a state is refused by name: see `row()`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """Where a task is. OFFERED shows as PENDING; STOPPING shows as RUNNING."""

    PENDING = "pending"
    OFFERED = "offered"
    RUNNING = "running"
    STOPPING = "stopping"
    FINAL = "final"


class Event(StrEnum):
    """What can happen to a task."""

    CLAIM = "claim"
    POLL_OLDER = "poll with a token older than the claim"
    POLL_BACK = "poll with the claim's own token"
    START = "start"
    LAPSE = "claim lapses"
    DEATH = "bot falls silent"
    HANDSHAKE = "handshake of another session"
    CANCEL = "cancel"
    KILL = "kill"
    PREEMPT = "preempt"
    SWITCH = "stop switch"
    TASK_ERROR = "task error"
    CLIENT_ERROR = "task error by missing input"
    HAND_BACK = "bot hands back"
    END = "end"
    TIMED_OUT = "end by a time limit"
    CANCELED_BY_BOT = "bot says canceled"
    TERMINATED = "terminate task acknowledged"
    EXPIRE = "expiry"
    KEEP_ALIVE = "output or keep-alive"


HANDED_BACK = "its bot was shut down and handed it back"
"""What the record of a task says whose bot had to leave in the middle of it."""


class OnQueue(StrEnum):
    """Effect on the TaskToRun."""

    KEEP = "keep"
    CLAIMED = "claimed"
    PENDING = "pending"
    GONE = "gone"
    NEXT = "next slice, else gone"


class OnBot(StrEnum):
    """Effect on the bot's held run."""

    KEEP = "keep"
    HOLD = "hold"
    RELEASE = "release"
    RELEASE_QUIET = "release, then a quiet time"
    STOP = "mark the stop"


@dataclass(frozen=True, slots=True)
class Row:
    """One transition. `background_to` replaces `to` for a background task; `leaves_gate` takes its entry out."""

    to: State
    outcome: str = ""
    background_outcome: str = ""
    queue: OnQueue = OnQueue.KEEP
    bot: OnBot = OnBot.KEEP
    leaves_gate: bool = False
    answer: str = "ok"

    def outcome_of(self, background: bool) -> str:
        """Final state's name, "" when the task goes on."""
        return self.background_outcome if background and self.background_outcome else self.outcome


class NoSuchTransition(Exception):
    """The table has no row for this event in this state."""


_BACK_TO_QUEUE = Row(
    State.PENDING, background_outcome="CANCELED", queue=OnQueue.PENDING, bot=OnBot.RELEASE, leaves_gate=True
)


def _final(outcome: str, *, bot: OnBot = OnBot.RELEASE, queue: OnQueue = OnQueue.KEEP, answer: str = "ok") -> Row:
    return Row(State.FINAL, outcome, queue=queue, bot=bot, leaves_gate=True, answer=answer)


TABLE: dict[tuple[State, Event], Row] = {
    # Pending
    (State.PENDING, Event.CLAIM): Row(State.OFFERED, queue=OnQueue.CLAIMED, bot=OnBot.HOLD, answer="run"),
    (State.PENDING, Event.CANCEL): _final("CANCELED", bot=OnBot.KEEP, queue=OnQueue.GONE),
    (State.PENDING, Event.KILL): _final("CANCELED", bot=OnBot.KEEP, queue=OnQueue.GONE),
    (State.PENDING, Event.EXPIRE): Row(State.PENDING, "EXPIRED", queue=OnQueue.NEXT),
    # Offered: no user code has run
    (State.OFFERED, Event.POLL_OLDER): Row(State.OFFERED, answer="same run"),
    (State.OFFERED, Event.POLL_BACK): _BACK_TO_QUEUE,
    (State.OFFERED, Event.LAPSE): _BACK_TO_QUEUE,
    (State.OFFERED, Event.DEATH): _BACK_TO_QUEUE,
    (State.OFFERED, Event.HANDSHAKE): _BACK_TO_QUEUE,
    (State.OFFERED, Event.HAND_BACK): _BACK_TO_QUEUE,
    (State.OFFERED, Event.START): Row(State.RUNNING),
    (State.OFFERED, Event.CANCEL): _final("CANCELED", queue=OnQueue.GONE),
    (State.OFFERED, Event.KILL): _final("CANCELED", queue=OnQueue.GONE),
    (State.OFFERED, Event.PREEMPT): _final("CANCELED"),
    (State.OFFERED, Event.SWITCH): _final("CANCELED"),
    (State.OFFERED, Event.TASK_ERROR): _final("BOT_DIED", queue=OnQueue.GONE),
    (State.OFFERED, Event.CLIENT_ERROR): _final("CLIENT_ERROR", queue=OnQueue.GONE),
    (State.OFFERED, Event.TERMINATED): _final("COMPLETED", queue=OnQueue.GONE),
    # Running
    (State.RUNNING, Event.START): Row(State.RUNNING),
    (State.RUNNING, Event.KEEP_ALIVE): Row(State.RUNNING),
    (State.RUNNING, Event.KILL): Row(State.STOPPING, bot=OnBot.STOP),
    (State.RUNNING, Event.PREEMPT): Row(State.STOPPING, bot=OnBot.STOP),
    (State.RUNNING, Event.SWITCH): Row(State.STOPPING, bot=OnBot.STOP),
    (State.RUNNING, Event.END): _final("COMPLETED"),
    (State.RUNNING, Event.TIMED_OUT): _final("TIMED_OUT"),
    (State.RUNNING, Event.CANCELED_BY_BOT): _final("KILLED"),
    (State.RUNNING, Event.TASK_ERROR): _final("BOT_DIED"),
    (State.RUNNING, Event.CLIENT_ERROR): _final("CLIENT_ERROR"),
    (State.RUNNING, Event.HAND_BACK): _final("BOT_DIED"),
    (State.RUNNING, Event.POLL_OLDER): Row(State.RUNNING, answer="sleep"),
    (State.RUNNING, Event.POLL_BACK): _final("BOT_DIED"),
    (State.RUNNING, Event.DEATH): _final("BOT_DIED", bot=OnBot.RELEASE_QUIET),
    (State.RUNNING, Event.HANDSHAKE): _final("BOT_DIED", bot=OnBot.RELEASE_QUIET),
    # Stopping: any end of a run that carries a stop is KILLED
    (State.STOPPING, Event.START): Row(State.STOPPING, answer="must_stop"),
    (State.STOPPING, Event.KEEP_ALIVE): Row(State.STOPPING, answer="must_stop"),
    (State.STOPPING, Event.END): _final("KILLED"),
    (State.STOPPING, Event.TIMED_OUT): _final("KILLED"),
    (State.STOPPING, Event.CANCELED_BY_BOT): _final("KILLED"),
    (State.STOPPING, Event.TASK_ERROR): _final("KILLED"),
    (State.STOPPING, Event.CLIENT_ERROR): _final("KILLED"),
    (State.STOPPING, Event.HAND_BACK): _final("KILLED"),
    (State.STOPPING, Event.POLL_OLDER): Row(State.STOPPING, answer="sleep"),
    (State.STOPPING, Event.POLL_BACK): _final("KILLED"),
    (State.STOPPING, Event.DEATH): _final("KILLED", bot=OnBot.RELEASE_QUIET),
    (State.STOPPING, Event.HANDSHAKE): _final("KILLED", bot=OnBot.RELEASE_QUIET),
}


def row(state: State, event: Event) -> Row:
    """The transition of `event` in `state`.

    Raises:
        NoSuchTransition: the event changes nothing in this state; the caller answers as the protocol says.
    """
    found = TABLE.get((state, event))
    if found is None:
        raise NoSuchTransition(f"{event.value} has no effect on a task that is {state.value}")
    return found
