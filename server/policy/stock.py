"""What the pool holds of each warm state, what is expected to be asked of it, and so what each copy is worth."""

from __future__ import annotations

from collections import defaultdict

from server.policy.demand import forecast_rates
from server.policy.fleet import HOLDING, Fleet, State
from server.policy.model import Bot, Demand, Phase, Slot, Spec
from server.policy.value import Curve, Needs, residence_s

DEFAULT_COLD_S = 60.0
DEFAULT_WARM_S = 2.0
DEFAULT_DURATION_S = 300.0
"""Prior of a real task's length."""
INHERITED = 0.8
"""Share of the demand for former generations that their successor takes over; stragglers keep the rest."""
ANNOUNCED_AHEAD_S = 30.0
"""An announcement counts from this long before the latest moment at which a warm-up would still be in time."""


class Stock:
    """Copies of each state on usable bots and their worth, in seconds of waiting that each is expected to save.

    The counts move while a plan is made: `hand_out()` takes one copy away and adds one that warms.
    """

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._view = fleet.view
        self._idle: dict[State, int] = {}
        self._warming: dict[State, int] = defaultdict(int)
        self._busy: dict[State, int] = defaultdict(int)
        self._curves: dict[State, Curve] = {}
        self._saved_s: dict[str, float] = {}
        self._held_states = 0
        self._count_running()
        self.asked_for: set[str] = set()
        """Bots with the copies that pending tasks ask for: the last ones to lose them."""
        self._slot_worth_s: dict[tuple[str, str], float] = {}
        self._bot_worth_s: dict[str, float] = defaultdict(float)
        self._rank_copies()

    def _count_running(self) -> None:
        for bot in self._fleet.usable:
            for slot in bot.slots.values():
                if slot.phase in HOLDING:
                    self._held_states += 1
                elif slot.phase is Phase.IN_USE and slot.family:
                    self._busy[slot.family, slot.generation] += 1
        for bot in self._fleet.background:
            if bot.held is not None and bot.held.family and not bot.held.stop:
                self._warming[bot.held.family, bot.held.generation] += 1

    def _rank_copies(self) -> None:
        """The copy used last is the first to be used again; so the one used longest ago is worth least."""
        copies: dict[State, list[tuple[bool, float, float, str, str]]] = defaultdict(list)
        for bot in self._fleet.idle:
            for name, slot in bot.slots.items():
                if slot.phase in HOLDING:
                    stale = self.is_stale(slot)
                    copies[slot.family, slot.generation].append((stale, -slot.last_used_s, -slot.since_s, bot.id, name))
        for state, holders in copies.items():
            self._idle[state] = sum(1 for holder in holders if not holder[0])
            holders.sort()
            curve, saved_s = self.curve(state), self.saved_s(state[0])
            asked = self._fleet.wished.get(state, 0) + (self._fleet.wished.get((state[0], ""), 0) if state[1] else 0)
            spec = self._fleet.specs.get(state[0])
            current = spec is not None and spec.generation == state[1]
            for rank, (stale, _, _, bot_id, name) in enumerate(holders, start=1):
                worth_s = curve.at(rank) * saved_s
                if rank <= asked:
                    worth_s = saved_s
                    self.asked_for.add(bot_id)
                elif stale and current:
                    worth_s = 0.0  # Past its freshness: another copy has to be made anyway.
                self._slot_worth_s[bot_id, name] = worth_s
                self._bot_worth_s[bot_id] += worth_s

    def is_stale(self, slot: Slot) -> bool:
        """Whether the state is past its spec's freshness, or known to be stale. A superseded one is not for that."""
        spec = self._fleet.specs.get(slot.family)
        if slot.phase is not Phase.WARM:
            return True
        return spec is not None and self._view.now_s - slot.since_s > spec.fresh_for_s

    def demand(self, family: str) -> Demand:
        """Demand for the family, empty when nobody asked yet."""
        return self._view.demand.get(family) or Demand()

    def cold_s(self, family: str) -> float:
        """Seconds that a real task spends on a cold bot: learned, else the spec's guess, else a minute."""
        learned, spec = self.demand(family).cold_cost_s, self._fleet.specs.get(family)
        return learned if learned is not None else spec.cold_cost_s if spec is not None else DEFAULT_COLD_S

    def warm_s(self, family: str) -> float:
        """The same on a warm bot."""
        learned, spec = self.demand(family).warm_cost_s, self._fleet.specs.get(family)
        return learned if learned is not None else spec.warm_cost_s if spec is not None else DEFAULT_WARM_S

    def saved_s(self, family: str) -> float:
        """Seconds that a real task gains on a warm bot, never below 0."""
        found = self._saved_s.get(family)
        if found is None:
            found = self._saved_s[family] = max(0.0, self.cold_s(family) - self.warm_s(family))
        return found

    def rates_per_s(self, state: State) -> list[float]:
        """Expected arrivals for one generation, one rate per memory.

        The current generation of a spec has its family's demand, less what stragglers keep for former generations.
        """
        family, generation = state
        spec = self._fleet.specs.get(family)
        own = self._view.generation_demand
        if spec is None:
            return forecast_rates(own.get(state) or self.demand(family), 0.0)
        if generation != spec.generation:
            kept = own.get(state)
            return [(1.0 - INHERITED) * rate for rate in kept.rates_per_s.values()] if kept else [0.0]
        demand = self.demand(family)
        former = [d for (name, g), d in own.items() if name == family and g not in ("", generation)]
        rates = {
            memory: max(0.0, rate - (1.0 - INHERITED) * sum(d.rates_per_s.get(memory, 0.0) for d in former))
            for memory, rate in demand.rates_per_s.items()
        }
        return forecast_rates(Demand(rates_per_s=rates, observed_s=demand.observed_s), spec.expected_per_h / 3600.0)

    def curve(self, state: State) -> Curve:
        """V(k, ·) of a state."""
        found = self._curves.get(state)
        if found is None:
            family = state[0]
            spec = self._fleet.specs.get(family)
            needs = Needs(
                rates_per_s=self.rates_per_s(state),
                duration_s=self.demand(family).duration_s or DEFAULT_DURATION_S,
                warm_s=self.warm_s(family),
                residence_s=residence_s(
                    self._held_states,
                    self._view.states_put_per_s,
                    self.cold_s(family),
                    spec.fresh_for_s if spec is not None else float("inf"),
                ),
                busy=self._busy.get(state, 0),
            )
            found = self._curves[state] = Curve(needs, self._promises(state))
        return found

    def _promises(self, state: State) -> list[tuple[float, float]]:
        """(copies, confidence) announced for the state and due, the surest first."""
        spec = self._fleet.specs.get(state[0])
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

    def next_copy(self, spec: Spec) -> int:
        """Which copy of the spec's state the next warmed bot would be, from 1."""
        state = (spec.family, spec.generation)
        return self._idle.get(state, 0) + self._warming.get(state, 0) + 1

    def slot_worth_s(self, bot_id: str, slot: str) -> float:
        """What the state in this slot of an idle bot is worth."""
        return self._slot_worth_s.get((bot_id, slot), 0.0)

    def bot_worth_s(self, bot_id: str) -> float:
        """What all warm states of an idle bot are worth."""
        return self._bot_worth_s.get(bot_id, 0.0)

    def hand_out(self, spec: Spec, bot: Bot) -> None:
        """The bot warms for the spec from now on: one copy more of that state, one less of what its slot held."""
        self._warming[spec.family, spec.generation] += 1
        slot = bot.slots.get(spec.slot)
        if slot is not None and slot.phase in HOLDING and not self.is_stale(slot):
            self._idle[slot.family, slot.generation] -= 1
