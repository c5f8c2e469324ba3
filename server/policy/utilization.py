"""How busy the bots are with real work, and the gate's memory of it.

Utilization = (bots that run real tasks + bots that the pending real tasks could occupy) / usable bots. Background work
does not count: it yields.
"""

from __future__ import annotations

from server.policy.model import Thresholds


def utilization(busy: int, waiting: int, usable: int) -> float:
    """Share of the usable bots that real work holds or is about to hold, 0 to 1; 1 when no bot is usable.

    An example: 6 of 10 bots are busy, 1 task waits: 0.7.
    """
    if usable <= 0:
        return 1.0
    return min(1.0, (busy + waiting) / usable)


def hysteresis(
    now_level: float, thresholds: Thresholds, was_open: bool, below_since_s: float, now_s: float
) -> tuple[bool, float]:
    """The utilization gate's next state: (open, since when the level has been below the start threshold, or 0).

    It closes at once at the stop threshold. It opens after the level has been below the start threshold for
    `utilization_for_s`. In between it keeps its mind.
    """
    if now_level >= thresholds.utilization_stop:
        return False, 0.0
    if now_level >= thresholds.utilization_start:
        return was_open, 0.0
    since_s = below_since_s if 0.0 < below_since_s <= now_s else now_s
    return was_open or now_s - since_s >= thresholds.utilization_for_s, since_s
