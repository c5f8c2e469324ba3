"""What tasks of a family take, and what a copy saves that stands beside others."""

from __future__ import annotations

import math
from dataclasses import dataclass

from server.policy.ranks import SHORT_BY
from server.policy.value import miss_s, rescuers


@dataclass(frozen=True, slots=True)
class Costs:
    """What a family's tasks take, in seconds: start-up cold and warm, their difference, the work d, its first hour."""

    cold_s: float
    warm_s: float
    saved_s: float
    duration_s: float
    first_hour_s: float

    @property
    def occupied_s(self) -> float:
        """d + w: for how long a task on a warm bot keeps it."""
        return self.duration_s + self.warm_s

    @property
    def load_s(self) -> float:
        """E[min(D, 1 h)] + w: for how long a task that comes keeps a bot while copies are judged (decision 35).

        Not min(d, 1 h): of tasks of which one in ten takes eight hours that is an hour, and this ten minutes.
        """
        return self.first_hour_s + self.warm_s

    def saved_beside_s(self, supply: float, lacking: float) -> float:
        """What another copy saves for announced tasks that come at once, in seconds.

        A whole cold start where nothing of the state will be there. Else the last of them could wait for one of those
        copies, once that is done with another of them: the longer, the more are lacking (decision 33).

        Args:
            supply: copies that are expected to be there by then.
            lacking: how many more are needed at once.
        """
        rank = max(1, math.ceil(lacking - SHORT_BY - 1e-9))
        return max(0.0, miss_s(self.cold_s, rescuers(supply + 1.0), self.occupied_s, rank) - self.warm_s)
