"""What it is worth to warm one bot for one spec now: the four terms of the value, in seconds and in words."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from server.policy.fleet import Fleet
from server.policy.model import Bot, Spec, Value
from server.policy.outlook import Outlook
from server.policy.stock import Stock
from server.policy.value import miss_s, needed_soon, rescuers
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
        self._dull: dict[str, tuple[object, ...]] = {}
        self._version, self._at_s = -1, 0.0
        self._known: dict[str, _Gross] = {}

    def is_dull(self, spec: Spec) -> bool:
        """Whether one more copy was worth too little at the last look and nothing spoke for it since.

        Without an arrival, and with as many copies, demand only fades.
        """
        return self._dull.get(spec.family) == self._stamp(spec)

    def find_dull(self, spec: Spec) -> None:
        """One more copy is worth too little as things stand."""
        self._dull[spec.family] = self._stamp(spec)

    def _stamp(self, spec: Spec) -> tuple[object, ...]:
        state, outlook = (spec.family, spec.generation), self._outlook
        copies, busy = self._stock.next_copy(state), self._fleet.busy_with(state)
        return spec.revision, spec.generation, copies, busy, outlook.stirs.get(spec.family, 0), outlook.turns

    def net(self, spec: Spec, displaced_s: float = 0.0) -> float:
        """The net value as a share of the cold cost: what is compared with the pool's threshold."""
        return _share(self._gross_of(spec), displaced_s)

    def value(self, spec: Spec, bot: Bot) -> Value:
        """The whole value of warming the bot, with its words."""
        return self._told(spec, self._gross_of(spec), self._stock.displaced_by(bot, spec))

    def announced(self, spec: Spec, confidence: float, displaced_s: float) -> Value:
        """The value of a copy for a task that was announced with this confidence.

        Only copies that are busy now can come to that task's rescue: idle and warming ones are spoken for.
        """
        costs = self._outlook.costs(spec.family)
        state = spec.family, spec.generation
        copies = self._fleet.busy_with(state) + len(self._fleet.warming.get(state, ()))
        saved_s = max(0.0, miss_s(costs.cold_s, rescuers(1.0 + copies), costs.occupied_s) - costs.warm_s)
        in_all_s = confidence * saved_s - spec.run_cost_s
        return self._told(spec, _Gross(confidence, saved_s, 0.0, costs.cold_s, in_all_s), displaced_s)

    def _told(self, spec: Spec, gross: _Gross, displaced_s: float) -> Value:
        text = (
            f"{named(spec.family, spec.generation)}: {gross.probability:.2f} × {seconds(gross.saved_s)} saved − "
            f"{seconds(displaced_s)} for the state displaced − {seconds(gross.risk_s)} for the risk of a preemption"
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
        if self._version != fleet.version or self._at_s != fleet.now_s:
            self._version, self._at_s = fleet.version, fleet.now_s
            self._known.clear()
        found = self._known.get(spec.family)
        if found is None:
            found = self._known[spec.family] = self._work_out(spec)
        return found

    def _work_out(self, spec: Spec) -> _Gross:
        state = spec.family, spec.generation
        copy = self._stock.next_copy(state)
        costs = self._outlook.costs(spec.family)
        probability = self._outlook.forecast(state, copy)
        saved_s = max(0.0, self._outlook.miss_s(state, copy) - costs.warm_s)
        risk_s = self._risk_s(spec)
        in_all_s = probability * saved_s - risk_s - spec.run_cost_s
        return _Gross(probability, saved_s, risk_s, costs.cold_s, in_all_s)

    def _risk_s(self, spec: Spec) -> float:
        """P(more real tasks come during the run than there will be other idle bots) × the delay of a preemption.

        Tasks that want this very state do not count: they are what the run is for.
        """
        fleet = self._fleet
        ended = int(len(fleet.real) * min(1.0, spec.run_s / self._outlook.mean_duration_s()))
        spare = max(0, len(fleet.idle) - 1) + ended
        others_per_s = max(0.0, self._outlook.all_per_s() - self._outlook.family_per_s(spec.family))
        return _needed_soon(round(others_per_s * spec.run_s, 3), spare) * PREEMPTION_DELAY_S
