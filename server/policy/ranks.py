"""How many copies of a state announced tasks need at once."""

from __future__ import annotations

import math

from server.policy.model import Announcement

SHORT_BY = 0.5
"""An announced task needs a copy more when so much of one is lacking for it."""


class Ranks:
    """How many copies announced tasks need at once: each holds one for d + w on average, exponentially."""

    __slots__ = ("_at_s", "_needed", "_occupied_s")

    def __init__(self, occupied_s: float) -> None:
        self._occupied_s, self._needed, self._at_s = max(1.0, occupied_s), 0.0, -math.inf

    def at(self, entry: Announcement) -> float:
        """The copies needed when the entry is due, its own tasks included.

        Σ count · e^(−(due − due of the earlier one)/(d + w)) over the entries so far.
        """
        passed_s, self._at_s = max(0.0, entry.from_s - self._at_s), entry.from_s
        self._needed = self._needed * math.exp(-passed_s / self._occupied_s) + entry.count
        return self._needed
