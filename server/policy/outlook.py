"""What is expected to be asked of each warm state: arrival rates, costs, announcements, and so the value V(k, j)."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable

from server.policy.costs import Costs
from server.policy.demand import with_guess
from server.policy.demand_looks import DemandLooks, Glance
from server.policy.expected import Expected
from server.policy.feed import Feed
from server.policy.fleet import Fleet
from server.policy.learned import FOLLOWERS
from server.policy.model import Announcement, Demand, PoolView
from server.policy.queues import State
from server.policy.ranks import SHORT_BY, Ranks
from server.policy.totals import DEFAULT_DURATION_S, Totals, mean_per_s
from server.policy.uses import Use
from server.policy.value import LONGEST_RESIDENCE_S, coming_free, stay_s

DEFAULT_COLD_S = 60.0
DEFAULT_WARM_S = 2.0
INHERITED = 0.8
"""Share of the demand for former generations that their successor takes over; stragglers keep the rest …"""
PRIOR_ARRIVALS = 50.0
"""… as if so many had been seen."""
MOVED_BEFORE = 3
"""From so many generations on the family's own stragglers tell: those of the first say nothing of late ones."""
ANNOUNCED_AHEAD_S = 30.0
"""An announcement counts in full from this long before the latest moment at which a warm-up would be in time."""
SUMS_AGE_S = 30.0
"""What is summed up over all families holds for this long …"""
DRIFT = 0.2
"""… and how long states stay, and tasks take on average, until that is off by such a share."""
MATTERS_TASKS = 6.0
"""For so many tasks' lengths after a cold start it matters which copies there are; then the stock has forgotten it."""
SHORTEST_HORIZON_S = 900.0
"""… but never for less than rates are measured over."""

_NOBODY = Demand()


def _is_off(now: float, known: float) -> bool:
    return abs(now - known) > DRIFT * known


class Outlook:
    """Demand for the states of a pool. Rates are tasks per second, costs are seconds.

    All of a family is as of the last look at it, which does not depend on what was asked before. Where the fleet is
    kept up, `look()` is called at every decision, `stirred()` says that a family's demand changed, `turned()` that all
    did.
    """

    def __init__(self, fleet: Fleet) -> None:
        self._fleet, self._specs = fleet, fleet.specs
        self._rates: dict[str, dict[str, Expected]] = {}
        """By family and generation."""
        self._costs: dict[str, Costs] = {}
        self._named: dict[str, list[Demand]] | None = None
        self._announced_in: tuple[Announcement, ...] = ()
        self._announced: dict[str, list[Announcement]] = {}
        self.faded: Feed[str] = Feed()
        """Families that were looked at anew though nothing was heard: they are worth less by now."""
        self.turns = 0
        """How often everything was looked at anew."""
        self._turn()

    @property
    def _view(self) -> PoolView:
        return self._fleet.view

    def stirred(self, state: State) -> None:
        """A task of this state came."""
        self._looks.note(state[0], self._fleet.now_s)
        self._totals.note(state[0])
        self._costs.pop(state[0], None)
        self._forget_rates(state[0])

    def measured(self, family: str) -> None:
        """What is known of how long the family's tasks take changed."""
        self._totals.note(family)
        self._costs.pop(family, None)
        for rates in self._rates.get(family, {}).values():
            rates.forget()
        self._fleet.changed.note(family)

    def _forget_rates(self, family: str) -> None:
        self._rates.pop(family, None)
        self._fleet.changed.note(family)

    def turned(self) -> None:
        """The weights of the memories or the residence changed: nothing that was worked out holds."""
        self._named = None
        self._turn()

    def look(self) -> None:
        """Demand fades with time: another look at those families whose last one is over."""
        self._by_family()
        self._take_specs()
        for family in self._looks.over(self._fleet.now_s):
            self._rates.pop(family, None)
            self.faded.note(family)
        if not 0.0 <= self._fleet.now_s - self._totals.at_s <= SUMS_AGE_S:
            self._totals.sum_up(self._fleet.now_s)
            held, mean_s = self._fleet.held_states, self._totals.mean_duration_s
            if _is_off(held, self._held_states) or _is_off(mean_s, self._mean_duration_s):
                self._turn()

    def _take_specs(self) -> None:
        """What was worked out of families with another spec does not hold."""
        specs, known = self._fleet.specs, self._specs
        if specs is known:
            return
        self._specs = specs
        for family, spec in specs.items():
            if known.get(family) is not spec:
                self._costs.pop(family, None)
                self._forget_rates(family)

    def _turn(self) -> None:
        self.turns += 1
        self._rates.clear()
        self._weights: dict[tuple[int, ...], list[float]] = {}
        self._looks = DemandLooks(self._view.demand, self._fleet.now_s)
        self._totals = Totals(self._view.demand, self._fleet.now_s)
        self._held_states, self._mean_duration_s = self._fleet.held_states, self._totals.mean_duration_s

    # ---- costs

    def costs(self, family: str) -> Costs:
        """Learned ones, else the spec's guess, else a minute cold and five minutes of work."""
        found = self._costs.get(family)
        if found is None:
            known, spec = self._view.demand.get(family, _NOBODY), self._fleet.specs.get(family)
            cold_s = spec.cold_cost_s if spec is not None else DEFAULT_COLD_S
            warm_s = spec.warm_cost_s if spec is not None else DEFAULT_WARM_S
            cold_s = known.cold_cost_s if known.cold_cost_s is not None else cold_s
            warm_s = known.warm_cost_s if known.warm_cost_s is not None else warm_s
            duration_s = known.duration_s or DEFAULT_DURATION_S
            first_s = known.first_hour_s or min(duration_s, LONGEST_RESIDENCE_S)
            found = self._costs[family] = Costs(cold_s, warm_s, max(0.0, cold_s - warm_s), duration_s, first_s)
        return found

    def cold_s(self, family: str) -> float:
        """Seconds that a real task spends on a cold bot before useful work."""
        return self.costs(family).cold_s

    def saved_s(self, family: str) -> float:
        """Seconds that a real task gains on a warm bot, never below 0."""
        return self.costs(family).saved_s

    def works_from_s(self, use: Use) -> float:
        """When a task that uses a state is expected to begin its work, or began it: once it has made what it makes.

        Where it makes several states, after the longest of those starts.
        """
        return use.since_s + max([self.cold_s(family) for family in use.makes], default=0.0)

    # ---- rates

    def rates_per_s(self, state: State) -> list[float]:
        """Expected arrivals for one generation, one rate per memory.

        The current generation of a spec has its family's demand, less what stragglers keep for former generations. A
        former one has its stragglers. (family, "") stands for the tasks that take any generation.
        """
        return self._rates_of(state).tasks_per_s

    def expected_per_s(self) -> dict[State, dict[int, float]]:
        """What each memory expects of every state that anybody wanted or a spec makes now."""
        states = {state for state in self._view.generation_demand if state[1]}
        states.update((family, spec.generation) for family, spec in self._fleet.specs.items())
        states.update((family, "") for family in self._view.demand if family not in self._fleet.specs)
        return {
            state: dict(zip(self._view.demand[state[0]].rates_per_s, self.rates_per_s(state), strict=True))
            for state in states
            if state[0] in self._view.demand
        }

    def _rates_of(self, state: State) -> Expected:
        family, generation = state
        of_family = self._rates.get(family)
        if of_family is None:
            of_family = self._rates[family] = {}
        found = of_family.get(generation)
        if found is None:
            memories = tuple(self._view.demand.get(family, _NOBODY).rates_per_s) or (0,)
            weights = self._weights_of(memories)
            matters_s = max(SHORTEST_HORIZON_S, self.cold_s(family) + MATTERS_TASKS * self.mean_duration_s())
            rates = self._work_out(state, Glance(memories, self._looks.at_s(family)))
            found = of_family[generation] = Expected(rates, weights, self._stay_s(family), matters_s)
        return found

    def _weights_of(self, memories: tuple[int, ...]) -> list[float]:
        """Learned or all the same; they add up to 1."""
        found = self._weights.get(memories)
        if found is None:
            known = self._view.memory_weights
            found = [known.get(memory, 0.0) for memory in memories] if known else [1.0] * len(memories)
            in_all = sum(found) or 1.0
            found = self._weights[memories] = [weight / in_all for weight in found]
        return found

    def _work_out(self, state: State, glance: Glance) -> list[float]:
        family, generation = state
        view, spec = self._view, self._fleet.specs.get(family)
        own = view.generation_demand.get(state, _NOBODY)
        whole = view.demand.get(family, _NOBODY)
        if spec is None:
            return glance.now(own if state in view.generation_demand else whole)
        if not generation:
            return self._unnamed(family, glance)
        if generation != spec.generation:
            late = glance.late(own)
            rates, kept = glance.now(own), self._kept_share(family)
            return [kept * (rate - part) + part for rate, part in zip(rates, late, strict=True)]
        rates = glance.now(whole)
        if self._has_others(family, own):
            rates = self._inherited(family, rates, own, glance)
        return with_guess(rates, whole.observed_s, spec.expected_per_h / 3600.0)

    def _inherited(self, family: str, whole: list[float], own: Demand, glance: Glance) -> list[float]:
        """The family's demand, less what stragglers keep of former generations, and those that came late."""
        unnamed, mine = self._unnamed(family, glance), glance.now(own)
        late = glance.late(self._view.demand.get(family, _NOBODY))
        kept = self._kept_share(family)
        found = []
        for every, any_one, one, part in zip(whole, unnamed, mine, late, strict=True):
            former = max(0.0, every - any_one - one)
            found.append(max(0.0, every - kept * max(0.0, former - part) - part))
        return found

    def _kept_share(self, family: str) -> float:
        """The share of a generation's demand that stragglers keep when the next one comes.

        As in the last days, where the family moved before: late arrivals of all, and PRIOR_ARRIVALS of which 1 −
        INHERITED were late. Never more than that, so that the fleet follows its users.
        """
        spec, demand = self._fleet.specs.get(family), self._view.demand.get(family, _NOBODY)
        memory = max(demand.rates_per_s, default=0)
        if spec is None or len(spec.known_generations) < MOVED_BEFORE or not memory:
            return 1.0 - INHERITED
        prior = PRIOR_ARRIVALS * math.log(2.0) / memory
        late, every = demand.late_per_s.get(memory, 0.0), demand.rates_per_s[memory]
        return min(1.0 - INHERITED, (late + (1.0 - INHERITED) * prior) / (every + prior))

    def _has_others(self, family: str, own: Demand) -> bool:
        any_one = self._view.generation_demand.get((family, ""), _NOBODY)
        return self._view.demand.get(family, _NOBODY).arrivals > own.arrivals + any_one.arrivals

    def _unnamed(self, family: str, glance: Glance) -> list[float]:
        """Arrivals that take any generation: told, else the family's less those of its generations."""
        told = self._view.generation_demand.get((family, ""))
        if told is not None:
            return glance.now(told)
        rates = glance.now(self._view.demand.get(family, _NOBODY))
        for demand in self._by_generation().get(family, ()):
            rates = [max(0.0, a - b) for a, b in zip(rates, glance.now(demand), strict=True)]
        return rates

    def _by_generation(self) -> dict[str, list[Demand]]:
        """Per family the demand for each of its generations; for a view that does not tell the others apart."""
        if self._named is None:
            self._named = defaultdict(list)
            for (family, generation), demand in self._view.generation_demand.items():
                if generation:
                    self._named[family].append(demand)
        return self._named

    def _stay_s(self, family: str) -> float:
        spec = self._fleet.specs.get(family)
        fresh_for_s = spec.fresh_for_s if spec is not None else math.inf
        states = max(self._held_states, 1)
        return stay_s(states, self._view.states_put_per_s, self.cold_s(family), fresh_for_s)

    def all_per_s(self) -> float:
        """Arrivals of all families, averaged over the memories, at the last look."""
        return self._totals.all_per_s

    def mean_duration_s(self) -> float:
        """The mean length of the tasks that come, as far as families have measured theirs, at the last look."""
        return self._mean_duration_s

    def family_per_s(self, family: str) -> float:
        """Arrivals of one family, averaged over the memories."""
        return mean_per_s(self._view.demand.get(family, _NOBODY))

    # ---- values

    def value(self, state: State, copy: int) -> float:
        """V(k, j) of the copy-th idle copy (from 1): by arrivals, or as far as somebody announced it."""
        return max(self.forecast(state, copy), self.announced(state, copy))

    def forecast(self, state: State, copy: int) -> float:
        """V(k, j) by arrivals alone, within the horizon."""
        return self._with_uses(state).need(copy, self.costs(state[0]))

    def need_and_miss(self, state: State, copy: int) -> tuple[float, float]:
        """V(k, j) by arrivals alone of a copy yet to be made, and m: what a task pays that misses it, in seconds.

        Copies on bots that work on something else count as well (decision 37); one that is used may come free in time.
        """
        return self._with_uses(state).need_and_miss(copy, self.costs(state[0]))

    def need_in_all(self, state: State, copy: int) -> float:
        """The probability that the copy-th idle copy is needed by arrivals in all the time for which it would stay."""
        return self._with_uses(state).need_in_all(copy, self.costs(state[0]))

    def _with_uses(self, state: State) -> Expected:
        """As of the last look, with the tasks that use the state now."""
        found, version = self._rates_of(state), self._fleet.use_changes[state[0]]
        if found.in_use != version:
            at_s, mean_s = self._looks.at_s(state[0]), self._mean_duration_s
            ages_s = [at_s - self.works_from_s(use) for use in self._fleet.uses_of(state)]
            beside_s = [at_s - use.since_s for use in self._fleet.beside.of([state])]
            found.see_uses(version, ages_s, coming_free(beside_s, mean_s, found.horizon_s))
        return found

    def horizon_s(self, state: State) -> float:
        """T: over how long a copy of the state is judged."""
        return self._rates_of(state).horizon_s

    # ---- announcements

    def announcements(self, state: State) -> list[Announcement]:
        """What is announced of the state and not over, what is due first at the front."""
        family, generation = state
        spec = self._fleet.specs.get(family)
        current = spec is None or generation == spec.generation
        return [
            one
            for one in self._by_family().get(family, ())
            if one.until_s >= self._fleet.now_s and (one.generation == generation or (not one.generation and current))
        ]

    def announced_families(self) -> Iterable[str]:
        """Families of which something is announced: what it tells changes as time passes."""
        return self._by_family().keys()

    def _by_family(self) -> dict[str, list[Announcement]]:
        if self._announced_in is not self._view.announcements:
            self._announced_in = self._view.announcements
            found: dict[str, list[Announcement]] = defaultdict(list)
            for one in self._announced_in:
                found[one.family].append(one)
            for several in found.values():
                several.sort(key=lambda one: (one.from_s, one.source))
            for family in {**self._announced, **found}:
                self._fleet.changed.note(family)
            self._announced = dict(found)
        return self._announced

    def announced(self, state: State, copy: int) -> float:
        """How far the copy-th copy is needed for what was announced while it would stay, 0 to 1; 0: it is not.

        The weight of an entry for which so many are needed at once, tasks that are due earlier give theirs back; and of
        that the share of a cold start that they would lose without the copy. What followers announce is our own guess:
        it keeps copies that are there, and makes no other one worth more.
        """
        if not self._view.announcements:
            return 0.0
        costs = self.costs(state[0])
        if costs.saved_s <= 0.0:
            return 0.0
        stays_s = min(self._rates_of(state).stay_s, LONGEST_RESIDENCE_S)
        horizon_s, rank, most = self._fleet.now_s + stays_s, self.ranks(state[0]), 0.0
        idle = len(self._fleet.fresh.get(state, ()))
        for one in self.announcements(state):
            if one.from_s > horizon_s:
                break
            if one.source == FOLLOWERS and copy > idle:
                continue
            lacking = rank.at(one) - (copy - 1)
            if lacking + 1e-9 >= SHORT_BY:
                most = max(most, self.weight(one) * costs.saved_beside_s(copy - 1.0, lacking) / costs.saved_s)
        return most

    def weight(self, one: Announcement) -> float:
        """How much a copy for the announced task is worth now, 0 to 1: its confidence when a warm-up must begin.

        A copy could still be made again for what is due later than a warm-up takes, so it counts the less the later.
        """
        lead_s = self.cold_s(one.family) + ANNOUNCED_AHEAD_S
        return one.confidence * min(1.0, lead_s / max(1.0, one.from_s - self._fleet.now_s))

    def ranks(self, family: str) -> Ranks:
        """To be asked of the entries of one state in the order in which they are due."""
        return Ranks(self.costs(family).occupied_s)
