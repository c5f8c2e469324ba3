"""Takes bets out of a plan after it is made: what stands in their place says why, and what would have been done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from server.policy.gates import BETS
from server.policy.model import Advice, GateCheck, HandOut, PoolPlan, Refused

Doubt = Callable[[HandOut], GateCheck]
"""A hand-out → the gate that it meets."""


def withhold(plan: PoolPlan, doubt: Doubt) -> PoolPlan:
    """The plan without the bets that do not pass; the same object when all of them do."""
    changed = {}
    for bot_id, advice in plan.advice.items():
        bet = advice.background
        if bet is not None and bet.purpose in BETS:
            check = doubt(bet)
            if not check.passed:
                changed[bot_id] = _refused(advice, bet, check)
    return replace(plan, advice={**plan.advice, **changed}) if changed else plan


def _refused(advice: Advice, bet: HandOut, check: GateCheck) -> Advice:
    values = (bet.value,) if bet.value is not None else ()
    refused = Refused(check.gate, check.text, check.would_change, (check,), values)
    return replace(advice, background=None, refused=refused)
