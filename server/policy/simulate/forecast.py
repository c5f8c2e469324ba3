"""What is expected to be asked of each key: decayed arrival counts on several scales, and what a copy is worth.

The formulas of the design's best policy: V(k, j) is the probability that the j-th idle copy of key k is needed within
the residence time T,

    V = 1 − exp(−T · Σ_s w_s · λ_s · [B(a_s, x − 1) − B(a_s, x)]),
    x = j + busy · T / (T + d + w),  a_s = λ_s · min(d + w, T)

with Erlang's loss B. The weights w_s of the scales are learned per pool: a scale that gave what comes a larger share of
all arrivals up to half an hour ago counts more.
"""

from __future__ import annotations

import math

from server.policy.simulate.trace import split_key
from server.policy.value import served_by

HALF_LIVES_S = (120.0, 900.0, 3600.0, 7200.0, 21_600.0, 86_400.0)
DECAYS = tuple(math.log(2.0) / half_life for half_life in HALF_LIVES_S)
SCALES = range(len(HALF_LIVES_S))
PRIOR_DURATION_S = 300.0
DURATION_WEIGHT = 0.1
INHERITED = 0.8
SNAPSHOT_EVERY_S = 1800.0
LEARNING = 0.02
MIXED_IN = 0.001
LONGEST_RESIDENCE_S = 3600.0
PUTS_KEPT = 0.7
NEGLIGIBLE = 1e-9


class Key:
    """What is known of one key: counts by scale, decayed until `at_s`, and the EWMA of its tasks' durations."""

    __slots__ = ("at_s", "counts", "duration_s")

    def __init__(self, at_s: float) -> None:
        self.at_s = at_s
        self.counts = [0.0] * len(HALF_LIVES_S)
        self.duration_s = PRIOR_DURATION_S

    def decay(self, now_s: float) -> list[float]:
        """Brings the counts to now."""
        passed_s = now_s - self.at_s
        if passed_s > 0.0:
            counts = self.counts
            for scale in SCALES:
                counts[scale] *= math.exp(-passed_s * DECAYS[scale])
            self.at_s = now_s
        return self.counts


class Forecast:
    """Demand by key, the learned weights of the scales, and the residence time T. `w` is the warm start in seconds."""

    def __init__(self, bots: int, slots: int, cold_s: float, warm_s: float) -> None:
        self.cold_s, self.warm_s = cold_s, warm_s
        self.keys: dict[str, Key] = {}
        self.weights = [1.0 / len(HALF_LIVES_S)] * len(HALF_LIVES_S)
        self.residence_s = LONGEST_RESIDENCE_S
        self._newest: dict[str, str] = {}
        self._shares: dict[str, list[float]] = {}
        self._states = bots * slots
        self._puts_per_s = 0.0
        self._puts = 0
        self._window_s = 0.0

    def put(self) -> None:
        """A state was put on a bot."""
        self._puts += 1

    def arrived(self, key: str, now_s: float) -> None:
        """A task that wants the key came."""
        if now_s - self._window_s >= SNAPSHOT_EVERY_S:
            self._turn(now_s)
        self._learn(key)
        known = self.keys.get(key)
        if known is None:
            known = self._new(key, now_s)
        counts = known.decay(now_s)
        for scale in SCALES:
            counts[scale] += 1.0

    def ran(self, key: str, duration_s: float) -> None:
        """A task of the key ended after this much useful work."""
        known = self.keys.get(key)
        if known is not None:
            known.duration_s += DURATION_WEIGHT * (duration_s - known.duration_s)

    def _new(self, key: str, now_s: float) -> Key:
        """A new generation takes over most of its predecessor's demand, which keeps the rest for stragglers."""
        made = self.keys[key] = Key(now_s)
        family, generation = split_key(key)
        before = self.keys.get(self._newest.get(family, "")) if generation else None
        if before is not None:
            counts = before.decay(now_s)
            made.counts = [INHERITED * count for count in counts]
            before.counts = [(1.0 - INHERITED) * count for count in counts]
            made.duration_s = before.duration_s
        if generation:
            self._newest[family] = key
        return made

    def _turn(self, now_s: float) -> None:
        """Every half hour: a snapshot of the shares of all keys, and the rate at which states were put on bots."""
        rate = self._puts / (now_s - self._window_s)
        self._puts_per_s = rate if not self._puts_per_s else PUTS_KEPT * self._puts_per_s + (1.0 - PUTS_KEPT) * rate
        self._puts, self._window_s = 0, now_s
        stays_s = self._states / self._puts_per_s if self._puts_per_s > 0 else LONGEST_RESIDENCE_S
        self.residence_s = min(max(stays_s, self.cold_s), LONGEST_RESIDENCE_S)
        totals = [0.0] * len(HALF_LIVES_S)
        for known in self.keys.values():
            for scale, count in enumerate(known.decay(now_s)):
                totals[scale] += count
        self._shares = {
            key: [count / total if total > 0 else 0.0 for count, total in zip(known.counts, totals, strict=True)]
            for key, known in self.keys.items()
        }

    def _learn(self, key: str) -> None:
        """Shifts weight to the scales that foresaw this arrival; the age of the snapshot makes it a forecast."""
        shares = self._shares.get(key)
        if shares is None:
            return
        in_all = sum(weight * share for weight, share in zip(self.weights, shares, strict=True))
        if in_all <= 0.0:
            return
        learned = [
            (1.0 - LEARNING) * weight + LEARNING * weight * share / in_all
            for weight, share in zip(self.weights, shares, strict=True)
        ]
        norm = sum(learned)
        even = MIXED_IN / len(learned)
        self.weights = [(1.0 - MIXED_IN) * weight / norm + even for weight in learned]

    def duration_s(self, key: str) -> float:
        """d: how long tasks of the key take."""
        known = self.keys.get(key)
        return known.duration_s if known is not None else PRIOR_DURATION_S

    def value(self, key: str, copy: int, busy: int, now_s: float) -> float:
        """V(k, j): the probability that the copy-th idle copy is needed; 0 for a key that nobody asked for."""
        known = self.keys.get(key)
        if known is None:
            return 0.0
        residence_s = self.residence_s
        occupied_s = known.duration_s + self.warm_s
        x = copy + busy * residence_s / (residence_s + occupied_s)
        load_s = min(occupied_s, residence_s)
        needed = 0.0
        for scale, count in enumerate(known.decay(now_s)):
            rate = count * DECAYS[scale]
            load = rate * load_s
            if load > NEGLIGIBLE:
                needed += self.weights[scale] * rate * served_by(load, x)
        return 1.0 - math.exp(-residence_s * needed)
