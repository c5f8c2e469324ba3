"""Applies a row of `task_life` to the records that it touches. Runs inside one transaction; reads what it needs.

TaskResult is the arbiter: every transition reads and writes it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from server import bot_warmth, prewarm_gate, task_life
from server.records import RETAIN_GONE_S, Key, Record, expiry, get_multi, key_of, put_multi, task
from server.records.bot import Bot
from server.records.pool import PoolGate
from server.records.task import TaskRequest, TaskResult, TaskToRun
from server.seen_polls import FOREIGN_KEEP_ALIVE_S
from server.task_life import Event, OnBot, OnQueue, Row, State

if TYPE_CHECKING:
    from server.config import PoolConfig
    from server.service import Service

BOT_LEFT = frozenset({Event.HANDSHAKE, Event.DEATH, Event.POLL_BACK})
ARRIVAL_S = 10.0
"""Time for a runner's last update to arrive; its keep-alive and the task's grace come on top."""


@dataclass
class Touched:
    """The records of one transition: what was read, and which of them changed."""

    result: TaskResult = None  # type: ignore[assignment]  # each transition sets it first
    queue: TaskToRun | None = None
    bot: Bot = None  # type: ignore[assignment]  # read when a row needs it
    gate: PoolGate | None = None
    request: TaskRequest | None = None
    changed: list[Record] = field(default_factory=list)
    outcome: str = ""
    started_from_offer: bool = False

    def put(self, *records: Record) -> None:
        """Marks records as changed; each is written once, at `commit()`."""
        for record in records:
            if all(record is not other for other in self.changed):
                self.changed.append(record)

    def commit(self) -> None:
        """Hands the changed records to the transaction."""
        if self.changed:
            put_multi(self.changed)


def state_of(result: TaskResult) -> State:
    """State of a task in terms of the table."""
    if result.state in task.FINAL:
        return State.FINAL
    if result.state == task.RUNNING:
        return State.STOPPING if result.stop else State.RUNNING
    return State.OFFERED if result.offered else State.PENDING


def newer(changed_s: float, now_s: float) -> float:
    """The next `changed_s` of a record: now, and later than before even if the clock went back."""
    return max(now_s, changed_s + 1e-6)


def transition(service: Service, touched: Touched, event: Event, *, reason: str = "") -> Row:
    """Applies `event` to `touched.result`; reads the other records that the row needs unless they are there.

    Raises:
        NoSuchTransition: the table has no row; nothing was changed.
    """
    result = touched.result
    assert result is not None
    now_s = service.clock.now_s()
    row = task_life.row(state_of(result), event)
    background = bool(result.purpose)
    outcome = row.outcome_of(background)
    to_queue = row.queue
    if row.queue is OnQueue.PENDING and not background and event is not Event.HAND_BACK:
        result.claims_without_start += 1
        if result.claims_without_start >= service.config.pool(result.pool).claims_without_start:
            outcome, to_queue = task.BOT_DIED, OnQueue.GONE
            reason = reason or f"it was handed out {result.claims_without_start} times and never started"
    _read_others(touched, row, to_queue, background)
    if row.leaves_gate and touched.gate is not None and result.claim:
        prewarm_gate.take_out(touched.gate, result.key.id(), result.claim["n"])
        touched.put(touched.gate)
    if to_queue is OnQueue.NEXT:
        outcome, to_queue = _next_slice(touched, outcome)
    _apply_to_result(result, row, outcome, reason, now_s)
    touched.put(result)
    touched.outcome = outcome
    _apply_to_queue(touched, to_queue, now_s)
    _apply_to_bot(service, touched, row, event, outcome)
    return row


def _read_others(touched: Touched, row: Row, to_queue: OnQueue, background: bool) -> None:
    result = touched.result
    wanted: list[tuple[str, Key]] = []
    if touched.bot is None and row.bot is not OnBot.KEEP and result.claim:
        wanted.append(("bot", key_of(Bot, result.claim["bot"])))
    if touched.queue is None and to_queue is not OnQueue.KEEP and not background:
        wanted.append(("queue", key_of(TaskToRun, result.key.id())))
    if touched.gate is None and row.leaves_gate and background:
        wanted.append(("gate", key_of(PoolGate, result.pool)))
    if wanted:
        for (name, _), record in zip(wanted, get_multi([key for _, key in wanted]), strict=True):
            setattr(touched, name, record)


def _next_slice(touched: Touched, outcome: str) -> tuple[str, OnQueue]:
    """The task's next slice, or its end when there is none."""
    result, queue = touched.result, touched.queue
    assert queue is not None  # only EXPIRE asks for it, and its caller has read the queue
    if touched.request is None:
        touched.request = key_of(TaskRequest, result.request_key).get()
    slices = touched.request.slices
    if result.slice_no + 1 >= len(slices):
        return outcome, OnQueue.GONE
    result.slice_no += 1
    following = slices[result.slice_no]
    queue.slice_no = result.slice_no
    queue.slice = following
    queue.dimensions = following["dimensions"]
    queue.wishes = following["wishes"]
    queue.deadline_s = following["deadline_s"]
    result.wishes = following["wishes"]
    result.grace_period_s = float(following["properties"].get("grace_period_secs", 0))
    return "", OnQueue.PENDING


def _apply_to_result(result: TaskResult, row: Row, outcome: str, reason: str, now_s: float) -> None:
    result.modified_s = now_s
    if outcome:
        result.state = outcome
        result.offered = False
        result.claim_until_s = 0.0
        if outcome in (task.COMPLETED, task.TIMED_OUT, task.CLIENT_ERROR):
            result.completed_s = now_s
        else:
            result.abandoned_s = now_s
            if result.started_s:
                result.completed_s = now_s
        result.internal_failure = outcome == task.BOT_DIED
        if reason and not result.error:
            result.error = reason
    elif row.to is State.PENDING:
        result.offered = False
        result.claim = None
        result.claim_until_s = 0.0
    elif row.to is State.RUNNING and result.state == task.PENDING:
        claim = result.claim
        result.state = task.RUNNING
        result.offered = False
        result.claim_until_s = 0.0
        result.claims_without_start = 0
        result.started_s = now_s
        result.bot_id = claim["bot"]
    elif row.to is State.STOPPING and not result.stop:
        result.stop = reason or row.answer


def _apply_to_queue(touched: Touched, effect: OnQueue, now_s: float) -> None:
    queue = touched.queue
    if queue is None or effect is OnQueue.KEEP:
        return
    if effect is OnQueue.PENDING:
        queue.status, queue.expires_s = "pending", queue.deadline_s
    elif effect is OnQueue.CLAIMED:
        queue.status, queue.expires_s, queue.victim = "claimed", 0.0, None
    else:
        queue.status, queue.expires_s, queue.victim = "gone", 0.0, None
        queue.expire_at = expiry(now_s, RETAIN_GONE_S)
    queue.changed_s = newer(queue.changed_s, now_s)
    touched.put(queue)


def _apply_to_bot(service: Service, touched: Touched, row: Row, event: Event, outcome: str) -> None:
    bot, result, now_s = touched.bot, touched.result, service.clock.now_s()
    if bot is None or row.bot in (OnBot.KEEP, OnBot.HOLD):
        return
    held = bot.held
    if not held or held["task"] != result.key.id() or held["n"] != (result.claim or held)["n"]:
        return
    config = service.config.pool(result.pool)
    if row.bot is OnBot.STOP:
        bot.held = {**held, "stop": result.stop}
    else:
        bot.held = None
        bot.idle_since_s = now_s
        if row.bot is OnBot.RELEASE_QUIET:
            silence_s = max(FOREIGN_KEEP_ALIVE_S, config.keep_alive_s)
            bot.quiet_until_s = now_s + silence_s + result.grace_period_s + ARRIVAL_S
            bot.quiet_n = held["n"]
        if event is not Event.HAND_BACK:
            _learn_from_end(config, touched, outcome, event in BOT_LEFT, now_s)
        bot_warmth.on_release(bot, result, held, outcome, now_s, service.view.specs())
    bot.changed_s = newer(bot.changed_s, now_s)
    touched.put(bot)


def _learn_from_end(config: PoolConfig, touched: Touched, outcome: str, bot_left: bool, now_s: float) -> None:
    """Back-off and breaker of a spec whose run failed; quarantine of a bot that fails task after task.

    A bot that left in the middle says nothing of the spec.
    """
    bot, result = touched.bot, touched.result
    if not outcome or not result.started_s or (result.purpose and bot_left):
        return
    ran_s = now_s - result.started_s
    failed = outcome in (task.TIMED_OUT, task.BOT_DIED, task.CLIENT_ERROR) or (
        outcome == task.COMPLETED and result.failure
    )
    if result.purpose:
        if failed or outcome == task.COMPLETED:
            prewarm_gate.learn(touched.gate, result.spec_family, bot.key.id(), failed, config, now_s)
        if failed:
            bot.failed_s = {**bot.failed_s, result.spec_family: now_s}
        elif outcome == task.COMPLETED and result.spec_family in bot.failed_s:
            bot.failed_s = {family: at_s for family, at_s in bot.failed_s.items() if family != result.spec_family}
        return
    if outcome == task.COMPLETED and not failed:
        bot.quick_failures = []
    elif failed and ran_s <= config.black_hole_within_s and outcome != task.TIMED_OUT:
        bot.quick_failures = [*bot.quick_failures, result.name][-config.black_hole_failures :]
        if len(bot.quick_failures) >= config.black_hole_failures and len(set(bot.quick_failures)) >= min(
            3, config.black_hole_failures
        ):
            bot.server_quarantined = (
                f"black hole: failed {len(bot.quick_failures)} tasks of different names in a row, "
                f"each within {config.black_hole_within_s:g} s"
            )
