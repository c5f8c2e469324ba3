"""What it is worth to warm one bot for one spec now: the four terms of the value, in seconds and in words."""

from __future__ import annotations

from server.policy.fleet import Fleet
from server.policy.levels import Levels
from server.policy.model import Bot, Spec, Value
from server.policy.stock import DEFAULT_DURATION_S, Stock
from server.policy.value import needed_soon
from server.policy.words import named, seconds

PREEMPTION_DELAY_S = 31.0
"""What a real task waits for a background run to end: a grace period and the second until the bot hears of it."""


class Appraiser:
    """Values against the counts as they stand; call `moved()` after each hand-out."""

    def __init__(self, fleet: Fleet, stock: Stock, levels: Levels) -> None:
        self._stock, self._levels = stock, levels
        families = fleet.view.demand
        self._arrivals_per_s = {
            family: sum(d.rates_per_s.values()) / len(d.rates_per_s) for family, d in families.items() if d.rates_per_s
        }
        self._all_arrivals_per_s = sum(self._arrivals_per_s.values())
        lengths = [d.duration_s for d in families.values() if d.duration_s]
        self._task_s = sum(lengths) / len(lengths) if lengths else DEFAULT_DURATION_S
        self._busy = len(fleet.real)
        self._texts: dict[tuple[str, int, float, float], Value] = {}

    def moved(self) -> None:
        """The stock has changed: forget the values made so far."""
        self._texts.clear()

    def net(self, spec: Spec, displaced_s: float) -> float:
        """The net value as a share of the cold cost: what is compared with the pool's threshold."""
        return self._terms(spec, displaced_s)[-1]

    def displaced(self, spec: Spec, displaced_s: float) -> float:
        """What a displaced state takes off the net value."""
        cold_s = self._stock.cold_s(spec.family)
        return displaced_s / cold_s if cold_s > 0 else 0.0

    def value(self, spec: Spec, bot: Bot) -> Value:
        """The whole value, with its words."""
        displaced_s = self._stock.slot_worth_s(bot.id, spec.slot)
        probability, saved_s, risk_s, net = self._terms(spec, displaced_s)
        key = (spec.family, spec.sequence, displaced_s, risk_s)
        found = self._texts.get(key)
        if found is None:
            in_all = net * self._stock.cold_s(spec.family)
            text = (
                f"{named(spec.family, spec.generation)}: {probability:.2f} × {seconds(saved_s)} saved"
                f" − {seconds(displaced_s)} for the state displaced − {seconds(risk_s)} for the risk of a preemption"
                f" − {seconds(spec.run_cost_s)} run cost = {seconds(in_all)}"
            )
            found = self._texts[key] = Value(
                spec.family, spec.generation, probability, saved_s, displaced_s, risk_s, spec.run_cost_s, net, text
            )
        return found

    def _terms(self, spec: Spec, displaced_s: float) -> tuple[float, float, float, float]:
        saved_s, cold_s = self._stock.saved_s(spec.family), self._stock.cold_s(spec.family)
        probability = self._stock.curve((spec.family, spec.generation)).at(self._stock.next_copy(spec))
        risk_s = self._risk_s(spec)
        net = (probability * saved_s - displaced_s - risk_s - spec.run_cost_s) / cold_s if cold_s > 0 else -1.0
        return probability, saved_s, risk_s, net

    def _risk_s(self, spec: Spec) -> float:
        """P(more real tasks come during the run than there will be other idle bots) × the delay of a preemption.

        Tasks that want this very state do not count: they are what the run is for.
        """
        spare = max(0, self._levels.idle_left - 1) + int(self._busy * min(1.0, spec.run_s / self._task_s))
        others_per_s = self._all_arrivals_per_s - self._arrivals_per_s.get(spec.family, 0.0)
        return needed_soon(others_per_s * spec.run_s, spare) * PREEMPTION_DELAY_S
