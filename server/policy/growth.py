"""How fast a pool's work grows: what the reserve has to stand against.

Samples of the tasks in the system (running real tasks and pending ones) are taken at even steps; the growth at a sample
is the largest of the next samples minus it. The reserve covers its 90th percentile: the largest growth ever seen is too
shy, it blocks nearly all prewarms on small fleets (measured, see the design of the policy).
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque

AHEAD = 10
"""Samples that are looked ahead; with a step of a tenth of the cold time this is one cold time."""
MOST_SAMPLES = 3000
SHORTEST_STEP_S = 10.0
QUANTILE = 0.9
FEWEST_SAMPLES = 2 * AHEAD


def step_s(cold_s: float) -> float:
    """Seconds between samples for a pool whose cold cost is `cold_s`."""
    return max(SHORTEST_STEP_S, cold_s / AHEAD)


class Growing:
    """Samples in, their 90th percentile of growth out, kept up sample by sample.

    An example: 0, 0, 5, 0, … grows by 5 from the first two samples and by 0 from the others.
    """

    def __init__(self) -> None:
        self._last: deque[int] = deque(maxlen=AHEAD + 1)
        self._grown: deque[int] = deque()
        self._sorted: list[int] = []

    def add(self, tasks: int) -> None:
        """One more sample of the tasks in the system."""
        self._last.append(tasks)
        if len(self._last) <= AHEAD:
            return
        first, *later = self._last
        grown = max(0, max(later) - first)
        self._grown.append(grown)
        insort(self._sorted, grown)
        if len(self._grown) > MOST_SAMPLES - AHEAD:
            del self._sorted[bisect_left(self._sorted, self._grown.popleft())]

    @property
    def p90(self) -> float:
        """In tasks; 0 while there are too few samples."""
        known = self._sorted
        if len(known) + AHEAD < FEWEST_SAMPLES:
            return 0.0
        return float(known[min(len(known) - 1, int(QUANTILE * len(known)))])
