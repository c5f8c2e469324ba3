"""A pool that loses by prewarming goes to shadow mode by itself, says why, and comes back after a stated time.

It loses when its background work costs more than `ledger_max_cost` seconds per second saved, or when it collapses: cold
starts grow more frequent while demand stays as it was, since prewarms displace what tasks then miss (a fleet whose cold
cost is long against its tasks is bistable). In shadow mode bets are still decided and scored; what is owed goes on.

It comes back after two hours, then four, up to a day, and sooner when an operator says so. What it lost before is then
forgiven: only what was booked since counts, with the prior of a new pool.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from server.policy.model import Gate
from server.policy.outcome import GateCheck
from server.policy.words import duration, share

LEDGER_HALF_LIFE_S = 86_400.0
"""Seconds spent and saved fade with this."""
PRIOR_SAVED_S = 960.0
"""What counts as saved before anything was: 20 prewarms that saved 48 s each."""
MEMORIES_S = (3600.0, 86_400.0)
"""Half-lives of the short and of the long memory of starts."""
FLAT = 1.5
"""Demand is as it was while its rates in the two memories differ by no more than this factor."""
LEAST_STARTS = (20.0, 60.0)
"""Fewer starts than this in the short or long memory say nothing."""
RISE = 0.15
"""So much larger the share of cold starts must be for sure, before it is called a collapse."""
SURE = 2.33
"""Standard deviations: 99 % on one side."""
YOUNG_S = 2 * 3600.0
"""A generation is new for so long: of course tasks meet cold bots, and their starts do not count."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 2 * 3600.0, 24 * 3600.0
SETTLED_S = 2 * 3600.0
"""After a pause the short memory is still of the time before for so long."""
FORGOTTEN_S = 48 * 3600.0
"""A pool that was live for so long without losing begins with the first pause again."""


@dataclass(frozen=True, slots=True)
class Starts:
    """Starts of real tasks that wanted a state, and the cold ones of them, in both memories, faded until `at_s`.

    Without those that prewarming cannot have spoilt: of a new generation, or while their spec is held out.
    """

    at_s: float = 0.0
    every: tuple[float, ...] = (0.0, 0.0)
    cold: tuple[float, ...] = (0.0, 0.0)

    def at(self, now_s: float) -> Starts:
        """The same as of a later moment; unchanged when that is not later."""
        passed_s = now_s - self.at_s
        if passed_s <= 0.0:
            return self
        left = [0.5 ** (passed_s / memory_s) for memory_s in MEMORIES_S]
        return Starts(now_s, _times(self.every, left), _times(self.cold, left))

    def add(self, cold: bool, now_s: float) -> Starts:
        """With one start more, which may come late."""
        sums = self.at(now_s)
        weights = [0.5 ** ((sums.at_s - now_s) / memory_s) for memory_s in MEMORIES_S]
        return Starts(sums.at_s, _plus(sums.every, weights), _plus(sums.cold, weights) if cold else sums.cold)

    def merge(self, other: Starts) -> Starts:
        """What both saw, as of the later of the two."""
        now_s = max(self.at_s, other.at_s)
        one, two = self.at(now_s), other.at(now_s)
        return Starts(now_s, _plus(one.every, two.every), _plus(one.cold, two.cold))

    def to_plain(self) -> dict[str, Any]:
        """As plain JSON values, for a page."""
        return {"at_s": self.at_s, "every": list(self.every), "cold": list(self.cold)}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Starts:
        """The opposite.

        Raises:
            KeyError, TypeError, ValueError: the values are not what `to_plain()` made.
        """
        every, cold = (tuple(float(number) for number in plain[name]) for name in ("every", "cold"))
        if len(every) != len(MEMORIES_S) or len(cold) != len(MEMORIES_S):
            raise ValueError(f"{len(every)} and {len(cold)} sums, {len(MEMORIES_S)} memories")
        return cls(float(plain["at_s"]), every, cold)


def _times(sums: tuple[float, ...], factors: list[float]) -> tuple[float, ...]:
    return tuple(one * factor for one, factor in zip(sums, factors, strict=True))


def _plus(sums: tuple[float, ...], others: list[float] | tuple[float, ...]) -> tuple[float, ...]:
    return tuple(one + other for one, other in zip(sums, others, strict=True))


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of a pool now: background seconds spent and seconds saved (faded), starts, and demand.

    `demand_per_s` are the arrivals of tasks that want a state, in the short and in the long memory.
    """

    spent_s: float = 0.0
    saved_s: float = 0.0
    starts: Starts = field(default_factory=Starts)
    demand_per_s: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Watch:
    """Whether a pool is in shadow mode by itself: `why` ("" when it is not), since when, until when, how many times.

    `spent_s` and `saved_s` are what was booked at `since_s`, when it came back: forgiven.
    """

    why: str = ""
    since_s: float = 0.0
    until_s: float = 0.0
    times: int = 0
    spent_s: float = 0.0
    saved_s: float = 0.0

    def to_plain(self) -> dict[str, Any]:
        """As plain JSON values, for a record."""
        return asdict(self)

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Watch:
        """The opposite; fields of another version are left aside."""
        return cls(**{name: plain[name] for name in cls.__dataclass_fields__ if name in plain})

    @property
    def is_shadow(self) -> bool:
        """Whether bets are withheld."""
        return bool(self.why)


def losing(spent_s: float, saved_s: float, max_cost: float) -> str:
    """Why the ledger says that it does not pay, "" when it does: spent > max_cost · (saved + PRIOR_SAVED_S)."""
    if spent_s <= max_cost * (saved_s + PRIOR_SAVED_S):
        return ""
    work, saved = duration(spent_s), duration(saved_s)
    return f"{work} of background work saved {saved}, allowed are {max_cost:g} s per saved second"


def collapsing(starts: Starts, demand_per_s: tuple[float, float]) -> str:
    """Why the pool seems to collapse, "" when it does not: cold starts grow more frequent on flat demand.

    The share of cold starts in the short memory must exceed that in the long one by RISE with a certainty of 99 %
    (Wilson's lower bound of the short one), with starts enough in both, and demand within FLAT of what it was.
    """
    if any(number < least for number, least in zip(starts.every, LEAST_STARTS, strict=True)):
        return ""
    short_per_s, long_per_s = demand_per_s
    if min(short_per_s, long_per_s) <= 0.0 or not 1.0 / FLAT <= short_per_s / long_per_s <= FLAT:
        return ""
    lately, before = (cold / every for cold, every in zip(starts.cold, starts.every, strict=True))
    if _lower_bound(lately, starts.every[0]) <= before + RISE:
        return ""
    return (
        f"{share(lately)} of the starts of the last hours were cold, {share(before)} of the last day, on equal demand"
    )


def _lower_bound(part: float, number: float) -> float:
    """Wilson's lower bound of a share that was seen in so many cases."""
    square = SURE * SURE / number
    spread = SURE * math.sqrt(part * (1.0 - part) / number + square / (4.0 * number))
    return (part + square / 2.0 - spread) / (1.0 + square)


def step(watch: Watch, evidence: Evidence, max_cost: float, now_s: float) -> Watch:
    """The next state of the watch; the same object while nothing changes."""
    if watch.is_shadow:
        return watch if now_s < watch.until_s else back(watch, evidence, now_s, watch.times)
    left = 0.5 ** (max(0.0, now_s - watch.since_s) / LEDGER_HALF_LIFE_S) if watch.since_s else 0.0
    spent_s = max(0.0, evidence.spent_s - left * watch.spent_s)
    why = losing(spent_s, max(0.0, evidence.saved_s - left * watch.saved_s), max_cost)
    if not why and spent_s > 0.0 and now_s >= watch.since_s + SETTLED_S:
        why = collapsing(evidence.starts, evidence.demand_per_s)
    if why:
        times = watch.times + 1
        return Watch(why, now_s, now_s + pause_s(times), times)
    if watch.times and now_s >= watch.since_s + FORGOTTEN_S:
        return Watch()
    return watch


def back(watch: Watch, evidence: Evidence, now_s: float, times: int = 0) -> Watch:
    """The pool hands out again; an operator's word also forgets how often it went."""
    return Watch(since_s=now_s, times=times, spent_s=evidence.spent_s, saved_s=evidence.saved_s)


def pause_s(times: int) -> float:
    """How long the shadow mode of that number lasts: 2 h, 4 h, 8 h, 16 h, a day."""
    return min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** (min(times, 10) - 1))


def check(watch: Watch, pool: str, now_s: float) -> GateCheck:
    """Gate 9 for people."""
    if not watch.is_shadow:
        return GateCheck(Gate.LEDGER, True, "The ledger is not losing.")
    left = duration(max(0.0, watch.until_s - now_s))
    text = f"The ledger refused: {watch.why}; so {pool} went to shadow mode by itself, for another {left}."
    return GateCheck(Gate.LEDGER, False, text, would_change=f"Another {left}, or ./pilot start --pool {pool}.")
