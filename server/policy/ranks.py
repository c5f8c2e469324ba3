"""How many copies of a state announced tasks need at once, and what another one saves."""

from __future__ import annotations

import math

from server.policy.model import Announcement
from server.policy.value import miss_s, rescuers

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


def saved_s(cold_s: float, warm_s: float, occupied_s: float, supply: float, lacking: float) -> float:
    """What another copy saves for announced tasks that come at once, in seconds.

    A whole cold start where nothing of the state will be there. Else the last of them could wait for one of those
    copies, once that is done with another of them: the longer, the more are lacking (decision 33).

    Args:
        cold_s: c, a cold start.
        warm_s: w, a warm one.
        occupied_s: d + w, how long a task keeps a copy.
        supply: copies that are expected to be there by then.
        lacking: how many more are needed at once.
    """
    rank = max(1, math.ceil(lacking - SHORT_BY - 1e-9))
    return max(0.0, miss_s(cold_s, rescuers(supply + 1.0), occupied_s, rank) - warm_s)
