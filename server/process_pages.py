"""What a process notes on its pages: polls of bots, arrivals of tasks, costs and gains, counters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from server import page_kinds
from server.page_exchange import PageExchange
from server.page_kinds import COUNTERS, DEMAND, HALF_LIVES_S, LAST_SEEN, LEDGER
from server.policy.model import Demand

if TYPE_CHECKING:
    from server.service import Service

LN2 = 0.6931471805599453
PRIOR_SAVED_S = 960.0
"""What the ledger takes as saved before anything was: 20 prewarms that saved 48 s each."""
SEPARATOR = "\t"
START = SEPARATOR * 2
"""Key of the entry that says since when demand is watched."""


class ProcessPages(PageExchange):
    """The pages of this process, joined with those of all others when they are read."""

    def __init__(self, service: Service) -> None:
        super().__init__(service)
        self._started_s = service.clock.now_s()

    def seen(self, bot_id: str, now_s: float, next_poll_s: float = 0.0) -> None:
        """A bot polled now, and is to poll again at `next_poll_s`."""
        self.put(LAST_SEEN, bot_id, [round(now_s, 1), round(next_poll_s, 1)])

    def last_seen(self, bot_id: str) -> tuple[float, float]:
        """When a bot polled last at any process, and when it is due again; zeros if it is not known.

        What other processes saw is up to FLUSH_EVERY_S + MERGE_EVERY_S old.
        """
        at_s, next_s = self.value(LAST_SEEN, bot_id) or (0.0, 0.0)
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

        A family is counted once, however many of its generations the task names.
        """
        wanted = {(str(family), str(generation)) for family, generation in wishes}
        for family in {family for family, _ in wanted}:
            self._demand(pool, family, "", now_s, _arrival(now_s))
        for family, generation in wanted:
            if generation:
                self._demand(pool, family, generation, now_s, _arrival(now_s))

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
        measured = {"cold": cold_cost_s, "warm": warm_cost_s, "run": duration_s}

        def learn(entry: dict[str, Any]) -> dict[str, Any]:
            news = {
                name: [entry[name][0] + 1, entry[name][1] + seconds]
                for name, seconds in measured.items()
                if seconds is not None
            }
            return {**entry, **news}

        self._demand(pool, family, "", now_s, learn)

    def demand(
        self, pool: str, now_s: float, families: Iterable[str] = ()
    ) -> tuple[dict[str, Demand], dict[tuple[str, str], Demand]]:
        """Demand by family, and by family and generation, as all processes saw it.

        Args:
            pool: whose tasks.
            now_s: the present.
            families: also families that nobody has wanted yet: for them it says for how long that has been so.
        """
        watched_s = self._watched_since_s()
        by_family = {family: Demand(observed_s=max(0.0, now_s - watched_s)) for family in families}
        by_state: dict[tuple[str, str], Demand] = {}
        for key, entry in self.values(DEMAND, _key(pool, "")).items():
            _, family, generation = key.split(SEPARATOR)
            if generation:
                by_state[family, generation] = _policy_demand(entry, now_s, watched_s)
            else:
                by_family[family] = _policy_demand(entry, now_s, watched_s)
        return by_family, by_state

    def _demand(
        self, pool: str, family: str, generation: str, now_s: float, step: Callable[[dict[str, Any]], dict[str, Any]]
    ) -> None:
        self._note_start()
        key = _key(pool, family, generation)
        self.change(DEMAND, key, lambda known: step(known or page_kinds.new_demand(now_s)))

    def _note_start(self) -> None:
        """Writes down, beside the first demand, since when this process has watched."""
        started = page_kinds.new_demand(self._started_s) | {"first": self._started_s}
        self.change(DEMAND, START, lambda known: known or started)

    def _watched_since_s(self) -> float:
        start = self.value(DEMAND, START)
        return min(self._started_s, start["first"]) if start else self._started_s

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

    def ledger_losing(self, pool: str) -> str:
        """Why the pool's ledger holds prewarming back: background seconds per saved second; "" when it does not."""
        most = self._service.config.thresholds(pool).ledger_max_cost
        entries = self.ledger(pool).values()
        spent_s, saved_s = sum(entry["spent"] for entry in entries), sum(entry["saved"] for entry in entries)
        if spent_s <= most * (saved_s + PRIOR_SAVED_S):
            return ""
        return f"{spent_s:.0f} background seconds saved {saved_s:.0f} s, allowed are {most:g} per saved second"

    def _ledger(self, pool: str, family: str, now_s: float, name: str, seconds: float) -> None:
        def book(known: dict[str, Any] | None) -> dict[str, Any]:
            entry = page_kinds.ledger_at(known or page_kinds.new_ledger(now_s), now_s)
            return {**entry, name: entry[name] + seconds}

        self.change(LEDGER, _key(pool, family), book)


def _key(*parts: str) -> str:
    return SEPARATOR.join(part.replace(SEPARATOR, " ") for part in parts)


def _arrival(now_s: float) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def add(entry: dict[str, Any]) -> dict[str, Any]:
        sums = page_kinds.decayed(entry["sums"], HALF_LIVES_S, now_s - entry["at"])
        return {
            **entry,
            "n": entry["n"] + 1,
            "first": entry["first"] or now_s,
            "last": max(entry["last"], now_s),
            "at": max(entry["at"], now_s),
            "sums": [total + 1.0 for total in sums],
        }

    return add


def _policy_demand(entry: Mapping[str, Any], now_s: float, watched_since_s: float) -> Demand:
    sums = page_kinds.decayed(entry["sums"], HALF_LIVES_S, now_s - entry["at"])
    cold_s, warm_s, run_s = (
        total / number if number else None for number, total in (entry[name] for name in ("cold", "warm", "run"))
    )
    return Demand(
        # n arrivals a second for ever add up to n · half-life / ln 2.
        rates_per_s={half: total * LN2 / half for half, total in zip(HALF_LIVES_S, sums, strict=True)},
        last_arrival_s=entry["last"],
        arrivals=float(entry["n"]),
        cold_cost_s=cold_s,
        warm_cost_s=warm_s,
        duration_s=run_s,
        first_arrival_s=entry["first"],
        observed_s=max(0.0, now_s - watched_since_s),
    )
