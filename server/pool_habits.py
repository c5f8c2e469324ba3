"""What a process learns of a pool by looking at it: the turnover of states, the weights of memories, the luck of bets.

Each process learns it from the sums of all of them, and anew after a restart but for the luck of bets, which is on its
page.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from server.policy.bet_ledger import BetLedger
from server.policy.bet_watch import BetWatch
from server.policy.memories import Memories
from server.policy.minds import Minds
from server.policy.model import PoolView, Spec
from server.policy.queues import State
from server.policy.turnover import Turnover


class PoolHabits:
    """The habits of one pool."""

    def __init__(self, bets: BetLedger | None = None) -> None:
        """`bets`: what processes before this one knew of the luck of bets."""
        self._turnover, self._memories, self._bets = Turnover(), Memories(), BetWatch()
        self._bets.ledger = bets or self._bets.ledger
        self._arrivals: dict[State, float] = {}

    @property
    def bets(self) -> BetLedger:
        """What became of forecast prewarms so far."""
        return self._bets.ledger

    def learn(self, minds: Minds) -> None:
        """Learns from a fleet that was just looked at, and tells its view what is known by now."""
        fleet, outlook = minds.fleet, minds.outlook
        view = fleet.view
        self._turnover.see(view.bots)
        self._turnover.pass_on(view.now_s)
        self._bets.see(view.bots, fleet, outlook)
        self._count_arrivals(view, fleet.specs)
        if self._memories.is_due(view.now_s):
            self._memories.look(outlook.expected_per_s(), view.now_s)
        fleet.view = replace(
            view,
            states_put_per_s=self._turnover.per_s,
            memory_weights=dict(self._memories.weights),
            bets=self._bets.ledger,
        )
        outlook.turned()

    def _count_arrivals(self, view: PoolView, specs: Mapping[str, Spec]) -> None:
        """Arrivals since the last look: of states, and of families whose tasks name none: of their current one then."""
        unnamed = {family: demand.arrivals for family, demand in view.demand.items()}
        seen: dict[State, float] = {}
        for (family, generation), demand in view.generation_demand.items():
            if generation:
                seen[family, generation] = demand.arrivals
                unnamed[family] = unnamed.get(family, 0.0) - demand.arrivals
        for family, arrivals in unnamed.items():
            spec = specs.get(family)
            state = family, spec.generation if spec is not None else ""
            seen[state] = seen.get(state, 0.0) + max(0.0, arrivals)
        for state, arrivals in seen.items():
            more = arrivals - self._arrivals.get(state, arrivals)
            if more > 0.0:
                self._memories.came(state, more)
        self._arrivals = seen
