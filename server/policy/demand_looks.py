"""When each family's demand was looked at, and when it has faded so far that it must be looked at anew.

What is left after a while is what fades slowly, so looks hold for longer the longer nobody came.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping

from server.policy.model import Demand

LEAST_S = 30.0
"""A look holds for this long at least: the shortest memory fades by a sixth meanwhile …"""
SHARE = 0.25
"""… and for such a share of the time since the family's last task: of memories of all ages a fifth fades meanwhile."""


class DemandLooks:
    """Of the families of a pool. Times are seconds since 1970."""

    def __init__(self, demand: Mapping[str, Demand], now_s: float) -> None:
        self._demand, self._began_s = demand, now_s
        self._at_s: dict[str, float] = {}
        """Of those that were looked at since the beginning."""
        self._due_s: dict[str, float] | None = None
        self._queue: list[tuple[float, str]] = []
        """Each family once, at the latest when its look is over."""

    def at_s(self, family: str) -> float:
        """When it was looked at last."""
        return self._at_s.get(family, self._began_s)

    def note(self, family: str, now_s: float) -> None:
        """It is looked at now, since something of it changed."""
        self._at_s[family] = now_s
        if self._due_s is None:
            return
        if family not in self._due_s:
            heapq.heappush(self._queue, (now_s + LEAST_S, family))
        self._due_s[family] = now_s + LEAST_S

    def over(self, now_s: float) -> list[str]:
        """The families whose looks are over; they are looked at now."""
        if now_s - self._began_s <= LEAST_S:
            return []
        if self._due_s is None:
            self._due_s = {family: self._until_s(family, self.at_s(family)) for family in self._demand}
            self._queue = [(due_s, family) for family, due_s in self._due_s.items()]
            heapq.heapify(self._queue)
        found = []
        while self._queue and self._queue[0][0] < now_s:
            family = self._queue[0][1]
            due_s = self._due_s[family]
            if due_s < now_s:
                self._at_s[family] = now_s
                due_s = self._due_s[family] = self._until_s(family, now_s)
                found.append(family)
            heapq.heapreplace(self._queue, (due_s, family))
        return found

    def _until_s(self, family: str, at_s: float) -> float:
        known = self._demand.get(family)
        since_s = at_s - known.last_arrival_s if known is not None and known.last_arrival_s else 0.0
        return at_s + max(LEAST_S, SHARE * since_s)
