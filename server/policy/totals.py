"""What is expected of all families together, summed up from parts that are worked out anew where they changed."""

from __future__ import annotations

from collections.abc import Mapping

from server.policy.model import Demand

DEFAULT_DURATION_S = 300.0
"""Prior of a real task's length."""


def mean_per_s(demand: Demand) -> float:
    """Arrivals per second, averaged over the memories."""
    rates = demand.rates_per_s
    return sum(rates.values()) / len(rates) if rates else 0.0


class Totals:
    """Of the families of a pool, as of `at_s`."""

    def __init__(self, demand: Mapping[str, Demand], now_s: float) -> None:
        self._demand = demand
        self._per_s: dict[str, float] = {}
        self._measured: dict[str, tuple[float, float]] = {}
        """Per family the rate at which tasks came whose lengths are known, and the bots that they occupy."""
        self._changed = dict.fromkeys(demand)
        """Families whose part has changed, in an order that is the same in every process: sums depend on it."""
        self.sum_up(now_s)

    def note(self, family: str) -> None:
        """Something of the family has changed."""
        self._changed[family] = None

    def sum_up(self, now_s: float) -> None:
        """Brings `all_per_s`, arrivals of all families, and `mean_duration_s`, the mean length of a task, to now."""
        self.at_s = now_s
        for family in self._changed:
            known = self._demand.get(family, Demand())
            self._per_s[family] = per_s = mean_per_s(known)
            self._measured[family] = (per_s, per_s * known.duration_s) if known.duration_s else (0.0, 0.0)
        self._changed.clear()
        self.all_per_s = sum(self._per_s.values())
        measured_per_s = sum([per_s for per_s, _ in self._measured.values()])
        work = sum([work for _, work in self._measured.values()])
        self.mean_duration_s = work / measured_per_s if measured_per_s > 0.0 else DEFAULT_DURATION_S
