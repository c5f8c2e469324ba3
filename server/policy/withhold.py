"""Takes bets out of a plan after it is made: what stands in their place says why, and what would have been done."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from server.policy.gates import BETS
from server.policy.model import Gate
from server.policy.outcome import Advice, GateCheck, HandOut, PoolPlan, Refused

Doubt = Callable[[str, HandOut], GateCheck]
"""A bot, and the hand-out that it would get → the gate that it meets."""


class Doubted(Mapping[str, Advice]):
    """The advice of a plan, less the bets that meet a closed gate; looked at bot by bot, when somebody asks."""

    def __init__(self, advice: Mapping[str, Advice], doubt: Doubt) -> None:
        self._advice, self._doubt = advice, doubt
        self._told: dict[str, Advice] = {}

    def __getitem__(self, bot_id: str) -> Advice:
        found = self._told.get(bot_id)
        if found is None:
            found = self._told[bot_id] = self._look(bot_id, self._advice[bot_id])
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._advice)

    def __len__(self) -> int:
        return len(self._advice)

    def _look(self, bot_id: str, advice: Advice) -> Advice:
        bet = advice.background
        if bet is None or bet.purpose not in BETS:
            return advice
        check = self._doubt(bot_id, bet)
        if check.passed:
            return advice
        values = (bet.value,) if bet.value is not None else ()
        refused = Refused(check.gate, check.text, check.would_change, (check,), values)
        return replace(advice, background=None, refused=refused)


def withhold(plan: PoolPlan, doubt: Doubt) -> PoolPlan:
    """The plan without the bets that do not pass."""
    return replace(plan, advice=Doubted(plan.advice, doubt))


def with_ledger(plan: PoolPlan, check: GateCheck) -> PoolPlan:
    """The plan with this for its gate 9."""
    return replace(plan, gates=tuple(check if one.gate is Gate.LEDGER else one for one in plan.gates))
