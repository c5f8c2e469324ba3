"""The ledger of bets: what forecast prewarms of each worth have brought, and whether more of that worth may be made.

A value is only as good as the forecast behind it. So bets are booked by the value that they were made at, in buckets
half an octave wide: B, the bets made, and S, what they saved less what they cost by what they displaced, each in cold
starts of the state that was bet on: a family with dear cold starts counts no more than others. A bucket is open while

    (S + 10 ρ) / (B + 10) ≥ 0.4,   ρ = (S≥ + 8) / (B≥ + 10) ≥ 0

with S≥ and B≥ of all bets worth at least as much. So a new pool is granted 10 bets of which 0.8 came back each, and no
bucket is granted more than the bets above it have earned: a value that overestimates does so for all of them. Sums fade
with a half-life of a day, so a closed bucket opens again. Constants: the agreed policy's; ρ: decision 23, 10: 34.

Sums of several processes are merged by `merge()`; in any order, and with late bookings, the result is the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from server.policy.model import Gate
from server.policy.outcome import GateCheck
from server.policy.words import duration, share

HALF_LIFE_S = 86_400.0
PRIOR_BETS = 10.0
PRIOR_SHARE = 0.8
"""What the bets of the prior brought back of what they staked."""
LEAST_SHARE = 0.4
LOWEST, HIGHEST = -14, 2
"""Buckets of the least and the largest values: below 1.1 % and from 200 % of a cold start."""
NEGLIGIBLE = 1e-6
OPENS_WITHIN_S = 60.0


def bucket_of(net: float) -> int:
    """The bucket of a net value, which is a share of the cold cost: bucket i is [2^(i/2), 2^((i+1)/2))."""
    if net <= 0.0:
        return LOWEST
    return min(HIGHEST, max(LOWEST, math.floor(2.0 * math.log2(net))))


def worth_of(bucket: int) -> tuple[float, float]:
    """The least value of a bucket, and that from which on the next one begins."""
    return 2.0 ** (bucket / 2.0), 2.0 ** ((bucket + 1) / 2.0)


@dataclass(frozen=True, slots=True)
class Sums:
    """Of one bucket, in cold starts: staked (B), and won less lost (S)."""

    staked: float = 0.0
    won: float = 0.0

    def scaled(self, factor: float) -> Sums:
        """Both times a factor."""
        return Sums(self.staked * factor, self.won * factor)

    def plus(self, other: Sums) -> Sums:
        """Both added up."""
        return Sums(self.staked + other.staked, self.won + other.won)

    @property
    def is_negligible(self) -> bool:
        """Whether nothing to speak of is left."""
        return self.staked < NEGLIGIBLE and abs(self.won) < NEGLIGIBLE


NOTHING = Sums()


@dataclass(frozen=True, slots=True)
class Standing:
    """How a bucket stands: its own sums, and those of all bets worth at least as much."""

    sums: Sums
    upwards: Sums

    @property
    def granted(self) -> float:
        """ρ: what a bet that nothing is known of is taken to bring back, by those worth as much or more."""
        return max(0.0, _returned(self.upwards, PRIOR_SHARE))

    @property
    def returned(self) -> float:
        """What came back per cold start staked, with what is granted."""
        return _returned(self.sums, self.granted)

    @property
    def is_open(self) -> bool:
        """Whether more such bets may be made."""
        return self.returned >= LEAST_SHARE

    @property
    def opens_in_s(self) -> float:
        """How long it stays closed if nothing is booked meanwhile, to a minute; 0 while it is open."""
        known = max(self.upwards.staked, abs(self.upwards.won), abs(self.sums.won), 1.0)
        least_s, most_s = 0.0, HALF_LIFE_S * math.log2(PRIOR_BETS * known + 1.0)
        while not self.is_open and most_s - least_s > OPENS_WITHIN_S:
            half_s = (least_s + most_s) / 2.0
            left = 0.5 ** (half_s / HALF_LIFE_S)
            if Standing(self.sums.scaled(left), self.upwards.scaled(left)).is_open:
                most_s = half_s
            else:
                least_s = half_s
        return 0.0 if self.is_open else most_s


def _returned(sums: Sums, granted: float) -> float:
    return (sums.won + PRIOR_BETS * granted) / (sums.staked + PRIOR_BETS)


@dataclass(frozen=True, slots=True)
class BetLedger:
    """The sums of one process, or of all together, faded until `at_s`. Changes give a new ledger."""

    at_s: float = 0.0
    buckets: Mapping[int, Sums] = field(default_factory=dict)

    def at(self, now_s: float) -> BetLedger:
        """The same as of a later moment; unchanged when that is not later."""
        passed_s = now_s - self.at_s
        if passed_s <= 0.0:
            return self
        left = 0.5 ** (passed_s / HALF_LIFE_S)
        faded = {number: sums.scaled(left) for number, sums in self.buckets.items()}
        return BetLedger(now_s, {number: sums for number, sums in faded.items() if not sums.is_negligible})

    def bet(self, net: float, now_s: float) -> BetLedger:
        """A forecast prewarm was made at that net value."""
        return self._booked(net, Sums(1.0, 0.0), now_s)

    def won(self, net: float, saved: float, now_s: float) -> BetLedger:
        """It was used while no other copy was idle, which saved so many cold starts."""
        return self._booked(net, Sums(0.0, saved), now_s)

    def lost(self, net: float, lost: float, now_s: float) -> BetLedger:
        """A task missed the state that it had displaced, while it sat there unused; that cost so many cold starts."""
        return self._booked(net, Sums(0.0, -lost), now_s)

    def _booked(self, net: float, sums: Sums, now_s: float) -> BetLedger:
        """With an entry of `now_s`, which fades by as much as it comes late."""
        ledger, number = self.at(now_s), bucket_of(net)
        entry = sums.scaled(0.5 ** ((ledger.at_s - now_s) / HALF_LIFE_S))
        return BetLedger(ledger.at_s, {**ledger.buckets, number: ledger.buckets.get(number, NOTHING).plus(entry)})

    def merge(self, other: BetLedger) -> BetLedger:
        """What both booked, as of the later of the two."""
        now_s = max(self.at_s, other.at_s)
        one, two = self.at(now_s).buckets, other.at(now_s).buckets
        numbers = sorted({*one, *two})
        return BetLedger(now_s, {n: one.get(n, NOTHING).plus(two.get(n, NOTHING)) for n in numbers})

    def fuller(self, other: BetLedger) -> BetLedger:
        """Of two accounts of the same bets the one that knows of more."""
        now_s = max(self.at_s, other.at_s)
        one, two = self.at(now_s), other.at(now_s)
        return max(one, two, key=lambda ledger: (ledger.staked, sorted(ledger.to_plain()["bets"].items())))

    @property
    def staked(self) -> float:
        """All that was staked, faded, in cold starts."""
        return sum(sums.staked for sums in self.buckets.values())

    def standing(self, net: float, now_s: float) -> Standing:
        """How the bucket of that net value stands."""
        return self.standing_of(bucket_of(net), now_s)

    def standing_of(self, bucket: int, now_s: float) -> Standing:
        """How that bucket stands."""
        left = 0.5 ** (max(0.0, now_s - self.at_s) / HALF_LIFE_S)
        staked, won = 0.0, 0.0
        for number, sums in self.buckets.items():
            if number >= bucket:
                staked, won = staked + sums.staked, won + sums.won
        return Standing(self.buckets.get(bucket, NOTHING).scaled(left), Sums(staked * left, won * left))

    def least_open(self, net: float, now_s: float) -> float:
        """The least value from this one on whose bucket is open; endless when all those are closed."""
        bucket = bucket_of(net)
        if self.standing_of(bucket, now_s).is_open:
            return net
        above = range(bucket + 1, HIGHEST + 1)
        return next((worth_of(one)[0] for one in above if self.standing_of(one, now_s).is_open), math.inf)

    def check(self, net: float, now_s: float) -> GateCheck:
        """The same as a gate's answer, for people."""
        found, (low, high) = self.standing(net, now_s), worth_of(bucket_of(net))
        worth = f"{share(low)} to {share(high)} of a cold start"
        came = f"{found.sums.won:.1f} cold starts came back of {found.sums.staked:.1f} staked lately"
        if found.is_open:
            text = f"Prewarms worth {worth}: {came}."
            return GateCheck(Gate.LEDGER, True, text, found.returned, LEAST_SHARE)
        text = f"The ledger refused: of prewarms worth {worth}, {came}; with {PRIOR_BETS:g} more that bring "
        text += f"{share(found.granted)} as those worth as much or more did, that is {share(found.returned)}; "
        text += f"{share(LEAST_SHARE)} is asked."
        change = f"Tasks that use the ones still warm, or another {duration(found.opens_in_s)} in which the loss fades."
        return GateCheck(Gate.LEDGER, False, text, found.returned, LEAST_SHARE, change)

    def to_plain(self) -> dict[str, Any]:
        """As plain JSON values, for a page."""
        return {"at_s": self.at_s, "bets": {str(n): [sums.staked, sums.won] for n, sums in self.buckets.items()}}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> BetLedger:
        """The opposite.

        Raises:
            KeyError, TypeError, ValueError: the values are not what `to_plain()` made.
        """
        buckets = {int(n): Sums(float(staked), float(won)) for n, (staked, won) in plain["bets"].items()}
        return cls(float(plain["at_s"]), buckets)
