"""What it is worth to warm one bot for one spec now: the four terms of the value, in seconds and in words."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from server.policy.fleet import Fleet
from server.policy.model import Bot, Spec
from server.policy.outcome import Value
from server.policy.outlook import Outlook
from server.policy.stock import Stock
from server.policy.value import needed_soon
from server.policy.words import named, seconds

PREEMPTION_DELAY_S = 31.0
"""What a real task waits for a background run to end: a grace period and the second until the bot hears of it."""


_needed_soon = lru_cache(maxsize=4096)(needed_soon)


@dataclass(frozen=True, slots=True)
class _Gross:
    """What one more copy of a spec's state is worth, before what it displaces."""

    probability: float
    saved_s: float
    risk_s: float
    cold_s: float
    in_all_s: float


def _share(gross: _Gross, displaced_s: float) -> float:
    return (gross.in_all_s - displaced_s) / gross.cold_s if gross.cold_s > 0 else -1.0


class Appraiser:
    """Values against the fleet as it stands. It outlives a plan where the fleet does."""

    def __init__(self, fleet: Fleet, outlook: Outlook, stock: Stock) -> None:
        self._fleet, self._outlook, self._stock = fleet, outlook, stock
        self._as_of = -1, -1, 0.0
        self._known: dict[str, _Gross] = {}
        self._turns, self._read, self._faded = -1, 0, 0
        self._promise: dict[str, float] = {}
        """By family the most that one more copy can be worth, where that is enough for any bet."""

    def promising(self, least: float) -> list[Spec]:
        """The specs of which one more copy is worth so much, but for the risk and for what it would displace.

        Where demand has only faded, what was too little is not worth more now. No copy is worth more than a cold start.
        """
        fleet, outlook = self._fleet, self._outlook
        if least > 1.0:
            return []
        again: Iterable[str] = fleet.specs
        if self._turns == outlook.turns:
            faded = [family for family in outlook.faded.since(self._faded) if family in self._promise]
            again = dict.fromkeys([*fleet.changed.since(self._read), *faded])
        for family in again:
            spec = fleet.specs.get(family)
            most = self._most(spec) if spec is not None else -1.0
            if most >= fleet.view.thresholds.value_threshold:
                self._promise[family] = most
            else:
                self._promise.pop(family, None)
        self._read, self._faded, self._turns = fleet.changed.end, outlook.faded.end, outlook.turns
        return [fleet.specs[family] for family, most in self._promise.items() if most >= least]

    def promise(self, spec: Spec) -> float:
        """The net value with neither risk nor anything displaced of a spec that was found promising just now."""
        return self._promise[spec.family]

    def _most(self, spec: Spec) -> float:
        """The net value with neither risk nor anything displaced."""
        probability, saved_s, cold_s = self._gain(spec)
        return (probability * saved_s - spec.run_cost_s) / cold_s if cold_s > 0 else -1.0

    def net(self, spec: Spec, bot: Bot | None = None) -> float:
        """The net value as a share of the cold cost, on a bot that gives nothing up or on this one."""
        return _share(self._gross_of(spec), self._displaced_s(spec, bot) if bot is not None else 0.0)

    def probability(self, spec: Spec) -> float:
        """That one more copy of the spec's state is needed, by arrivals alone."""
        return self._gross_of(spec).probability

    def _displaced_s(self, spec: Spec, bot: Bot) -> float:
        """What is lost on the bot when it is warmed for the spec."""
        return self._stock.displaced_by(bot, spec, self.probability(spec))

    def value(self, spec: Spec, bot: Bot) -> Value:
        """The whole value of warming the bot, with its words."""
        return self._told(spec, self._gross_of(spec), self._displaced_s(spec, bot))

    def announced(self, spec: Spec, confidence: float, bot: Bot, supply: float, lacking: float) -> Value:
        """The value of a copy for a task that was announced with this confidence.

        `supply` copies are expected to be there by then, and so many more `lacking` for what is needed at once.
        """
        costs = self._outlook.costs(spec.family)
        saved_s = costs.saved_beside_s(supply, lacking)
        gross = _Gross(confidence, saved_s, 0.0, costs.cold_s, confidence * saved_s - spec.run_cost_s)
        return self._told(spec, gross, self._stock.displaced_by(bot, spec, confidence))

    def _told(self, spec: Spec, gross: _Gross, displaced_s: float) -> Value:
        text = (
            f"{named(spec.family, spec.generation)}: {gross.probability:.2f} × {seconds(gross.saved_s)} saved − "
            f"{seconds(displaced_s)} for what the bot holds − {seconds(gross.risk_s)} for the risk of a preemption"
            f" − {seconds(spec.run_cost_s)} run cost = {seconds(gross.in_all_s - displaced_s)}"
        )
        return Value(
            spec.family,
            spec.generation,
            gross.probability,
            gross.saved_s,
            displaced_s,
            gross.risk_s,
            spec.run_cost_s,
            _share(gross, displaced_s),
            text,
        )

    def _gross_of(self, spec: Spec) -> _Gross:
        fleet = self._fleet
        as_of = fleet.changed.end, fleet.moved.end, fleet.now_s
        if self._as_of != as_of:
            self._as_of = as_of
            self._known.clear()
        found = self._known.get(spec.family)
        if found is None:
            found = self._known[spec.family] = self._work_out(spec)
        return found

    def _work_out(self, spec: Spec) -> _Gross:
        probability, saved_s, cold_s = self._gain(spec)
        risk_s = self._risk_s(spec)
        in_all_s = probability * saved_s - risk_s - spec.run_cost_s
        return _Gross(probability, saved_s, risk_s, cold_s, in_all_s)

    def _gain(self, spec: Spec) -> tuple[float, float, float]:
        """Of one more copy: the probability that it is needed, what it saves then, and the cold cost."""
        state = spec.family, spec.generation
        copy = self._stock.next_copy(state)
        costs = self._outlook.costs(spec.family)
        probability, missed_s = self._outlook.need_and_miss(state, copy)
        return probability, max(0.0, missed_s - costs.warm_s), costs.cold_s

    def _risk_s(self, spec: Spec) -> float:
        """P(more real tasks come during the run than there will be other idle bots) × the delay of a preemption.

        Tasks that want this very state do not count: they are what the run is for.
        """
        fleet = self._fleet
        ended = int(len(fleet.real) * min(1.0, spec.run_s / self._outlook.mean_duration_s()))
        spare = max(0, len(fleet.idle) - 1) + ended
        others_per_s = max(0.0, self._outlook.all_per_s() - self._outlook.family_per_s(spec.family))
        return _needed_soon(round(others_per_s * spec.run_s, 3), spare) * PREEMPTION_DELAY_S
