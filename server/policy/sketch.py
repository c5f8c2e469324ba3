"""A small mergeable estimate of how durations are distributed: counts in buckets that are 9 % wide."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

PER_OCTAVE = 8
SHORTEST_S = 0.05


@dataclass(frozen=True, slots=True)
class Sketch:
    """Weights by bucket; bucket i stands for 2^(i / 8) seconds. Sums of sketches are the sketch of the sum.

    An example: 10 s, 10 s and 60 s: median 10 s, p90 60 s, each within 5 %.
    """

    weights: Mapping[int, float] = field(default_factory=dict)

    @property
    def weight(self) -> float:
        """How many observations it stands for, after decay."""
        return sum(self.weights.values())

    def add(self, value_s: float, weight: float = 1.0) -> Sketch:
        """With one observation more. Durations below 0.05 s count as that."""
        bucket = round(PER_OCTAVE * math.log2(max(SHORTEST_S, value_s)))
        return Sketch({**self.weights, bucket: self.weights.get(bucket, 0.0) + weight})

    def merge(self, other: Sketch) -> Sketch:
        """The sketch of both sets of observations."""
        if not other.weights:
            return self
        keys = self.weights.keys() | other.weights.keys()
        return Sketch({key: self.weights.get(key, 0.0) + other.weights.get(key, 0.0) for key in keys})

    def scaled(self, factor: float) -> Sketch:
        """All weights times a factor, to let old observations fade."""
        return Sketch({key: weight * factor for key, weight in self.weights.items() if weight * factor > 1e-6})

    def quantile(self, share: float) -> float | None:
        """The duration in seconds below which this share of the observations lies; None without observations."""
        left = share * self.weight
        value: float | None = None
        for bucket in sorted(self.weights):
            value = 2.0 ** (bucket / PER_OCTAVE)
            left -= self.weights[bucket]
            if left <= 1e-9:
                break
        return value
