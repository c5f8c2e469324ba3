"""When each family's demand was looked at, and when it has faded so far that it must be looked at anew.

What is left after a while is what fades slowly, so looks hold for longer the longer nobody came.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from server.policy.model import Demand

LEAST_S = 30.0
"""A look holds for this long at least: the shortest memory fades by a sixth meanwhile …"""
SHARE = 0.25
"""… and for such a share of the time since the family's last task: of memories of all ages a fifth fades meanwhile."""


class Glance(NamedTuple):
    """The memories of a family's demand, and when it was looked at."""

    memories: Sequence[int]
    at_s: float

    def now(self, demand: Demand) -> list[float]:
        """The rates as they had decayed by then."""
        return self._faded(demand.rates_per_s, demand.at_s)

    def late(self, demand: Demand) -> list[float]:
        """Those of arrivals that came late."""
        return self._faded(demand.late_per_s, demand.at_s)

    def _faded(self, per_s: Mapping[int, float], at_s: float) -> list[float]:
        rates = [per_s.get(memory, 0.0) for memory in self.memories]
        passed_s = self.at_s - at_s if at_s and per_s else 0.0
        if passed_s <= 0.0:
            return rates
        fading = [2.0 ** (-passed_s / memory) if memory else 1.0 for memory in self.memories]
        return [rate * fade for rate, fade in zip(rates, fading, strict=True)]


class DemandLooks:
    """Of the families of a pool. Times are seconds since 1970."""

    def __init__(self, demand: Mapping[str, Demand], now_s: float) -> None:
        self._demand, self._began_s = demand, now_s
        self._at_s: dict[str, float] = {}
        """Of those that were looked at since the beginning."""
        self._due_s: dict[str, float] | None = None
        """When the look of each family is over; None until anybody asks."""
        self._queue: list[tuple[float, str]] = []
        self._queued_s: dict[str, float] = {}
        """When the queue asks for a family next: not later than its look is over. It may have later entries, too."""

    def at_s(self, family: str) -> float:
        """When it was looked at last."""
        return self._at_s.get(family, self._began_s)

    def note(self, family: str, now_s: float) -> None:
        """It is looked at now, since something of it changed."""
        self._at_s[family] = now_s
        if self._due_s is None:
            return
        due_s = self._due_s[family] = now_s + LEAST_S
        if self._queued_s.get(family, math.inf) > due_s:
            self._queued_s[family] = due_s
            heapq.heappush(self._queue, (due_s, family))

    def over(self, now_s: float) -> list[str]:
        """The families whose looks are over; they are looked at now."""
        if now_s - self._began_s <= LEAST_S:
            return []
        due = self._due() if self._due_s is None else self._due_s
        found = []
        while self._queue and self._queue[0][0] < now_s:
            queued_s, family = self._queue[0]
            if self._queued_s[family] != queued_s:
                heapq.heappop(self._queue)
                continue
            if due[family] < now_s:
                self._at_s[family] = now_s
                due[family] = self._until_s(family, now_s)
                found.append(family)
            self._queued_s[family] = due[family]
            heapq.heapreplace(self._queue, (due[family], family))
        return found

    def _due(self) -> dict[str, float]:
        self._due_s = {family: self._until_s(family, self.at_s(family)) for family in self._demand}
        self._queued_s = dict(self._due_s)
        self._queue = [(due_s, family) for family, due_s in self._due_s.items()]
        heapq.heapify(self._queue)
        return self._due_s

    def _until_s(self, family: str, at_s: float) -> float:
        known = self._demand.get(family)
        since_s = at_s - known.last_arrival_s if known is not None and known.last_arrival_s else 0.0
        return at_s + max(LEAST_S, SHARE * since_s)
