"""How often a view may ask the store: 1.4 queries a second on average, with a short burst for news and for bets."""

from __future__ import annotations

import threading

QUERIES_PER_REFRESH = 2
QUERIES_PER_S = 1.4
"""Sweeps, jobs and pages ask up to 0.55 a second more (counted); together they stay below two."""
BURST_REFRESHES = 4
KEPT_FOR_BETS = 1
"""Refreshes that only a bet on idle bots may take: else those that polls ask for every second would leave it none."""


class RefreshBudget:
    """A token bucket of refreshes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tokens = float(BURST_REFRESHES)
        self._at_s: float | None = None

    def take(self, monotonic_s: float, keep: int = 0) -> bool:
        """Takes one refresh if `keep` others are left then."""
        with self._lock:
            if self._at_s is not None:
                gained = (monotonic_s - self._at_s) * QUERIES_PER_S / QUERIES_PER_REFRESH
                self._tokens = min(float(BURST_REFRESHES), self._tokens + max(0.0, gained))
            self._at_s = monotonic_s
            if self._tokens < 1.0 + keep:
                return False
            self._tokens -= 1.0
            return True
