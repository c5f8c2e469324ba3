"""WHAT a poll should get: the plan's advice for this bot, claimed in one transaction; else background work; else sleep.

Called on every poll. Reads the view and the plan in memory; the store is touched only for what changed and for claims.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from server import errors, prewarm_gate, task_scheduler, task_stops
from server.bot_session import Token
from server.fleet_view import refresh_quietly
from server.policy import cadence, outcome
from server.policy.gates import BETS
from server.policy.plan import claimable
from server.task_scheduler import Delivery, HoldsRun, LostRace, NotNow
from server.view_entries import BotEntry, Standing

if TYPE_CHECKING:
    from server.service import Service

log = structlog.get_logger(__name__)

MOST_TRIES = 3
"""Heads that one poll tries before it sleeps."""
LONGEST_HOLD_S = 20.0
STORE_GONE_AFTER_S = 15.0


@dataclass(frozen=True, slots=True)
class Answer:
    """A run, or how long to sleep. `token` is what the answer's session token says."""

    token: Token
    delivery: Delivery | None = None
    sleep_s: float = 0.0


def answer_poll(service: Service, token: Token, entry: BotEntry, hold_s: float) -> Answer:
    """Chooses for one poll, holding it open for at most `hold_s` seconds when there is nothing yet.

    Raises:
        SessionGone: another session owns the bot's id.
    """
    service.view.begins_poll(entry)
    until_s = service.clock.monotonic_s() + min(hold_s, LONGEST_HOLD_S, service.config.pool(entry.pool).held_poll_s)
    holding = False
    try:
        while True:
            seen = service.wakeup.changes()
            answer = _once(service, token, entry)
            left_s = until_s - service.clock.monotonic_s()
            if answer.delivery is not None or left_s <= 0.01 or entry.policy.quarantined:
                return answer
            if not holding:
                holding = service.wakeup.enter()
                if not holding:
                    return answer
            service.view.saw_poll(token.bot, service.clock.now_s(), held=True)
            service.wakeup.wait(seen, left_s)
            entry = service.view.bot(token.bot) or entry
            if entry.session_id != token.session or service.wakeup.draining:
                return Answer(token, sleep_s=service.config.thresholds(entry.pool).sleep_min_s)
    finally:
        if holding:
            service.wakeup.leave()


def _once(service: Service, token: Token, entry: BotEntry) -> Answer:
    refresh_quietly(service.view)
    if entry.policy.quarantined or entry.policy.maintenance:
        if entry.held is not None or service.view.is_behind(token):
            # It gets nothing, but a run that it has behind it ends all the same.
            task_scheduler.poll_held(service, token, deliver=False)
        return _sleep(service, token, entry.pool, None)
    if _must_ask_store(entry, token):
        held = _held(service, token)
        if held is not None:
            return held
    service.view.free_for_poll(token)
    delivery, in_the_way = _choose(service, token, entry.pool)
    if delivery is None and (in_the_way or service.view.is_behind(token)):
        held = _held(service, token)
        if held is not None:
            return held
        delivery, _ = _choose(service, token, entry.pool)
    if delivery is None:
        return _sleep(service, token, entry.pool, service.view.plan(entry.pool).advice.get(token.bot))
    return Answer(token.with_claim(delivery.n), delivery)


def _choose(service: Service, token: Token, pool: str) -> tuple[Delivery | None, bool]:
    """Claims what the plan advises; whether a run that the bot holds stood in the way.

    A bet rests on the pool as it is at this moment: bots that were idle at the last look may have left since.
    """
    plan, standing = service.view.plan(pool), None
    if _is_bet(plan.advice.get(token.bot)):
        standing = service.view.catch_up(pool)
        plan = service.view.plan(pool, wait=True)
    act(service, pool, plan)
    try:
        return _claim(service, token, pool, plan, standing), False
    except HoldsRun:
        return None, True
    except NotNow:
        return None, False


def _is_bet(advice: outcome.Advice | None) -> bool:
    return advice is not None and advice.background is not None and advice.background.purpose in BETS


def _must_ask_store(entry: BotEntry, token: Token) -> bool:
    """The view says that the bot holds a run which this poll does not have behind it."""
    return entry.held is not None and entry.held["n"] != token.claim


def _held(service: Service, token: Token) -> Answer | None:
    """What the run that the bot holds means for this poll; None when it holds none (any more)."""
    outcome = task_scheduler.poll_held(service, token)
    if isinstance(outcome, Delivery):
        return Answer(token.with_claim(outcome.n), outcome)
    if outcome == "sleep":
        return Answer(token, sleep_s=5.0)
    return None


def _claim(
    service: Service, token: Token, pool: str, plan: outcome.PoolPlan, standing: Standing | None
) -> Delivery | None:
    advice = plan.advice.get(token.bot)
    if advice is None:
        return None
    if not service.config.pool(pool).drained:
        delivery = _claim_real(service, token, pool, plan, advice)
        if delivery is not None:
            return delivery
    if advice.background is None:
        if advice.refused is not None:
            service.decisions.refused(pool, token.bot, advice.refused)
        return None
    try:
        delivery = prewarm_gate.claim_background(service, token, pool, advice.background, plan, standing)
    except prewarm_gate.GateRefused as refusal:
        service.decisions.refused(pool, token.bot, refusal.refused)
        service.view.note_refusal(token.bot, refusal.refused)
        return None
    except errors.Contention:
        return None
    service.decisions.handed_out(pool, token.bot, delivery.task_id, advice.background, plan)
    return delivery


def _claim_real(
    service: Service, token: Token, pool: str, plan: outcome.PoolPlan, advice: outcome.Advice
) -> Delivery | None:
    tasks = claimable(plan, token.bot, service.clock.now_s())
    if advice.tasks and not tasks:
        service.decisions.held_back(pool, token.bot, plan.holds[advice.tasks[0]])
    for task_id in tasks[:MOST_TRIES]:
        try:
            early = advice.out_of_turn and task_id == advice.tasks[0]
            delivery = task_scheduler.claim(service, token, task_id, advice.why_task, out_of_turn=early)
        except LostRace as lost:
            service.count(pool, "lost_race")
            service.view.apply(lost.found)
            if not lost.found:
                service.view.forget_pending(task_id)
            continue
        except errors.Contention:
            service.count(pool, "contention")
            continue
        service.count(pool, "claimed")
        return delivery
    return None


def act(service: Service, pool: str, plan: outcome.PoolPlan) -> None:
    """Carries out what a plan says about runs under way, once: stops for waiting tasks, ends of useless runs."""
    if not service.view.first_to_act(pool, plan):
        return
    for wanted in plan.preempt:
        try:
            if task_stops.preempt(service, wanted):
                service.decisions.stopped(pool, wanted.bot, "preempted", wanted.task_id, wanted.text, wanted.for_task)
                log.info("preempted", bot=wanted.bot, task=wanted.task_id, for_task=wanted.for_task)
        except errors.PilotlightError as error:
            log.warning("preempt failed", bot=wanted.bot, error=error.text)
    for useless in plan.useless:
        try:
            if task_stops.stop_background(service, useless.task_id, useless.n, useless.text):
                service.decisions.stopped(pool, useless.bot, "stopped", useless.task_id, useless.text)
        except errors.PilotlightError as error:
            log.warning("stop failed", bot=useless.bot, error=error.text)


def _sleep(service: Service, token: Token, pool: str, advice: outcome.Advice | None) -> Answer:
    if service.view.store_lost or service.view.age_s() > STORE_GONE_AFTER_S:
        sleep_s = service.rng.uniform(5.0, 15.0)
    else:
        thresholds = service.config.thresholds(pool)
        planned_s = advice.sleep_s if advice is not None else thresholds.sleep_max_s / 4
        sleep_s = cadence.bounded(cadence.jittered(planned_s, service.rng.random()), thresholds)
    service.view.saw_poll(token.bot, service.clock.now_s() + sleep_s, held=False)
    return Answer(token, sleep_s=sleep_s)
