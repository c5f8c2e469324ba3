"""Baselines that forecast: affinity's dispatch, and idle bots warmed in quiet times by what counts or gaps foretell."""

from __future__ import annotations

import heapq
import math

from server.policy.simulate.affinity import Affinity, least_recently_used
from server.policy.simulate.options import Options
from server.policy.simulate.world import FORECAST, Bot, Task, World

AT_MOST_EVERY_S = 10.0
AT_LEAST_EVERY_S = 60.0
RESERVE_SHARE = 0.1
MOST_WARMING = 0.5


class Restocking(Affinity):
    """A round of prewarming in quiet times, with a fixed reserve of a tenth of the bots."""

    tick_s = AT_LEAST_EVERY_S

    def __init__(self, options: Options) -> None:
        self.options = options
        self._last_s = float("-inf")

    def prewarm(self, world: World) -> None:
        if world.now_s - self._last_s < AT_MOST_EVERY_S:
            return
        self._last_s = world.now_s
        warming = len(world.background)
        room = len(world.idle) - math.ceil(RESERVE_SHARE * self.options.bots)
        room = min(room, int(MOST_WARMING * (len(world.idle) + warming)) - warming)
        for key in self.wanted(world) if room > 0 else ():
            if room <= 0 or not world.asking:
                return
            victim = self.spare(world)
            if victim is None:
                return
            world.warm(victim, key, FORECAST)
            room -= 1

    def spare(self, world: World) -> Bot | None:
        """Of the bots whose oldest state is not needed (or that have room) the one that used it longest ago."""
        free = [bot for bot in world.asking.values() if self._is_spare(world, bot)]
        return min(free, key=lambda bot: next(iter(bot.states.values()), -1.0)) if free else None

    def _is_spare(self, world: World, bot: Bot) -> bool:
        return len(bot.states) < self.options.slots or not self.needs(world, next(iter(bot.states)))

    def needs(self, world: World, key: str) -> bool:
        """Whether every idle copy of the key is needed."""
        raise NotImplementedError

    def wanted(self, world: World) -> list[str]:
        """The keys of which one more copy is wanted, the most urgent first; a key may stand there several times."""
        raise NotImplementedError


class EwmaStock(Restocking):
    """Newsvendor base stock: as many idle copies as cover the demand of one cold time, at a quantile of Poisson.

    A copy too many and a copy too few cost about one cold time each, so the quantile is the median.
    """

    HALF_LIFE_S = 3600.0
    SERVICE = 0.5

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._counts: dict[str, tuple[float, float]] = {}
        self._surplus: dict[str, int] = {}

    def submitted(self, world: World, task: Task) -> None:
        count, at_s = self._counts.get(task.key, (0.0, task.submit_s))
        self._counts[task.key] = 1.0 + count * 2.0 ** ((at_s - task.submit_s) / self.HALF_LIFE_S), task.submit_s

    def wanted(self, world: World) -> list[str]:
        lacking: list[tuple[float, str]] = []
        self._surplus.clear()
        for key, (count, at_s) in list(self._counts.items()):
            rate = count * 2.0 ** ((at_s - world.now_s) / self.HALF_LIFE_S) * math.log(2.0) / self.HALF_LIFE_S
            mean = rate * self.options.cold_s
            if mean <= -math.log(self.SERVICE):
                if count < 0.5 or world.now_s - at_s > 10.0 * self.HALF_LIFE_S:
                    del self._counts[key]
                continue
            have = len(world.copies[key]) + world.warming[key]
            missing = base_stock(mean, self.SERVICE) - have
            self._surplus[key] = -missing
            lacking += [(mean - have - number, key) for number in range(missing)]
        return [key for _, key in sorted(lacking, reverse=True)]

    def needs(self, world: World, key: str) -> bool:
        return self._surplus.get(key, 1) <= 0


def base_stock(mean: float, service: float) -> int:
    """The smallest number that Poisson demand of this mean exceeds in at most 1 − service of the cases."""
    number, term = 0, math.exp(-min(mean, 700.0))
    below = term
    while below < service and number < 10.0 * mean + 20.0:
        number += 1
        term *= mean / number
        below += term
    return number


class HybridHistogram(Restocking):
    """Keep-alive by the gaps between a key's tasks, as in *Serverless in the Wild* (ATC'20).

    From the 5th percentile of the gaps on, until the 99th, one copy is to be there; a state past its time goes first.
    A key of which little is known, or whose gaps leave the histogram, is kept for a fixed time and never prewarmed.
    """

    BIN_S = 60.0
    BINS = 240
    FEWEST = 8
    FIXED_S = 1200.0

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._last: dict[str, float] = {}
        self._bins: dict[str, list[int]] = {}
        self._until_s: dict[str, float] = {}
        self._due: list[tuple[float, str, float]] = []
        self._open: set[str] = set()
        """Keys of which a copy is to be there now."""

    def submitted(self, world: World, task: Task) -> None:
        key, now_s = task.key, task.submit_s
        bins = self._bins.setdefault(key, [0] * (self.BINS + 1))
        if key in self._last:
            bins[min(self.BINS, int((now_s - self._last[key]) / self.BIN_S))] += 1
        self._last[key] = now_s
        known = sum(bins)
        if known < self.FEWEST or bins[-1] > known / 2:
            self._until_s[key] = now_s + self.FIXED_S
            return
        head_s, tail_s = (self.BIN_S * self._percentile(bins, share) for share in (0.05, 0.99))
        self._until_s[key] = now_s + 1.1 * (tail_s + self.BIN_S)
        heapq.heappush(self._due, (now_s + max(0.0, 0.9 * head_s - self.options.cold_s), key, now_s))

    def _percentile(self, bins: list[int], share: float) -> int:
        left = share * sum(bins[:-1])
        for number, count in enumerate(bins[:-1]):
            left -= count
            if left <= 0.0 and count:
                return number
        return self.BINS

    def wanted(self, world: World) -> list[str]:
        while self._due and self._due[0][0] <= world.now_s:
            _, key, of_s = heapq.heappop(self._due)
            if self._last[key] == of_s:
                self._open.add(key)
        self._open = {key for key in self._open if world.now_s <= self._until_s[key]}
        return sorted(key for key in self._open if not (world.copies[key] or world.warming[key] or world.busy[key]))

    def needs(self, world: World, key: str) -> bool:
        return len(world.copies[key]) <= 1 and self._until_s.get(key, 0.0) >= world.now_s

    def victim(self, world: World) -> Bot:
        """A bot whose oldest state is past its time, else as affinity does."""
        return self.spare(world) or least_recently_used(world)
