"""What it is worth to warm one bot for one spec now: the four terms of the value, in seconds and in words."""

from __future__ import annotations

from dataclasses import dataclass

from server.policy.fleet import Fleet
from server.policy.levels import Levels
from server.policy.model import Bot, Spec, Value
from server.policy.outlook import DEFAULT_DURATION_S, Outlook
from server.policy.stock import Stock
from server.policy.value import needed_soon
from server.policy.words import named, seconds

PREEMPTION_DELAY_S = 31.0
"""What a real task waits for a background run to end: a grace period and the second until the bot hears of it."""


@dataclass(frozen=True, slots=True)
class _Gross:
    """What one more copy of a spec's state is worth, before what it displaces."""

    probability: float
    saved_s: float
    risk_s: float
    cold_s: float
    in_all_s: float


class Appraiser:
    """Values against the counts as they stand; call `moved()` after each hand-out."""

    def __init__(self, fleet: Fleet, outlook: Outlook, stock: Stock, levels: Levels) -> None:
        self._outlook, self._stock, self._levels = outlook, stock, levels
        families = fleet.view.demand
        self._arrivals_per_s = {
            family: sum(d.rates_per_s.values()) / len(d.rates_per_s) for family, d in families.items() if d.rates_per_s
        }
        self._all_arrivals_per_s = sum(self._arrivals_per_s.values())
        lengths = [d.duration_s for d in families.values() if d.duration_s]
        self._task_s = sum(lengths) / len(lengths) if lengths else DEFAULT_DURATION_S
        self._busy = len(fleet.real)
        self._gross: dict[str, _Gross] = {}
        self._words: dict[str, tuple[str, str]] = {}
        self._values: dict[tuple[str, float], Value] = {}

    def moved(self) -> None:
        """The stock has changed: forget the values made so far."""
        self._gross.clear()
        self._words.clear()
        self._values.clear()

    def net(self, spec: Spec, displaced_s: float = 0.0) -> float:
        """The net value as a share of the cold cost: what is compared with the pool's threshold."""
        gross = self._gross_of(spec)
        return (gross.in_all_s - displaced_s) / gross.cold_s if gross.cold_s > 0 else -1.0

    def value(self, spec: Spec, bot: Bot) -> Value:
        """The whole value of warming the bot, with its words."""
        displaced_s = self._stock.displaced_s(bot, spec)
        key = (spec.family, displaced_s)
        found = self._values.get(key)
        if found is None:
            gross = self._gross_of(spec)
            before, after = self._words_of(spec, gross)
            found = self._values[key] = Value(
                spec.family,
                spec.generation,
                gross.probability,
                gross.saved_s,
                displaced_s,
                gross.risk_s,
                spec.run_cost_s,
                self.net(spec, displaced_s),
                f"{before}{seconds(displaced_s)}{after}{seconds(gross.in_all_s - displaced_s)}",
            )
        return found

    def _words_of(self, spec: Spec, gross: _Gross) -> tuple[str, str]:
        """The words around the term for the state displaced."""
        found = self._words.get(spec.family)
        if found is None:
            found = self._words[spec.family] = (
                f"{named(spec.family, spec.generation)}: {gross.probability:.2f} × {seconds(gross.saved_s)} saved − ",
                f" for the state displaced − {seconds(gross.risk_s)} for the risk of a preemption"
                f" − {seconds(spec.run_cost_s)} run cost = ",
            )
        return found

    def _gross_of(self, spec: Spec) -> _Gross:
        found = self._gross.get(spec.family)
        if found is None:
            saved_s, risk_s = self._outlook.saved_s(spec.family), self._risk_s(spec)
            state = (spec.family, spec.generation)
            probability = self._outlook.curve(state).at(self._stock.next_copy(spec))
            in_all_s = probability * saved_s - risk_s - spec.run_cost_s
            found = self._gross[spec.family] = _Gross(
                probability, saved_s, risk_s, self._outlook.cold_s(spec.family), in_all_s
            )
        return found

    def _risk_s(self, spec: Spec) -> float:
        """P(more real tasks come during the run than there will be other idle bots) × the delay of a preemption.

        Tasks that want this very state do not count: they are what the run is for.
        """
        spare = max(0, self._levels.idle_left - 1) + int(self._busy * min(1.0, spec.run_s / self._task_s))
        others_per_s = self._all_arrivals_per_s - self._arrivals_per_s.get(spec.family, 0.0)
        return needed_soon(others_per_s * spec.run_s, spare) * PREEMPTION_DELAY_S
