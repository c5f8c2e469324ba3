"""What prewarming saves, measured: tasks that came while it was allowed against tasks that came while it was held out.

Per group the sums are kept in batches, each a random part of the windows. Tasks of one window share its luck (a build
and its forty tests, one new version), so they must not pass for independent ones: how the mean moves when one batch is
left out tells how sure it is (the jackknife of random groups: Wolter, *Introduction to Variance Estimation*, ch. 4).
With n_b tasks and y_b seconds in batch b of B, N and Y in all:

    mean = Y / N,   variance of the mean = (B − 1) / B · Σ_b ((Y − y_b) / (N − n_b) − mean)²

The interval of the difference of two such means is Welch's, with N² / Σ n_b² − 1 degrees of freedom each: a batch that
has most of the tasks is as good as alone. Sums fade with a half-life of a week, and those of several processes are
added, in any order.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from server.policy.hold_out import Arm, draw
from server.policy.words import count, duration

HALF_LIFE_S = 7 * 86_400.0
BATCHES = 16
FEWEST_BATCHES = 3.0
"""Fewer batches than this, counted by their weight, say nothing of how they differ."""
LEAST_TASKS = 0.1
"""A batch of which less is left is none."""
_T_975 = {1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78, 5: 2.57, 6: 2.45, 7: 2.36, 8: 2.31, 9: 2.26, 10: 2.23, 12: 2.18}
_T_975 |= {15: 2.13, 20: 2.09, 30: 2.04, 60: 2.00, 120: 1.98}
"""97.5th percentile of Student's t by degrees of freedom."""

Batch = tuple[float, float]
"""Tasks and their seconds in all, faded."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What prewarming saves each task, in seconds, with its 95 % interval.

    `is_known` is False while there are too few windows; the seconds are 0 then. `treated` and `held_out` count tasks.
    """

    saved_s: float
    low_s: float
    high_s: float
    treated: float
    held_out: float
    is_known: bool

    @property
    def is_proven(self) -> bool:
        """Whether the interval lies on one side of 0."""
        return self.is_known and (self.low_s > 0.0 or self.high_s < 0.0)

    def text(self) -> str:
        """One sentence."""
        tasks = f"{count(round(self.treated), 'task')} with prewarming and {round(self.held_out):,} without"
        if not self.is_known:
            return f"Not measured yet: {tasks}, too few to compare."
        interval = f"95 %: {_sooner(self.low_s)} to {_sooner(self.high_s)}"
        if not self.is_proven:
            return f"No difference is proven: tasks get to work {_sooner(self.saved_s)} ({interval}), by {tasks}."
        return f"Tasks get to work {_sooner(self.saved_s)} ({interval}), by {tasks}."


def _sooner(time_s: float) -> str:
    return f"{duration(abs(time_s))} {'later' if time_s < 0 else 'sooner'}"


@dataclass(frozen=True, slots=True)
class Savings:
    """Sums of one process, or of all together, faded until `at_s`; group → batch → sums."""

    at_s: float = 0.0
    groups: Mapping[Arm, Mapping[int, Batch]] = field(default_factory=dict)

    def at(self, now_s: float) -> Savings:
        """The same as of a later moment; unchanged when that is not later."""
        passed_s = now_s - self.at_s
        if passed_s <= 0.0:
            return self
        left = 0.5 ** (passed_s / HALF_LIFE_S)
        faded = {
            arm: {number: (tasks * left, time_s * left) for number, (tasks, time_s) in batches.items()}
            for arm, batches in self.groups.items()
        }
        return Savings(now_s, faded)

    def add(self, arm: Arm, window: int, waited_s: float, now_s: float) -> Savings:
        """With one task more: in which window it came, and how long after that it got to work."""
        if arm is Arm.NEITHER:
            return self
        sums = self.at(now_s)
        weight = 0.5 ** ((sums.at_s - now_s) / HALF_LIFE_S)
        known, number = sums.groups.get(arm, {}), batch_of(window)
        tasks, time_s = known.get(number, (0.0, 0.0))
        batch = tasks + weight, time_s + weight * waited_s
        return Savings(sums.at_s, {**sums.groups, arm: {**known, number: batch}})

    def merge(self, other: Savings) -> Savings:
        """What both saw, as of the later of the two."""
        now_s = max(self.at_s, other.at_s)
        one, two = self.at(now_s).groups, other.at(now_s).groups
        return Savings(now_s, {arm: _added(one.get(arm, {}), two.get(arm, {})) for arm in sorted({*one, *two})})

    def estimate(self) -> Estimate:
        """What is known of the difference between the groups."""
        groups = [_Group.of(self.groups.get(arm, {})) for arm in (Arm.TREATED, Arm.HELD_OUT)]
        treated, held_out = groups
        if min(group.batches for group in groups) < FEWEST_BATCHES:
            return Estimate(0.0, 0.0, 0.0, treated.tasks, held_out.tasks, False)
        saved_s, variance = held_out.mean_s - treated.mean_s, sum(group.variance for group in groups)
        # Welch and Satterthwaite: the degrees of freedom of a sum of two variances.
        least = sum(group.variance**2 / (group.batches - 1.0) for group in groups)
        half_s = _t_975(variance**2 / least) * math.sqrt(variance) if least > 0.0 else 0.0
        return Estimate(saved_s, saved_s - half_s, saved_s + half_s, treated.tasks, held_out.tasks, True)

    def to_plain(self) -> dict[str, Any]:
        """As plain JSON values, for a page."""
        groups = {
            arm.value: {str(number): list(batch) for number, batch in batches.items()}
            for arm, batches in self.groups.items()
        }
        return {"at_s": self.at_s, "groups": groups}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Savings:
        """The opposite.

        Raises:
            KeyError, TypeError, ValueError: the values are not what `to_plain()` made.
        """
        groups = {
            Arm(arm): {int(number): (float(tasks), float(time_s)) for number, (tasks, time_s) in batches.items()}
            for arm, batches in plain["groups"].items()
        }
        return cls(float(plain["at_s"]), groups)


@dataclass(frozen=True, slots=True)
class _Group:
    """Tasks, their mean with its variance, and for how many equal batches the group's count."""

    tasks: float = 0.0
    batches: float = 0.0
    mean_s: float = 0.0
    variance: float = math.inf

    @classmethod
    def of(cls, sums: Mapping[int, Batch]) -> _Group:
        known = [batch for batch in sums.values() if batch[0] >= LEAST_TASKS]
        tasks, time_s = sum(n for n, _ in known), sum(y for _, y in known)
        if len(known) < 2:
            return cls(tasks, float(len(known)))
        mean_s = time_s / tasks
        moves = sum(((time_s - y) / (tasks - n) - mean_s) ** 2 for n, y in known)
        weight = tasks**2 / sum(n**2 for n, _ in known)
        return cls(tasks, weight, mean_s, (len(known) - 1) / len(known) * moves)


def batch_of(window: int) -> int:
    """The batch of a window: by chance, so that none has a time of the day of its own."""
    return int(BATCHES * draw("batch", window))


def _added(one: Mapping[int, Batch], other: Mapping[int, Batch]) -> dict[int, Batch]:
    nothing = 0.0, 0.0
    pairs = ((number, one.get(number, nothing), other.get(number, nothing)) for number in sorted({*one, *other}))
    return {number: (a[0] + b[0], a[1] + b[1]) for number, a, b in pairs}


def _t_975(freedom: float) -> float:
    """Student's t, never too small: of the next lower degrees of freedom that the table has."""
    return _T_975[max(known for known in _T_975 if known <= max(1.0, freedom))]
