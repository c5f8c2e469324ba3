"""What ends a run, or a wait, from elsewhere: a preemption, the switch, expiry, a lapsed offer, a bot that fell silent.

Each public function is one transaction that reads again what its caller, a plan or a sweep, believed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from server import bot_warmth, prewarm_gate
from server.records import get_multi, key_of
from server.records.bot import Bot
from server.records.pool import PoolGate
from server.records.task import TaskResult, TaskToRun
from server.task_life import Event, NoSuchTransition, State
from server.task_scheduler import StopReason, claim_timeout_s, end_held, result_of, run
from server.task_transition import Touched, newer, state_of, transition

if TYPE_CHECKING:
    from server.policy.outcome import Preempt
    from server.service import Service


def preempt(service: Service, wanted: Preempt) -> bool:
    """Stops a background run for a waiting task: both marks in one transaction. False when it no longer holds."""

    def step(touched: Touched) -> bool:
        touched.result = result = result_of(wanted.task_id)
        if state_of(result) not in (State.OFFERED, State.RUNNING) or not result.purpose:
            return False
        if (result.claim or {}).get("n") != wanted.n or result.claim["bot"] != wanted.bot:
            return False
        gate, waiting = get_multi([key_of(PoolGate, result.pool), key_of(TaskToRun, wanted.for_task)])
        bot = key_of(Bot, wanted.bot).get()
        now_s = service.clock.now_s()
        if gate is None or waiting is None or waiting.status != "pending" or _victim_holds(waiting, now_s):
            return False
        if not prewarm_gate.may_preempt(gate, wanted, lambda task_id: _is_as_urgent(task_id, waiting.priority)):
            return False
        touched.gate, touched.bot = gate, bot
        transition(service, touched, Event.PREEMPT, reason=StopReason.PREEMPT)
        valid_s = service.config.pool(result.pool).preempt_valid_s
        waiting.victim = {"bot": wanted.bot, "n": wanted.n, "until_s": now_s + valid_s}
        waiting.changed_s = newer(waiting.changed_s, now_s)
        gate.preempted_s = now_s
        touched.queue = waiting
        touched.put(waiting, gate)
        return True

    return run(service, step)


def _victim_holds(waiting: TaskToRun, now_s: float) -> bool:
    """Whether the waiting task's victim still ends the run that was stopped for it, or was freed and took no other.

    A bot that holds another run by now, or can take none, is no victim any more (H14).
    """
    mark = waiting.victim
    if not mark or mark["until_s"] <= now_s:
        return False
    bot = key_of(Bot, mark["bot"]).get()
    if bot is None or not bot.alive or bot.server_quarantined or bot.quarantined or bot.maintenance:
        return False
    return not bot.held or bot.held["n"] == mark["n"]


def _is_as_urgent(task_id: str, priority: int) -> bool:
    """Whether that task waits and is served no later than one of this priority."""
    queue = key_of(TaskToRun, task_id).get()
    return queue is not None and queue.status == "pending" and queue.priority <= priority


def stop_background(service: Service, task_id: str, n: int, reason: str) -> bool:
    """Stops a background run (stop switch, superseded): offered ones are canceled, running ones told to stop."""

    def step(touched: Touched) -> bool:
        touched.result = result = result_of(task_id)
        if not result.purpose or (result.claim or {}).get("n") != n:
            return False
        try:
            transition(service, touched, Event.SWITCH, reason=reason)
        except NoSuchTransition:
            return False
        return True

    return run(service, step)


def expire(service: Service, task_id: str) -> str:
    """Moves a task past its slice's expiry on: the next slice, or EXPIRED. Returns its final state or ""."""

    def step(touched: Touched) -> str:
        result, queue = get_multi([key_of(TaskResult, task_id), key_of(TaskToRun, task_id)])
        now_s = service.clock.now_s()
        if result is None or queue is None or queue.status != "pending" or queue.deadline_s > now_s:
            return ""
        touched.result, touched.queue = result, queue
        try:
            transition(service, touched, Event.EXPIRE, reason="no bot took it before it expired")
        except NoSuchTransition:
            return ""
        return touched.outcome

    return run(service, step)


def lapse(service: Service, task_id: str, up_since_s: float = 0.0) -> bool:
    """Takes back an offer that was not delivered in time. Any process may do it; the claiming one may be gone.

    Time before `up_since_s`, when the service was away, does not count.
    """

    def step(touched: Touched) -> bool:
        touched.result = result = result_of(task_id)
        now_s = service.clock.now_s()
        if state_of(result) is not State.OFFERED or result.claim_until_s > now_s:
            return False
        touched.bot = bot = key_of(Bot, result.claim["bot"]).get()
        if bot is not None and now_s < up_since_s + claim_timeout_s(service, bot, result.pool):
            return False
        transition(service, touched, Event.LAPSE, reason="its bot never took delivery")
        return True

    return run(service, step)


def declare_dead(service: Service, bot_id: str, silent_since_s: float) -> bool:
    """Marks a silent bot dead and ends what it holds, in one transaction that reads the bot again (H9)."""

    def step(touched: Touched) -> bool:
        touched.bot = bot = key_of(Bot, bot_id).get()
        if bot is None or not bot.alive or bot.last_seen_s > silent_since_s:
            return False
        end_held(service, touched, Event.DEATH, "its bot fell silent")
        now_s = service.clock.now_s()
        bot.alive = False
        bot_warmth.on_lost(bot, now_s)
        bot.changed_s = newer(bot.changed_s, now_s)
        touched.put(bot)
        return True

    return run(service, step)
