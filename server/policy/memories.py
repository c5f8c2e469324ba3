"""Which memory of the arrival rates foresees best: weights learned from the arrivals of a pool.

Every half hour a snapshot is kept of what each memory gives as every state's share of all arrivals. At an arrival those
memories gain that gave its state a larger share than the others did: w_s ← .98 w_s + .02 w_s p_s / Σ w p, then .001 of
an even mixture. The snapshot's age makes it a forecast, not an echo. The formula is that of the agreed design.
"""

from __future__ import annotations

from collections.abc import Mapping

from server.policy.queues import State

SNAPSHOT_EVERY_S = 1800.0
LEARNING = 0.02
MIXED_IN = 0.001
MOST_AT_ONCE = 100.0


class Memories:
    """The weights of one pool, all the same at first."""

    def __init__(self) -> None:
        self.weights: dict[int, float] = {}
        """By half-life in seconds; they add up to 1. Empty before the first snapshot."""
        self._shares: dict[State, dict[int, float]] = {}
        self._snapshot_s: float | None = None

    def is_due(self, now_s: float) -> bool:
        """Whether the next snapshot is."""
        return self._snapshot_s is None or not 0.0 <= now_s - self._snapshot_s < SNAPSHOT_EVERY_S

    def look(self, rates_per_s: Mapping[State, Mapping[int, float]], now_s: float) -> None:
        """A snapshot: per state the rate that each memory gives."""
        self._snapshot_s = now_s
        totals: dict[int, float] = {}
        for rates in rates_per_s.values():
            for memory, rate in rates.items():
                totals[memory] = totals.get(memory, 0.0) + rate
        if not self.weights:
            self.weights = dict.fromkeys(totals, 1.0 / len(totals)) if totals else {}
        self._shares = {
            state: {memory: rate / totals[memory] if totals[memory] > 0 else 0.0 for memory, rate in rates.items()}
            for state, rates in rates_per_s.items()
        }

    def came(self, state: State, number: float = 1.0) -> None:
        """So many tasks of the state came since the snapshot."""
        shares = self._shares.get(state)
        if not shares or not self.weights:
            return
        foreseen = {memory: weight * shares.get(memory, 0.0) for memory, weight in self.weights.items()}
        in_all = sum(foreseen.values())
        if in_all <= 0.0:
            return
        stays = (1.0 - LEARNING) ** min(number, MOST_AT_ONCE)
        learned = {
            memory: weight * stays + (1.0 - stays) * foreseen[memory] / in_all
            for memory, weight in self.weights.items()
        }
        norm, even = sum(learned.values()), MIXED_IN / len(learned)
        self.weights = {memory: (1.0 - MIXED_IN) * weight / norm + even for memory, weight in learned.items()}
