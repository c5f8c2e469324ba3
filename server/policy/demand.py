"""Arrivals of real tasks that wanted a state: sums that add up over processes, and what is expected of them.

Every process keeps the sums of the arrivals that it saw itself. Readers merge them: a sum that is read twice replaces
itself, one that comes late is decayed by its age, so neither does harm.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from server.policy.model import Demand
from server.policy.sketch import Sketch

HALF_LIVES_S = (120, 900, 3600, 7200, 21_600, 86_400)
"""The memories of arrival rates."""
COST_HALF_LIFE_S = 7 * 86_400.0
"""Learned costs fade with this."""
PRIOR_S = 3600.0
"""The operator's guess counts as much as this long of watching."""
LEAST_WATCHED_S = 900.0
"""Rates are never computed over less than this: one early arrival is no storm."""
LEAST_MEASURED = 3.0
"""A cost is called learned from this many observations on."""

EMPTY = Sketch()


@dataclass(frozen=True, slots=True)
class DemandSums:
    """What one process, or all of them together, saw of one family or generation.

    `counts` are arrivals that have decayed until `at_s`, one per half-life. `since_s` is when watching began, 0 before.
    """

    at_s: float = 0.0
    counts: tuple[float, ...] = (0.0,) * len(HALF_LIVES_S)
    arrivals: float = 0.0
    since_s: float = 0.0
    first_arrival_s: float = 0.0
    last_arrival_s: float = 0.0
    cold: Sketch = EMPTY
    warm: Sketch = EMPTY
    duration: Sketch = EMPTY

    @classmethod
    def watching(cls, since_s: float) -> DemandSums:
        """Empty sums of a watch that begins now."""
        return cls(at_s=since_s, since_s=since_s)

    def decay(self, now_s: float) -> DemandSums:
        """The same sums as of a later moment; unchanged when that is not later."""
        passed_s = now_s - self.at_s
        if passed_s <= 0.0:
            return self
        counts = tuple(
            count * 2.0 ** (-passed_s / half_life) for count, half_life in zip(self.counts, HALF_LIVES_S, strict=True)
        )
        fades = 2.0 ** (-passed_s / COST_HALF_LIFE_S)
        return replace(
            self,
            at_s=now_s,
            counts=counts,
            cold=self.cold.scaled(fades),
            warm=self.warm.scaled(fades),
            duration=self.duration.scaled(fades),
        )

    def add(self, arrival_s: float) -> DemandSums:
        """With one arrival more, which may come late: in any order the sums are the same."""
        sums = self.decay(arrival_s)
        late_s = sums.at_s - arrival_s
        counts = tuple(
            count + 2.0 ** (-late_s / half_life) for count, half_life in zip(sums.counts, HALF_LIVES_S, strict=True)
        )
        return replace(
            sums,
            counts=counts,
            arrivals=sums.arrivals + 1.0,
            since_s=_earlier(sums.since_s, arrival_s),
            first_arrival_s=_earlier(sums.first_arrival_s, arrival_s),
            last_arrival_s=max(sums.last_arrival_s, arrival_s),
        )

    def observe(
        self, *, cold_s: float | None = None, warm_s: float | None = None, duration_s: float | None = None
    ) -> DemandSums:
        """With the costs of a run that ended: seconds to useful work on a cold or on a warm bot, and its length."""
        return replace(
            self,
            cold=self.cold if cold_s is None else self.cold.add(cold_s),
            warm=self.warm if warm_s is None else self.warm.add(warm_s),
            duration=self.duration if duration_s is None else self.duration.add(duration_s),
        )

    def merge(self, other: DemandSums) -> DemandSums:
        """What both saw, as of the later of the two."""
        now_s = max(self.at_s, other.at_s)
        a, b = self.decay(now_s), other.decay(now_s)
        return DemandSums(
            at_s=now_s,
            counts=tuple(x + y for x, y in zip(a.counts, b.counts, strict=True)),
            arrivals=a.arrivals + b.arrivals,
            since_s=_earlier(a.since_s, b.since_s),
            first_arrival_s=_earlier(a.first_arrival_s, b.first_arrival_s),
            last_arrival_s=max(a.last_arrival_s, b.last_arrival_s),
            cold=a.cold.merge(b.cold),
            warm=a.warm.merge(b.warm),
            duration=a.duration.merge(b.duration),
        )

    def rates(self, now_s: float) -> dict[int, float]:
        """Arrivals per second by half-life: the decayed count over the time that it stands for.

        That is (h / ln 2) · (1 − 2^(−watched / h)), so that a short watch is not taken for silence.
        """
        watched_s = max(LEAST_WATCHED_S, now_s - self.since_s) if self.since_s else LEAST_WATCHED_S
        sums = self.decay(now_s)
        return {
            half_life: count * math.log(2.0) / (half_life * (1.0 - 2.0 ** (-watched_s / half_life)))
            for half_life, count in zip(HALF_LIVES_S, sums.counts, strict=True)
        }

    def demand(self, now_s: float) -> Demand:
        """What the policy sees of it."""
        return Demand(
            rates_per_s=self.rates(now_s),
            last_arrival_s=self.last_arrival_s,
            arrivals=self.arrivals,
            cold_cost_s=_learned(self.cold),
            warm_cost_s=_learned(self.warm),
            duration_s=_learned(self.duration),
            first_arrival_s=self.first_arrival_s,
            observed_s=max(0.0, now_s - self.since_s) if self.since_s else 0.0,
        )

    def to_plain(self) -> dict[str, Any]:
        """As plain JSON values, for a page."""
        return {
            "at_s": self.at_s,
            "counts": list(self.counts),
            "arrivals": self.arrivals,
            "since_s": self.since_s,
            "first_arrival_s": self.first_arrival_s,
            "last_arrival_s": self.last_arrival_s,
            "cold": {str(key): weight for key, weight in self.cold.weights.items()},
            "warm": {str(key): weight for key, weight in self.warm.weights.items()},
            "duration": {str(key): weight for key, weight in self.duration.weights.items()},
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> DemandSums:
        """The opposite.

        Raises:
            KeyError, TypeError, ValueError: the values are not what `to_plain()` made.
        """
        counts = tuple(float(count) for count in plain["counts"])
        if len(counts) != len(HALF_LIVES_S):
            raise ValueError(f"{len(counts)} counts, {len(HALF_LIVES_S)} half-lives")
        return cls(
            at_s=float(plain["at_s"]),
            counts=counts,
            arrivals=float(plain["arrivals"]),
            since_s=float(plain["since_s"]),
            first_arrival_s=float(plain["first_arrival_s"]),
            last_arrival_s=float(plain["last_arrival_s"]),
            cold=_sketch(plain["cold"]),
            warm=_sketch(plain["warm"]),
            duration=_sketch(plain["duration"]),
        )


def _earlier(one_s: float, other_s: float) -> float:
    """The earlier of two times, of which 0 means never."""
    return min(one_s, other_s) if one_s and other_s else one_s or other_s


def _sketch(plain: Mapping[str, float]) -> Sketch:
    return Sketch({int(key): float(weight) for key, weight in plain.items()})


def _learned(sketch: Sketch) -> float | None:
    return sketch.quantile(0.5) if sketch.weight >= LEAST_MEASURED else None


def forecast_rates(demand: Demand, prior_per_s: float) -> list[float]:
    """Expected arrivals per second, one rate per memory.

    The prior is one more observation, PRIOR_S long: rate = (observed_s · measured + PRIOR_S · prior) / (observed_s +
    PRIOR_S). An example: prior 60 per hour, nothing came in 3 hours: 15 per hour. While it is unknown for how long
    anybody watched, the larger of the two.
    """
    if demand.observed_s <= 0.0:
        return [max(rate, prior_per_s) for rate in demand.rates_per_s.values()] or [prior_per_s]
    faith = PRIOR_S / (PRIOR_S + demand.observed_s) if prior_per_s > 0 else 0.0
    measured = list(demand.rates_per_s.values()) or [0.0]
    return [(1.0 - faith) * rate + faith * prior_per_s for rate in measured]
