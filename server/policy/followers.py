"""What follows what: which arrivals are followed by others, when and how reliably; learned, tested, announced.

A task that wants A, after two minutes without one, leads. What comes within half an hour after it follows. Pairs are
used only if they pass strict tests, since by chance much follows much: sample, a lower bound of the probability, lift
over what comes anyhow, and a delay that is always about the same. The figures are those of the design's best policy.
"""

from __future__ import annotations

import bisect
import math
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

QUIET_S = 120.0
"""An arrival leads when its key was quiet for longer than this."""
OPENS_S, CLOSES_S = 30.0, 1800.0
"""What comes between these times after a leader follows it."""
FADES = 0.98
"""What a pair has seen counts so much less with each further leader."""
DELAY_WEIGHT = 0.2
"""Weight of the newest delay in its moving average."""
LEAST_TRIALS, LEAST_HITS = 8.0, 6.0
LEAST_PROBABILITY = 0.5
LEAST_LIFT = 0.25
LEAST_DELAY_S = 60.0
MOST_DISPERSION = 0.3
"""Mean deviation of the delay, as a share of it."""
MOST_CONFIDENCE = 0.95
LATE_S = 90.0
"""An announcement lapses two deviations and this long after it is due."""
SLOT_S = 600.0
SLOT_HALF_LIVES_S = (2 * 3600.0, 24 * 3600.0)
LOWER_95 = 1.645
"""The normal distribution's 95th percentile."""

MOST_KEYS = 300
"""Keys that are remembered, those seen last; and so the memory of all this."""
MOST_FOLLOWERS = 30
LEAST_REMEMBERED = 0.1
"""A pair of which less than so many hits is left is forgotten."""
MOST_HISTORY = 4000
"""Arrivals of one key within half an hour that are remembered."""
MOST_KEPT = 20_000
"""Arrivals of all keys together that are kept over a restart."""


@dataclass(frozen=True, slots=True)
class Expected:
    """After the leader that came at `leader_s`: `count` tasks that want `key`, due at `from_s`, come by `until_s`."""

    key: str
    count: int
    from_s: float
    until_s: float
    confidence: float
    leader: str
    leader_s: float


@dataclass(frozen=True, slots=True)
class Pair:
    """What is known of a leader and one that follows. `refused` says which test it fails, "" when it passes all.

    `chance` is the probability that the follower comes within the window anyhow.
    """

    leader: str
    follower: str
    trials: float
    hits: float
    probability: float
    chance: float
    count: float
    delay_s: float
    deviation_s: float
    refused: str


@dataclass(slots=True)
class _Following:
    """One follower of a leader: faded sums, and the moving averages of its first delay."""

    hits: float = 0.0
    count: float = 0.0
    delay_s: float = 0.0
    deviation_s: float = 0.0

    def hit(self, count: int, delay_s: float) -> None:
        if self.hits == 0.0 and self.delay_s == 0.0:
            self.delay_s, self.deviation_s = delay_s, delay_s / 2  # as RFC 6298 begins: unsure until it has seen more
        else:
            off_s = abs(delay_s - self.delay_s)
            self.deviation_s += DELAY_WEIGHT * (off_s - self.deviation_s)
            self.delay_s += DELAY_WEIGHT * (delay_s - self.delay_s)
        self.hits += 1.0
        self.count += count


@dataclass(slots=True)
class _Key:
    """One key: as a leader (`trials`, `following`) and as one that comes anyhow (`slot`, `shares`)."""

    last_s: float = -math.inf
    trials: float = 0.0
    following: dict[str, _Following] = field(default_factory=dict)
    slot: int = 0
    shares: list[float] = field(default_factory=lambda: [0.0 for _ in SLOT_HALF_LIVES_S])
    history_s: list[float] = field(default_factory=list)

    def note(self, at_s: float) -> None:
        """It came: in the history, and in the share of slots in which it comes."""
        if len(self.history_s) >= MOST_HISTORY or (self.history_s and self.history_s[0] < at_s - 2 * CLOSES_S):
            keep = bisect.bisect_left(self.history_s, at_s - CLOSES_S)
            self.history_s = self.history_s[max(keep, len(self.history_s) - MOST_HISTORY + 1) :]
        self.history_s.append(at_s)
        self.last_s = max(self.last_s, at_s)
        slot = int(at_s // SLOT_S)
        if slot > self.slot:
            self.shares = [
                share * _left(half_life_s, slot - self.slot) + 1.0 - _left(half_life_s, 1)
                for share, half_life_s in zip(self.shares, SLOT_HALF_LIVES_S, strict=True)
            ]
            self.slot = slot

    def fade(self) -> None:
        """It led once more: what followed before counts less, and what is left of too little is forgotten."""
        for key, one in list(self.following.items()):
            one.hits *= FADES
            one.count *= FADES
            if one.hits < LEAST_REMEMBERED:
                del self.following[key]

    def keep_likeliest(self) -> None:
        """Forgets all but MOST_FOLLOWERS of those that follow."""
        hits = sorted([one.hits for one in self.following.values()], reverse=True)
        least = hits[MOST_FOLLOWERS - 1]
        even = sorted(key for key, one in self.following.items() if one.hits == least)
        kept = {key: one for key, one in self.following.items() if one.hits > least}
        kept.update((key, self.following[key]) for key in even[: MOST_FOLLOWERS - len(kept)])
        self.following = kept

    def chance(self, now_s: float, since_s: float) -> float:
        """Probability that it comes within a window, whatever led: 1 − e^(−1800 ρ), ρ its slots per second.

        ρ is the larger of two moving averages, each over the slots that were watched.
        """
        slot = int(now_s // SLOT_S)
        watched = slot - int(since_s // SLOT_S) + 1
        share = max(
            share * _left(half_life_s, max(0, slot - self.slot)) / (1.0 - _left(half_life_s, max(1, watched)))
            for share, half_life_s in zip(self.shares, SLOT_HALF_LIVES_S, strict=True)
        )
        return 1.0 - math.exp(-CLOSES_S * share / SLOT_S)


class Followers:
    """What one pool's arrivals taught. Deterministic; arrivals come in the order of their times."""

    def __init__(self, since_s: float) -> None:
        """Args: since_s: when watching begins."""
        self._since_s = since_s
        self._newest_s = -math.inf
        self._keys: dict[str, _Key] = {}
        """By when they came last, the latest at the end."""
        self._windows: deque[tuple[str, float]] = deque()

    def arrive(self, key: str, at_s: float, most: float = math.inf) -> list[Expected]:
        """A task that wants `key` came: what is expected after it, nothing unless it leads.

        Args:
            key: of the warm state.
            at_s: when it came; earlier than the last one counts as that.
            most: the largest number of tasks to expect of a key (half of the bots).
        """
        at_s = self._newest_s = max(at_s, self._newest_s)
        self._close_windows(at_s)
        found = self._keys.pop(key, None)
        if found is None:
            self._make_room()
            found = _Key()
        self._keys[key] = found
        leads = at_s - found.last_s > QUIET_S
        found.note(at_s)
        if not leads:
            return []
        self._windows.append((key, at_s))
        if most < 1 or found.trials < LEAST_TRIALS:
            return []
        often = sorted(name for name, one in found.following.items() if not _refused(found.trials, one.hits, 0.0, one))
        pairs = [self._pair(key, follower, at_s) for follower in often]
        return [_expected(pair, at_s, most) for pair in pairs if not pair.refused]

    def pairs(self, now_s: float) -> list[Pair]:
        """All pairs, the likeliest first, for people."""
        found = [self._pair(key, other, now_s) for key, known in self._keys.items() for other in known.following]
        return sorted(found, key=lambda pair: (bool(pair.refused), -pair.probability, pair.leader, pair.follower))

    def _make_room(self) -> None:
        while len(self._keys) >= MOST_KEYS:
            del self._keys[next(iter(self._keys))]

    def _close_windows(self, now_s: float) -> None:
        while self._windows and self._windows[0][1] + CLOSES_S < now_s:
            self._learn(*self._windows.popleft())

    def _learn(self, leader: str, led_s: float) -> None:
        """The window of a leader has closed: who came in it?"""
        known = self._keys.get(leader)
        if known is None:
            return
        known.trials = known.trials * FADES + 1.0
        known.fade()
        following, opened_s, closed_s = known.following, led_s + OPENS_S, led_s + CLOSES_S
        for key, other in self._candidates(known, opened_s):
            first = bisect.bisect_left(other.history_s, opened_s)
            count = bisect.bisect_right(other.history_s, closed_s, first) - first
            if count > 0 and key != leader:
                one = following.get(key)
                if one is None:
                    one = following[key] = _Following()
                one.hit(count, other.history_s[first] - led_s)
        if len(following) > MOST_FOLLOWERS:
            known.keep_likeliest()

    def _candidates(self, leader: _Key, opened_s: float) -> Iterable[tuple[str, _Key]]:
        """Keys that may have followed since then, but for new ones where those known leave no place for any."""
        following, keys = leader.following, self._keys
        if len(following) >= MOST_FOLLOWERS and min(one.hits for one in following.values()) > 1.0:
            return [(key, keys[key]) for key in following if key in keys]
        return takewhile(lambda item: item[1].last_s >= opened_s, reversed(keys.items()))

    def _pair(self, leader: str, follower: str, now_s: float) -> Pair:
        known, other = self._keys[leader], self._keys.get(follower)
        following = known.following[follower]
        trials, hits = known.trials, following.hits
        probability = hits / trials if trials else 0.0
        chance = other.chance(now_s, self._since_s) if other is not None else 1.0
        count = following.count / hits if hits else 0.0
        pair = (leader, follower, trials, hits, probability, chance, count, following.delay_s, following.deviation_s)
        return Pair(*pair, refused=_refused(trials, hits, chance, following))

    # ---- kept over restarts

    def to_plain(self) -> dict[str, Any]:
        """All of it as plain JSON values. Arrivals are kept to a tenth of a second, MOST_KEPT of them."""
        if not self._keys:
            return {"since_s": self._since_s, "newest_s": 0.0, "keys": {}, "windows": []}
        oldest_s = self._oldest_to_keep_s()
        keys = {}
        for name, key in self._keys.items():
            history = [round(at_s - self._newest_s, 1) for at_s in key.history_s if at_s >= oldest_s]
            following = {other: [f.hits, f.count, f.delay_s, f.deviation_s] for other, f in key.following.items()}
            keys[name] = [key.last_s, key.trials, key.slot, key.shares, following, history]
        return {
            "since_s": self._since_s,
            "newest_s": self._newest_s,
            "keys": keys,
            "windows": [list(window) for window in self._windows],
        }

    def _oldest_to_keep_s(self) -> float:
        """Arrivals before are of no use to a window under way, or are too many."""
        if not self._windows:
            return math.inf
        opened_s = self._windows[0][1]
        times = sorted((at_s for key in self._keys.values() for at_s in key.history_s if at_s > opened_s), reverse=True)
        return times[MOST_KEPT - 1] if len(times) > MOST_KEPT else opened_s

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Followers:
        """The opposite.

        Raises:
            KeyError, TypeError, ValueError: the values are not what `to_plain()` made.
        """
        made = cls(float(plain["since_s"]))
        for name, (last_s, trials, slot, shares, following, history) in sorted(
            plain["keys"].items(), key=lambda item: (item[1][0], item[0])
        ):
            if len(shares) != len(SLOT_HALF_LIVES_S):
                raise ValueError(f"{len(shares)} shares, {len(SLOT_HALF_LIVES_S)} half-lives")
            made._keys[name] = _Key(
                last_s=float(last_s),
                trials=float(trials),
                following={other: _Following(*map(float, values)) for other, values in following.items()},
                slot=int(slot),
                shares=[float(share) for share in shares],
                history_s=[plain["newest_s"] + float(before_s) for before_s in history],
            )
        made._newest_s = float(plain["newest_s"]) if made._keys else -math.inf
        made._windows.extend((str(leader), float(led_s)) for leader, led_s in plain["windows"])
        return made


def _left(half_life_s: float, slots: int) -> float:
    return 0.5 ** (slots * SLOT_S / half_life_s)


def _refused(trials: float, hits: float, chance: float, following: _Following) -> str:
    """Which of the tests the pair fails, in words; "" when it passes all."""
    if trials < LEAST_TRIALS or hits < LEAST_HITS:
        return f"seen {hits:.1f} times in {trials:.1f}; {LEAST_HITS:g} in {LEAST_TRIALS:g} are needed"
    probability, bound = hits / trials, lower_bound(hits / trials, trials)
    if bound < LEAST_PROBABILITY:
        return f"probability may be as low as {bound:.2f}; {LEAST_PROBABILITY:g} is needed"
    if probability < chance + LEAST_LIFT:
        return f"it comes anyhow with probability {chance:.2f}; after the leader with {probability:.2f}"
    if following.delay_s < LEAST_DELAY_S:
        return f"it follows after {following.delay_s:.0f} s; {LEAST_DELAY_S:g} s are needed to act"
    if following.deviation_s > MOST_DISPERSION * following.delay_s:
        return f"its delay of {following.delay_s:.0f} s varies by {following.deviation_s:.0f} s"
    return ""


def lower_bound(probability: float, trials: float) -> float:
    """Wilson's lower 95 % bound of a probability that was measured in so many trials. An example: 8 of 8: 0.75."""
    z2 = LOWER_95**2
    spread = LOWER_95 * math.sqrt(probability * (1.0 - probability) / trials + z2 / (4 * trials**2))
    return (probability + z2 / (2 * trials) - spread) / (1.0 + z2 / trials)


def _expected(pair: Pair, led_s: float, most: float) -> Expected:
    from_s = led_s + pair.delay_s - pair.deviation_s
    return Expected(
        key=pair.follower,
        count=max(1, round(min(pair.count, most))),
        from_s=from_s,
        until_s=from_s + 2 * pair.deviation_s + LATE_S,
        confidence=min(pair.probability, MOST_CONFIDENCE),
        leader=pair.leader,
        leader_s=led_s,
    )
