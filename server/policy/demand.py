"""Arrivals of real tasks that wanted a state: sums that add up over processes, and what is expected of them.

Every process keeps the sums of the arrivals that it saw itself. Readers merge them: a sum that is read twice replaces
itself, one that comes late is decayed by its age, so neither does harm.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from server.policy.model import Demand
from server.policy.sketch import Sketch
from server.policy.value import LONGEST_RESIDENCE_S

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

ENOUGH_ENDED = 7.0
"""A memory tells how long tasks take from so many that ended on."""

EMPTY = Sketch()
LN_2 = math.log(2.0)
NONE = (0.0,) * len(HALF_LIVES_S)
ONE = (1.0,) * len(HALF_LIVES_S)


@dataclass(frozen=True, slots=True)
class DemandSums:
    """What one process, or all of them together, saw of one family or generation.

    `counts` are arrivals that have decayed until `at_s`, one per half-life, and `late` those of them that wanted a
    generation which had a successor already; `ended` and `lasted_s` are the tasks that ended and their lengths in all,
    likewise, and `first_hour_s` what of those lengths lay in each task's first hour. `since_s` is when watching began,
    0 before.
    """

    at_s: float = 0.0
    counts: tuple[float, ...] = NONE
    late: tuple[float, ...] = NONE
    arrivals: float = 0.0
    since_s: float = 0.0
    first_arrival_s: float = 0.0
    last_arrival_s: float = 0.0
    cold: Sketch = EMPTY
    warm: Sketch = EMPTY
    ended: tuple[float, ...] = NONE
    lasted_s: tuple[float, ...] = NONE
    first_hour_s: tuple[float, ...] = NONE

    @classmethod
    def watching(cls, since_s: float) -> DemandSums:
        """Empty sums of a watch that begins now."""
        return cls(at_s=since_s, since_s=since_s)

    def decay(self, now_s: float) -> DemandSums:
        """The same sums as of a later moment; unchanged when that is not later."""
        passed_s = now_s - self.at_s
        if passed_s <= 0.0:
            return self
        fading = [2.0 ** (-passed_s / half_life) for half_life in HALF_LIVES_S]
        fades = 2.0 ** (-passed_s / COST_HALF_LIFE_S)
        return DemandSums(
            at_s=now_s,
            counts=_faded(self.counts, fading),
            late=_faded(self.late, fading),
            arrivals=self.arrivals,
            since_s=self.since_s,
            first_arrival_s=self.first_arrival_s,
            last_arrival_s=self.last_arrival_s,
            cold=self.cold.scaled(fades) if self.cold.weights else self.cold,
            warm=self.warm.scaled(fades) if self.warm.weights else self.warm,
            ended=_faded(self.ended, fading),
            lasted_s=_faded(self.lasted_s, fading),
            first_hour_s=_faded(self.first_hour_s, fading),
        )

    def add(self, arrival_s: float, *, late: bool = False) -> DemandSums:
        """With one arrival more, which may be reported late: in any order the sums are the same.

        `late` says that it wanted a generation which had a successor already.
        """
        sums = self.decay(arrival_s)
        passed_s = sums.at_s - arrival_s
        one = tuple([2.0 ** (-passed_s / half_life) for half_life in HALF_LIVES_S]) if passed_s > 0.0 else ONE
        return DemandSums(
            at_s=sums.at_s,
            counts=_sum(sums.counts, one),
            late=_sum(sums.late, one) if late else sums.late,
            arrivals=sums.arrivals + 1.0,
            since_s=_earlier(sums.since_s, arrival_s),
            first_arrival_s=_earlier(sums.first_arrival_s, arrival_s),
            last_arrival_s=max(sums.last_arrival_s, arrival_s),
            cold=sums.cold,
            warm=sums.warm,
            ended=sums.ended,
            lasted_s=sums.lasted_s,
            first_hour_s=sums.first_hour_s,
        )

    def observe(
        self, *, cold_s: float | None = None, warm_s: float | None = None, duration_s: float | None = None
    ) -> DemandSums:
        """With the costs of a run that ended just now: seconds to useful work on a cold or a warm bot, its length."""
        sums = replace(
            self,
            cold=self.cold if cold_s is None else self.cold.add(cold_s),
            warm=self.warm if warm_s is None else self.warm.add(warm_s),
        )
        if duration_s is None:
            return sums
        return replace(
            sums,
            ended=_plus(self.ended, 1.0),
            lasted_s=_plus(self.lasted_s, duration_s),
            first_hour_s=_plus(self.first_hour_s, min(duration_s, LONGEST_RESIDENCE_S)),
        )

    def duration_s(self) -> float | None:
        """The mean length of the tasks that ended lately: by the shortest memory that has seen enough of them."""
        return self._mean_s(self.lasted_s)

    def _mean_s(self, sums_s: tuple[float, ...]) -> float | None:
        for ended, sum_s in zip(self.ended, sums_s, strict=True):
            if ended >= ENOUGH_ENDED:
                return sum_s / ended
        return sums_s[-1] / self.ended[-1] if self.ended[-1] >= LEAST_MEASURED else None

    def merge(self, other: DemandSums) -> DemandSums:
        """What both saw, as of the later of the two."""
        now_s = max(self.at_s, other.at_s)
        a, b = self.decay(now_s), other.decay(now_s)
        return DemandSums(
            at_s=now_s,
            counts=_sum(a.counts, b.counts),
            late=_sum(a.late, b.late),
            arrivals=a.arrivals + b.arrivals,
            since_s=_earlier(a.since_s, b.since_s),
            first_arrival_s=_earlier(a.first_arrival_s, b.first_arrival_s),
            last_arrival_s=max(a.last_arrival_s, b.last_arrival_s),
            cold=a.cold.merge(b.cold),
            warm=a.warm.merge(b.warm),
            ended=_sum(a.ended, b.ended),
            lasted_s=_sum(a.lasted_s, b.lasted_s),
            first_hour_s=_sum(a.first_hour_s, b.first_hour_s),
        )

    def rates(self, now_s: float) -> dict[int, float]:
        """Arrivals per second by half-life: the decayed count over the time that it stands for.

        That is (h / ln 2) · (1 − 2^(−watched / h)), so that a short watch is not taken for silence.
        """
        return self._per_s(self.decay(now_s).counts, now_s)

    def _per_s(self, counts: tuple[float, ...], now_s: float) -> dict[int, float]:
        watched_s = max(LEAST_WATCHED_S, now_s - self.since_s) if self.since_s else LEAST_WATCHED_S
        return {
            half_life: count * LN_2 / (half_life * (1.0 - 2.0 ** (-watched_s / half_life)))
            for half_life, count in zip(HALF_LIVES_S, counts, strict=True)
        }

    def demand(self, now_s: float) -> Demand:
        """What the policy sees of it."""
        sums = self.decay(now_s)
        return Demand(
            rates_per_s=self._per_s(sums.counts, now_s),
            late_per_s=self._per_s(sums.late, now_s) if any(sums.late) else {},
            last_arrival_s=self.last_arrival_s,
            arrivals=self.arrivals,
            cold_cost_s=_learned(self.cold),
            warm_cost_s=_learned(self.warm),
            duration_s=self.duration_s(),
            first_hour_s=self._mean_s(self.first_hour_s),
            first_arrival_s=self.first_arrival_s,
            observed_s=max(0.0, now_s - self.since_s) if self.since_s else 0.0,
            at_s=now_s,
        )

    def to_plain(self) -> dict[str, Any]:
        """As plain JSON values, for a page."""
        return {
            "at_s": self.at_s,
            "counts": list(self.counts),
            "late": list(self.late),
            "arrivals": self.arrivals,
            "since_s": self.since_s,
            "first_arrival_s": self.first_arrival_s,
            "last_arrival_s": self.last_arrival_s,
            "cold": {str(key): weight for key, weight in self.cold.weights.items()},
            "warm": {str(key): weight for key, weight in self.warm.weights.items()},
            "ended": list(self.ended),
            "lasted_s": list(self.lasted_s),
            "first_hour_s": list(self.first_hour_s),
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> DemandSums:
        """The opposite.

        Raises:
            KeyError, TypeError, ValueError: the values are not what `to_plain()` made.
        """
        return cls(
            at_s=float(plain["at_s"]),
            counts=_by_memory(plain["counts"]),
            late=_by_memory(plain.get("late", NONE)),
            arrivals=float(plain["arrivals"]),
            since_s=float(plain["since_s"]),
            first_arrival_s=float(plain["first_arrival_s"]),
            last_arrival_s=float(plain["last_arrival_s"]),
            cold=_sketch(plain["cold"]),
            warm=_sketch(plain["warm"]),
            ended=_by_memory(plain.get("ended", NONE)),
            lasted_s=_by_memory(plain.get("lasted_s", NONE)),
            first_hour_s=_by_memory(plain.get("first_hour_s", plain.get("lasted_s", NONE))),
        )


def _faded(values: tuple[float, ...], fading: Sequence[float]) -> tuple[float, ...]:
    if values is NONE:
        return NONE
    return tuple([value * fade for value, fade in zip(values, fading, strict=True)])


def _sum(some: tuple[float, ...], others: tuple[float, ...]) -> tuple[float, ...]:
    return tuple([a + b for a, b in zip(some, others, strict=True)])


def _plus(values: tuple[float, ...], more: float) -> tuple[float, ...]:
    return tuple([value + more for value in values])


def _by_memory(plain: Sequence[float]) -> tuple[float, ...]:
    values = tuple(float(value) for value in plain)
    if len(values) != len(HALF_LIVES_S):
        raise ValueError(f"{len(values)} values for {len(HALF_LIVES_S)} half-lives")
    return values


def _earlier(one_s: float, other_s: float) -> float:
    """The earlier of two times, of which 0 means never."""
    return min(one_s, other_s) if one_s and other_s else one_s or other_s


def _sketch(plain: Mapping[str, float]) -> Sketch:
    return Sketch({int(key): float(weight) for key, weight in plain.items()})


def _learned(sketch: Sketch) -> float | None:
    return sketch.quantile(0.5) if sketch.weight >= LEAST_MEASURED else None


def with_guess(rates_per_s: Sequence[float], observed_s: float, guess_per_s: float) -> list[float]:
    """Rates by memory with the operator's guess, which is one more observation, PRIOR_S long, beside those measured.

    rate = (observed_s · measured + PRIOR_S · guess) / (observed_s + PRIOR_S). An example: guess 60 per hour, nothing
    came in 3 hours: 15 per hour. While it is unknown for how long anybody watched, the larger of the two.
    """
    if guess_per_s <= 0.0:
        return list(rates_per_s)
    if observed_s <= 0.0:
        return [max(rate, guess_per_s) for rate in rates_per_s]
    faith = PRIOR_S / (PRIOR_S + observed_s)
    return [(1.0 - faith) * rate + faith * guess_per_s for rate in rates_per_s]
