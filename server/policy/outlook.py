"""What is expected to be asked of each warm state: arrival rates, costs, announcements, and so the curve V(k, ·)."""

from __future__ import annotations

from collections import defaultdict

from server.policy.demand import forecast_rates
from server.policy.fleet import HOLDING, Fleet, State
from server.policy.model import Demand, Phase
from server.policy.value import Curve, Needs, residence_s

DEFAULT_COLD_S = 60.0
DEFAULT_WARM_S = 2.0
DEFAULT_DURATION_S = 300.0
"""Prior of a real task's length."""
INHERITED = 0.8
"""Share of the demand for former generations that their successor takes over; stragglers keep the rest."""
ANNOUNCED_AHEAD_S = 30.0
"""An announcement counts from this long before the latest moment at which a warm-up would still be in time."""


class Outlook:
    """Demand for the states of one view. Rates are tasks per second, costs are seconds."""

    def __init__(self, fleet: Fleet) -> None:
        self._view, self._specs = fleet.view, fleet.specs
        self._named: dict[str, list[tuple[str, Demand]]] = defaultdict(list)
        for (family, generation), demand in self._view.generation_demand.items():
            if generation:
                self._named[family].append((generation, demand))
        self._held_states = 0
        self._busy: dict[State, int] = defaultdict(int)
        for bot in fleet.usable:
            for slot in bot.slots.values():
                if slot.phase in HOLDING:
                    self._held_states += 1
                elif slot.phase is Phase.IN_USE and slot.family:
                    self._busy[slot.family, slot.generation] += 1
        self._curves: dict[State, Curve] = {}
        self._saved_s: dict[str, float] = {}

    def _demand(self, family: str) -> Demand:
        return self._view.demand.get(family) or Demand()

    def cold_s(self, family: str) -> float:
        """Seconds that a real task spends on a cold bot: learned, else the spec's guess, else a minute."""
        learned, spec = self._demand(family).cold_cost_s, self._specs.get(family)
        return learned if learned is not None else spec.cold_cost_s if spec is not None else DEFAULT_COLD_S

    def warm_s(self, family: str) -> float:
        """The same on a warm bot."""
        learned, spec = self._demand(family).warm_cost_s, self._specs.get(family)
        return learned if learned is not None else spec.warm_cost_s if spec is not None else DEFAULT_WARM_S

    def saved_s(self, family: str) -> float:
        """Seconds that a real task gains on a warm bot, never below 0."""
        found = self._saved_s.get(family)
        if found is None:
            found = self._saved_s[family] = max(0.0, self.cold_s(family) - self.warm_s(family))
        return found

    def rates_per_s(self, state: State) -> list[float]:
        """Expected arrivals for one generation, one rate per memory.

        The current generation of a spec has its family's demand, less what stragglers keep for former generations. A
        former one has its stragglers. (family, "") stands for the tasks that take any generation.
        """
        family, generation = state
        spec = self._specs.get(family)
        if spec is None:
            return forecast_rates(self._view.generation_demand.get(state) or self._demand(family), 0.0)
        if generation == spec.generation:
            stragglers = [(name, 1.0 - INHERITED) for name, _ in self._named[family] if name != generation]
            return self._family_less(family, dict(stragglers), spec.expected_per_h / 3600.0)
        if not generation:
            return self._family_less(family, {name: 1.0 for name, _ in self._named[family]}, 0.0)
        own = self._view.generation_demand.get(state)
        return [(1.0 - INHERITED) * rate for rate in own.rates_per_s.values()] if own else [0.0]

    def _family_less(self, family: str, shares: dict[str, float], prior_per_s: float) -> list[float]:
        """The family's demand less these shares of the demand for some of its generations."""
        whole = self._demand(family)
        others = [(shares[name], demand.rates_per_s) for name, demand in self._named[family] if name in shares]
        rates = {
            memory: max(0.0, rate - sum(part * of.get(memory, 0.0) for part, of in others))
            for memory, rate in whole.rates_per_s.items()
        }
        return forecast_rates(Demand(rates_per_s=rates, observed_s=whole.observed_s), prior_per_s)

    def curve(self, state: State) -> Curve:
        """V(k, ·) of a state."""
        found = self._curves.get(state)
        if found is None:
            family = state[0]
            spec = self._specs.get(family)
            fresh_for_s = spec.fresh_for_s if spec is not None else float("inf")
            needs = Needs(
                rates_per_s=self.rates_per_s(state),
                duration_s=self._demand(family).duration_s or DEFAULT_DURATION_S,
                warm_s=self.warm_s(family),
                residence_s=residence_s(
                    self._held_states, self._view.states_put_per_s, self.cold_s(family), fresh_for_s
                ),
                busy=self._busy.get(state, 0),
            )
            found = self._curves[state] = Curve(needs, self._promises(state))
        return found

    def _promises(self, state: State) -> list[tuple[float, float]]:
        """(copies, confidence) announced for the state and due, the surest first."""
        spec = self._specs.get(state[0])
        lead_s = ANNOUNCED_AHEAD_S + (spec.run_s if spec is not None else 0.0)
        current = spec is None or state[1] == spec.generation
        due = [
            (a.count, a.confidence)
            for a in self._view.announcements
            if a.family == state[0]
            and (a.generation == state[1] or (not a.generation and current))
            and a.from_s - lead_s <= self._view.now_s <= a.until_s
        ]
        return sorted(due, key=lambda promise: -promise[1])
