"""Scores of pools in shadow mode: one process follows what their bets would have become, and counts it.

Every process notes which real tasks began, as its view hears of them; the one that has the sweep keeps the book.
"""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from typing import TYPE_CHECKING

from server import ledger
from server.policy import shadow_score
from server.policy.at_hand import HOLDING
from server.policy.model import Phase, Purpose
from server.policy.shadow_score import ShadowBook, Start, Use

if TYPE_CHECKING:
    from server.service import Service
    from server.sweep_schedule import Beat
    from server.view_entries import BotEntry

PERIOD_S = 30.0
MOST_STARTS = 5000
"""Starts of a pool that are remembered until the next sweep."""
CPU_SHARE = 0.02
"""A decision that took t seconds is not made anew for t / share seconds."""
COUNTS = ("shadow_prewarms", "shadow_used", "shadow_spent_s", "shadow_saved_s", "shadow_lost_s")


class ShadowScores:
    """What one process knows; shared by its threads."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._lock = threading.Lock()
        self._starts: dict[str, deque[Start]] = defaultdict(lambda: deque(maxlen=MOST_STARTS))
        self._books: dict[str, ShadowBook] = {}
        self._next_s: dict[str, float] = {}
        self._swept_s = float("-inf")

    def is_scored(self, pool: str) -> bool:
        """Whether the pool decides what it does not hand out."""
        return self._service.config.thresholds(pool).mode == "shadow" or self._service.view.watch(pool).is_shadow

    def saw(self, entry: BotEntry) -> None:
        """A bot was given a run."""
        held = entry.policy.held
        if held is not None and held.purpose is Purpose.REAL and self.is_scored(entry.pool):
            with self._lock:
                self._starts[entry.pool].append(_start(entry, held.since_s))

    def sweep(self, beat: Beat) -> None:
        """Takes in the tasks that began, then what would be decided now; counts what came of it."""
        with self._lock:
            starts, self._starts = dict(self._starts), defaultdict(lambda: deque(maxlen=MOST_STARTS))
        if beat.last_s != self._swept_s:
            self._books.clear()  # another process swept in between: what it had under way is lost
        self._swept_s = beat.now_s
        for pool in self._service.view.pools():
            if self.is_scored(pool):
                book = self._books.setdefault(pool, ShadowBook())
                self._follow(pool, book, starts.get(pool, ()))
                self._count(pool, book)
            else:
                self._books.pop(pool, None)

    def _follow(self, pool: str, book: ShadowBook, starts: tuple[()] | deque[Start]) -> None:
        service, now_s = self._service, self._service.clock.now_s()
        entries = {entry.policy.id: entry.policy for entry in service.view.bots(pool)}
        book.keep_bots((name for name, bot in entries.items() if bot.alive), now_s)
        worth_s = self._saved_s(pool)
        for start in starts:
            book.start(start, lambda name: entries[name].held is None, lambda family: worth_s.get(family, 0.0))
        clock = service.clock
        if clock.monotonic_s() >= self._next_s.get(pool, 0.0):
            began_s = clock.monotonic_s()
            book.decide(shadow_score.decided(service.view.pool_view(pool), worth_s), now_s)
            self._next_s[pool] = clock.monotonic_s() + (clock.monotonic_s() - began_s) / CPU_SHARE

    def _saved_s(self, pool: str) -> dict[str, float]:
        """Per family what a warm start saves."""
        demand, _ = self._service.pages.demand(pool, self._service.clock.now_s())
        found = {}
        for family, spec in self._service.view.specs().items():
            if spec.policy_pool == pool:
                cold_s, warm_s = ledger.costs(spec.policy.cold_cost_s, spec.policy.warm_cost_s, demand.get(family))
                found[family] = max(0.0, cold_s - warm_s)
        return found

    def _count(self, pool: str, book: ShadowBook) -> None:
        for family, score in book.take().items():
            numbers = (score.prewarms, score.used, score.spent_s, score.saved_s, score.lost_s)
            for name, number in zip(COUNTS, numbers, strict=True):
                if number:
                    self._service.count(pool, f"{family}/{name}", number)


def sweep(service: Service, beat: Beat) -> None:
    """The sweep of this name."""
    service.shadow.sweep(beat)


def _start(entry: BotEntry, at_s: float) -> Start:
    """What a run took at its start. A slot that it wanted was touched just then; others it only may dirty."""
    before = (entry.held or {}).get("slots_before") or {}
    uses = []
    for name, known in before.items():
        slot = entry.policy.slots.get(name)
        if slot is None or slot.phase is not Phase.IN_USE or slot.last_used_s < at_s:
            uses.append(Use(name))
            continue
        had = known or {}
        same = had.get("family") == slot.family and slot.generation in ("", had.get("generation"))
        uses.append(Use(name, slot.family, slot.generation, same and had.get("phase") in HOLDING))
    return Start(at_s, entry.policy.id, tuple(uses))
