"""The plan of one pool: a pure function from what the server sees to what every bot gets when it polls."""

from __future__ import annotations

from server.policy.advice import Advices
from server.policy.decision import decide
from server.policy.explain import Explainer
from server.policy.fleet import Fleet
from server.policy.gates import reserve_size
from server.policy.holds import holds
from server.policy.minds import Minds
from server.policy.model import PoolView
from server.policy.order import superseded_states
from server.policy.outcome import PoolPlan
from server.policy.queues import turn


def plan(view: PoolView) -> PoolPlan:
    """Plans the pool: the same view gives the same plan.

    Advice stands for every bot that holds no run; one that is dead, quarantined, in maintenance or kept quiet is
    advised to sleep for the longest time.
    """
    return plan_of(Minds.about(Fleet(view)))


def plan_of(minds: Minds) -> PoolPlan:
    """Plans a fleet that is kept up; it counts as given what the plan hands out."""
    fleet = minds.fleet
    for task in list(fleet.queues.by_id.values()):
        if 0.0 < task.expires_s <= fleet.now_s:
            fleet.drop_task(task)
    waiting, able = sorted(fleet.queues.by_id.values(), key=turn), dict(fleet.idle)
    superseded = superseded_states(fleet)
    made = decide(minds, superseded)
    held_back = holds(fleet, minds.outlook, minds.stock, made.assigned)
    levels = made.background.levels
    explainer = Explainer(minds, made.background, superseded, waiting)
    return PoolPlan(
        advice=Advices(minds, made, explainer, held_back, waiting, able),
        preempt=made.preempt,
        useless=made.useless,
        holds=held_back,
        gates=explainer.pool_gates(),
        utilization=levels.utilization,
        reserve=reserve_size(len(fleet.usable), fleet.view.thresholds, fleet.view.gate.growth_p90),
        below_since_s=levels.below_since_s,
        gate_open=levels.gate_open,
    )


def claimable(made: PoolPlan, bot_id: str, now_s: float) -> tuple[str, ...]:
    """The tasks that the bot may claim now, best first: its advice, less what is held for another bot until later."""
    advice = made.advice.get(bot_id)
    if advice is None:
        return ()
    kept = made.holds
    return tuple(
        task for task in advice.tasks if task not in kept or kept[task].bot == bot_id or kept[task].until_s <= now_s
    )
