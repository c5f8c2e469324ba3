"""How fast a pool's work grows: what the reserve has to stand against.

Samples of the tasks in the system (running real tasks and pending ones) are taken at even steps; the growth at a sample
is the largest of the next samples minus it. The reserve covers its 90th percentile: the largest growth ever seen is too
shy, it blocks nearly all prewarms on small fleets (measured, see the design of the policy).
"""

from __future__ import annotations

from collections.abc import Sequence

AHEAD = 10
"""Samples that are looked ahead; with a step of a tenth of the cold time this is one cold time."""
MOST_SAMPLES = 3000
SHORTEST_STEP_S = 10.0
QUANTILE = 0.9
FEWEST_SAMPLES = 2 * AHEAD


def step_s(cold_s: float) -> float:
    """Seconds between samples for a pool whose cold cost is `cold_s`."""
    return max(SHORTEST_STEP_S, cold_s / AHEAD)


def growth_p90(samples: Sequence[int]) -> float:
    """The 90th percentile of growth over AHEAD samples, in tasks; 0 while there are too few samples.

    An example: [0, 0, 5, 0, …] grows by 5 from the first two samples and by 0 from the others.
    """
    if len(samples) < FEWEST_SAMPLES:
        return 0.0
    grown = sorted(
        max(0, max(samples[at + 1 : at + 1 + AHEAD]) - now) for at, now in enumerate(samples[:-AHEAD])
    )
    return float(grown[min(len(grown) - 1, int(QUANTILE * len(grown)))])
