"""What a process notes on its pages: polls of bots, arrivals of tasks, costs and gains, counters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from server import page_kinds
from server.page_exchange import PageExchange
from server.page_kinds import BETS, COUNTERS, DEMAND, LAST_SEEN, LEDGER, SAVINGS, STARTS
from server.policy.bet_ledger import BetLedger
from server.policy.demand import DemandSums
from server.policy.hold_out import Arm
from server.policy.model import Demand
from server.policy.savings import Savings
from server.policy.self_disabling import Starts

if TYPE_CHECKING:
    from server.service import Service

SEPARATOR = "\t"
START = SEPARATOR * 2
"""Key of the entry that says since when demand is watched."""


class ProcessPages(PageExchange):
    """The pages of this process, joined with those of all others when they are read."""

    def __init__(self, service: Service) -> None:
        super().__init__(service)
        self._started_s = service.clock.now_s()
        self._kept_bets: dict[str, BetLedger] = {}

    def seen(self, bot_id: str, now_s: float, next_poll_s: float = 0.0) -> None:
        """A bot polled now, and is to poll again at `next_poll_s`."""
        self.put(LAST_SEEN, bot_id, [round(now_s, 1), round(next_poll_s, 1)])

    def last_seen(self, bot_id: str) -> tuple[float, float]:
        """When a bot polled last at any process, and when it is due again; zeros if it is not known.

        What other processes saw is up to FLUSH_EVERY_S + MERGE_EVERY_S old.
        """
        at_s, next_s = self.value(LAST_SEEN, bot_id) or (0.0, 0.0)
        return at_s, next_s

    def seen_elsewhere(self, bot_id: str) -> tuple[float, float]:
        """The same as the other processes saw it."""
        at_s, next_s = self.value_elsewhere(LAST_SEEN, bot_id) or (0.0, 0.0)
        return at_s, next_s

    def count(self, name: str, amount: float = 1) -> None:
        """Adds to a counter."""
        self.change(COUNTERS, name, lambda known: (known or 0) + amount)

    def counters(self) -> dict[str, float]:
        """Name → number, all processes together."""
        return self.values(COUNTERS)

    # ---- demand

    def arrived(self, pool: str, wishes: Iterable[Sequence[str]], now_s: float) -> None:
        """A real task came that wants the states [(family, generation)…]; generation "" when any serves.

        A family is counted once, however many of its generations the task names. A task is late for a family when all
        the generations of it that it names have a registered successor.
        """
        wanted = {(str(family), str(generation)) for family, generation in wishes}
        late = {state for state in wanted if self._is_former(*state)}
        late |= {(family, "") for family, _ in late if not any(one[0] == family for one in wanted - late)}
        for family, generation in {(family, "") for family, _ in wanted} | wanted:
            is_late = (family, generation) in late
            self._demand(pool, family, generation, partial(DemandSums.add, arrival_s=now_s, late=is_late))

    def _is_former(self, family: str, generation: str) -> bool:
        spec = self._service.view.specs().get(family) if generation else None
        if spec is None:
            return False
        sequence = spec.policy.known_generations.get(generation)
        return sequence is not None and sequence < spec.policy.sequence

    def observed(
        self,
        pool: str,
        family: str,
        now_s: float,
        *,
        cold_cost_s: float | None = None,
        warm_cost_s: float | None = None,
        duration_s: float | None = None,
    ) -> None:
        """A real task that wanted the family told what it took: to start without the state, with it, and to run."""
        self._demand(
            pool,
            family,
            "",
            lambda sums: sums.decay(now_s).observe(cold_s=cold_cost_s, warm_s=warm_cost_s, duration_s=duration_s),
        )

    def demand(
        self, pool: str, now_s: float, families: Iterable[str] = ()
    ) -> tuple[dict[str, Demand], dict[tuple[str, str], Demand]]:
        """Demand by family, and by family and generation, as all processes saw it.

        Args:
            pool: whose tasks.
            now_s: the present.
            families: also families that nobody has wanted yet: for them it says for how long that has been so.
        """
        start = self._watched()
        nobody = DemandSums.watching(start.since_s).demand(now_s)
        by_family = dict.fromkeys(families, nobody)
        by_state: dict[tuple[str, str], Demand] = {}
        for key, sums in self.values(DEMAND, _key(pool, "")).items():
            _, family, generation = key.split(SEPARATOR)
            found = _since(sums, start).demand(now_s)
            if generation:
                by_state[family, generation] = found
            else:
                by_family[family] = found
        return by_family, by_state

    def demand_of(self, pool: str, now_s: float, family: str, generation: str = "") -> Demand | None:
        """The same of one family, or of one of its generations; None when nobody has wanted it yet."""
        sums: DemandSums | None = self.value(DEMAND, _key(pool, family, generation))
        return None if sums is None else _since(sums, self._watched()).demand(now_s)

    def _watched(self) -> DemandSums:
        """Since when anybody has watched."""
        start: DemandSums | None = self.value(DEMAND, START)
        return start or DemandSums.watching(self._started_s)

    def _demand(self, pool: str, family: str, generation: str, step: Callable[[DemandSums], DemandSums]) -> None:
        watching = DemandSums.watching(self._started_s)
        # Beside the first demand of all: since when this process has watched.
        self.change(DEMAND, START, lambda known: known or watching)
        self.change(DEMAND, _key(pool, family, generation), lambda known: step(known or watching))

    # ---- ledger

    def spent(self, pool: str, family: str, seconds: float, now_s: float) -> None:
        """Background work for the family took a bot for so long."""
        self._ledger(pool, family, now_s, "spent", seconds)

    def saved(self, pool: str, family: str, seconds: float, now_s: float) -> None:
        """A real task started so much sooner because a bot had been prewarmed for it."""
        self._ledger(pool, family, now_s, "saved", seconds)

    def ledger(self, pool: str) -> dict[str, dict[str, float]]:
        """Family → background seconds `spent` and seconds `saved`, recent ones in full, those of yesterday half."""
        now_s = self._service.clock.now_s()
        entries = self.values(LEDGER, _key(pool, ""))
        return {key.split(SEPARATOR)[1]: page_kinds.ledger_at(entry, now_s) for key, entry in entries.items()}

    def keep_bets(self, pool: str, ledger: BetLedger) -> None:
        """What became of the pool's forecast prewarms, as this process saw it; so that it outlives the process."""
        if self._kept_bets.get(pool) is not ledger:
            self._kept_bets[pool] = ledger
            self.change(BETS, _key(pool), lambda known: ledger if known is None else known.fuller(ledger))

    def bets(self, pool: str) -> BetLedger:
        """The same as the process knows it that saw most."""
        known: BetLedger = self.value(BETS, _key(pool)) or BetLedger()
        return known

    def started(self, pool: str, cold: bool, now_s: float) -> None:
        """A real task that wanted a state began, cold or warm, and prewarming may have had a part in that."""
        self.change(STARTS, _key(pool), lambda known: (known or Starts()).add(cold, now_s))

    def starts(self, pool: str) -> Starts:
        """Such starts as all processes saw them."""
        known: Starts = self.value(STARTS, _key(pool)) or Starts()
        return known.at(self._service.clock.now_s())

    def compared(self, pool: str, family: str, arm: Arm, window: int, waited_s: float, now_s: float) -> None:
        """A real task that wanted the family got to work so long after it came, in that window of that group."""
        if arm is not Arm.NEITHER:
            self.change(
                SAVINGS, _key(pool, family), lambda known: (known or Savings()).add(arm, window, waited_s, now_s)
            )

    def savings(self, pool: str, family: str) -> Savings:
        """What all processes saw of tasks with and without prewarming."""
        known: Savings = self.value(SAVINGS, _key(pool, family)) or Savings()
        return known.at(self._service.clock.now_s())

    def _ledger(self, pool: str, family: str, now_s: float, name: str, seconds: float) -> None:
        def book(known: dict[str, Any] | None) -> dict[str, Any]:
            entry = page_kinds.ledger_at(known or page_kinds.new_ledger(now_s), now_s)
            return {**entry, name: entry[name] + seconds}

        self.change(LEDGER, _key(pool, family), book)


def _since(sums: DemandSums, start: DemandSums) -> DemandSums:
    """These sums, watched since anything was watched if that is earlier."""
    return replace(sums, since_s=min(sums.since_s, start.since_s))


def _key(*parts: str) -> str:
    return SEPARATOR.join(part.replace(SEPARATOR, " ") for part in parts)
