"""The gates again, within the transaction of a background claim: with the record's own counts and the newest view."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from server.policy import gates, hold_out, model, outcome, self_disabling
from server.policy.dimensions import ID, matches
from server.policy.self_disabling import Watch
from server.policy.utilization import utilization

if TYPE_CHECKING:
    from server.records.pool import PoolGate
    from server.view_entries import Standing


@dataclass(frozen=True, slots=True)
class Asked:
    """A hand-out that a plan advises for a poll, and what it rests on."""

    bot_id: str
    pool: str
    spec: model.Spec
    hand_out: outcome.HandOut
    plan: outcome.PoolPlan
    thresholds: model.Thresholds
    standing: Standing
    current: model.Spec
    """The family's newest, by which it is held out."""
    hold_out: float = 0.0
    """Share of the windows in which the family's bets are withheld."""


def refusal(gate: PoolGate, asked: Asked, now_s: float) -> outcome.Refused | None:
    """What refuses the hand-out; None when all gates that can have closed since the plan are open."""
    taken = {entry["bot"] for entry in gate.entries}
    idle = [bot for bot in asked.standing.idle if bot.id not in taken]
    purpose, standing = asked.hand_out.purpose, asked.standing
    refused = gates.recheck(
        purpose,
        asked.spec,
        asked.pool,
        asked.thresholds,
        _state(gate, asked),
        _counts(gate, asked, len(idle)),
        standing.epoch,
        standing.seen_at_s,
        now_s,
    )
    if refused is None and purpose in gates.BETS:
        held_out = hold_out.check(asked.current, asked.hold_out, asked.pool, now_s)
        watched = self_disabling.check(Watch.from_plain(gate.watch), asked.pool, now_s)
        return gates.first_refusal([_pending_check(asked), _part_check(asked, idle), watched, held_out])
    return refused


def _state(gate: PoolGate, asked: Asked) -> model.GateState:
    return model.GateState(
        stopped=gate.stopped,
        epoch=gate.epoch,
        open=asked.plan.gate_open,
        below_since_s=asked.plan.below_since_s,
        preempted_s=gate.preempted_s,
        recent_hand_outs_s=tuple(gate.hand_outs_s),
        growth_p90=asked.standing.growth_p90,
    )


def _counts(gate: PoolGate, asked: Asked, idle: int) -> gates.Counts:
    usable, plan = asked.standing.usable, asked.plan
    real = sum(1 for bot in usable if bot.held is not None and bot.held.purpose is model.Purpose.REAL)
    return gates.Counts(
        usable=len(usable),
        idle=idle,
        running_all=len(gate.entries),
        running_spec=sum(1 for entry in gate.entries if entry["family"] == asked.hand_out.family),
        utilization=max(plan.utilization, utilization(real, 0, len(usable))),
        gate_open=plan.gate_open,
        below_since_s=plan.below_since_s,
    )


def _pending_check(asked: Asked) -> outcome.GateCheck:
    """Gate 2, for a task that came after the plan."""
    asking = [bot.dimensions for bot in asked.standing.usable if bot.id == asked.bot_id]
    fitting = sum(1 for task in asked.standing.pending for has in asking if matches(task.dimensions, has))
    return gates.pending_gate(asked.bot_id, fitting)


def _part_check(asked: Asked, idle: list[model.Bot]) -> outcome.GateCheck:
    """Gate 4, for the bots that fit the spec as the plan counts them: those like the one that it may name by its id."""
    wanted = tuple(entry for entry in asked.spec.dimensions if entry[0] != ID)
    fit_idle = sum(1 for bot in idle if matches(wanted, bot.dimensions))
    fit_usable = sum(1 for bot in asked.standing.usable if matches(wanted, bot.dimensions))
    return gates.reserve_gate(fit_idle, fit_usable, asked.thresholds, who=f" that fit {asked.spec.family}")
