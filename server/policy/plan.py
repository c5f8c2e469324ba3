"""The plan of one pool: a pure function from what the server sees to what every bot gets when it polls."""

from __future__ import annotations

from collections.abc import Mapping

from server.policy import affinity, cadence, preemption
from server.policy.affinity import Dispatch
from server.policy.background import Background
from server.policy.explain import Explainer
from server.policy.fleet import Fleet
from server.policy.gates import reserve_size
from server.policy.levels import Levels
from server.policy.model import Advice, Hold, PendingTask, PoolPlan, PoolView
from server.policy.order import superseded_states
from server.policy.outlook import Outlook
from server.policy.stock import Stock


def plan(view: PoolView) -> PoolPlan:
    """Plans the pool: the same view gives the same plan.

    Advice stands for every bot that holds no run; one that is dead, quarantined, in maintenance or kept quiet is
    advised to sleep for the longest time.
    """
    fleet = Fleet(view)
    outlook = Outlook(fleet)
    stock = Stock(fleet, outlook)
    assigned = affinity.dispatch(fleet, outlook, stock)
    outdated = superseded_states(fleet)
    levels = Levels(fleet, assigned)
    background = Background(fleet, outlook, stock, assigned, levels, outdated)
    background.decide()
    explainer = Explainer(fleet, stock, levels, background, outdated)
    off = "prewarming is stopped" if view.gate.stopped else "prewarming is off" if view.thresholds.mode == "off" else ""
    return PoolPlan(
        advice=_advice(fleet, stock, assigned, background, explainer),
        preempt=preemption.preemptions(fleet, assigned.unserved),
        useless=preemption.useless_runs(fleet, outdated, off),
        holds=assigned.holds,
        gates=explainer.pool_gates(),
        utilization=levels.utilization,
        reserve=reserve_size(len(fleet.usable), view.thresholds, view.gate.growth_p90),
        below_since_s=levels.below_since_s,
        gate_open=levels.gate_open,
    )


def claimable(made: PoolPlan, bot_id: str, now_s: float) -> tuple[str, ...]:
    """The tasks that the bot may claim now, best first: its advice, less what is held for another bot until later."""
    advice = made.advice.get(bot_id)
    if advice is None:
        return ()
    holds = made.holds
    return tuple(
        task for task in advice.tasks if task not in holds or holds[task].bot == bot_id or holds[task].until_s <= now_s
    )


def _advice(
    fleet: Fleet, stock: Stock, assigned: Dispatch, background: Background, explainer: Explainer
) -> dict[str, Advice]:
    thresholds = fleet.view.thresholds
    live = thresholds.mode == "live"
    others = affinity.alternatives(fleet, assigned)
    sleeps = cadence.sleeps({bot.id: stock.bot_worth_s(bot.id) for bot in fleet.idle}, thresholds)
    advice: dict[str, Advice] = {}
    for bot in fleet.view.bots:
        if bot.held is not None:
            continue
        if bot.id not in sleeps:
            advice[bot.id] = Advice(refused=explainer.unusable(bot), sleep_s=thresholds.sleep_max_s)
            continue
        own = assigned.by_bot.get(bot.id)
        tasks = _tasks(fleet, bot.id, own.task if own else None, others, assigned.holds)
        hand_out = background.hand_outs.get(bot.id)
        refused = None
        if hand_out is not None and not live:
            refused, hand_out = explainer.shadowed(bot, hand_out), None
        elif hand_out is None:
            refused = explainer.refusal(bot)
        advice[bot.id] = Advice(tasks, hand_out, refused, sleeps[bot.id], own.text if own else "")
    return advice


def _tasks(
    fleet: Fleet, bot_id: str, own: PendingTask | None, others: dict[int, list[PendingTask]], holds: Mapping[str, Hold]
) -> tuple[str, ...]:
    """The bot's own task first, then what else it could take: a few at once, a few when their holds end."""
    tasks = [own.id] if own is not None else []
    left = {False: affinity.MOST_ALTERNATIVES - len(tasks), True: affinity.MOST_ALTERNATIVES}
    for task in others.get(fleet.fits.group_of[bot_id], ()):
        is_held = task.id in holds
        if left[is_held] > 0 and task is not own and fleet.fits.fits(task.dimensions, bot_id):
            tasks.append(task.id)
            left[is_held] -= 1
    return tuple(tasks)
