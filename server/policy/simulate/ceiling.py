"""The clairvoyant: affinity's first come, first served dispatch, but it knows which tasks come next.

It may warm only keys that were asked for before, from one cold time and a minute ahead, and gives up the state whose
next use is furthest. A heuristic, not a bound: a better dispatcher can beat it.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence

from server.policy.simulate.affinity import Affinity
from server.policy.simulate.options import Options
from server.policy.simulate.trace import Arrival
from server.policy.simulate.world import FORECAST, Bot, Task, World

AHEAD_S = 60.0
AT_MOST_EVERY_S = 5.0
RESERVE_SHARE = 0.1
NEVER_S = float("inf")


class Ceiling(Affinity):
    """Knows the arrivals of the whole replay."""

    tick_s = 15.0

    def __init__(self, options: Options, arrivals: Sequence[Arrival]) -> None:
        self.options = options
        self._times: dict[str, list[float]] = defaultdict(list)
        for arrival in arrivals:
            self._times[arrival.key].append(arrival.submit_s)
        self._last_s = -NEVER_S

    def _use_s(self, key: str, copy: int, now_s: float) -> float:
        """When the copy-th copy (from 1) of a key is wanted next."""
        times = self._times[key]
        at = bisect_right(times, now_s) + copy - 1
        return times[at] if at < len(times) else NEVER_S

    def victim(self, world: World) -> Bot:
        """A bot with an empty slot, else the one whose state is wanted last."""
        return self._furthest(world, {})[0]

    def _furthest(self, world: World, kept: dict[str, int]) -> tuple[Bot, float]:
        """That bot, and when its state is wanted; of the states in `kept` so many copies are spoken for already."""
        slots, now_s = world.options.slots, world.now_s
        uses: dict[str, float] = {}
        best, best_s = None, -NEVER_S
        for bot in world.asking.values():
            if len(bot.states) < slots:
                return bot, NEVER_S
            key = next(iter(bot.states))
            use_s = uses.get(key)
            if use_s is None:
                copies = len(world.copies[key])
                use_s = -NEVER_S if copies <= kept.get(key, 0) else self._use_s(key, copies, now_s)
                uses[key] = use_s
            if best is None or use_s > best_s:
                best, best_s = bot, use_s
        assert best is not None
        return best, best_s

    def prewarm(self, world: World) -> None:
        if world.now_s - self._last_s < AT_MOST_EVERY_S:
            return
        self._last_s = world.now_s
        reserve = math.ceil(RESERVE_SHARE * self.options.bots)
        kept: dict[str, int] = defaultdict(int)
        frees = self._frees(world)
        for arrival in world.upcoming(world.now_s + self.options.cold_s + AHEAD_S):
            if self._is_served(world, arrival, kept, frees) or arrival.key not in world.seen:
                continue
            if len(world.idle) <= reserve or not world.asking:
                return
            bot, use_s = self._furthest(world, kept)
            if use_s > arrival.submit_s:
                world.warm(bot, arrival.key, FORECAST)
                ready_s = max(arrival.submit_s, world.now_s + self.options.cold_s)
                heapq.heappush(frees[arrival.key], ready_s + self.options.warm_s + arrival.duration_s)

    def _frees(self, world: World) -> dict[str, list[float]]:
        """When each copy of each state is free, as heaps: now for the idle ones, else when its run ends."""
        frees: dict[str, list[float]] = defaultdict(list)
        for key, holders in world.copies.items():
            frees[key] = [world.now_s] * len(holders)
        for bot in world.bots:
            if bot.run is not None and not bot.run.stopped:
                heapq.heappush(frees[bot.run.key], bot.run.end_s)
        return frees

    def _is_served(self, world: World, arrival: Arrival, kept: dict[str, int], frees: dict[str, list[float]]) -> bool:
        """Whether a copy is there for the arrival, or will be sooner than a warm-up; the copy is taken for it."""
        key = arrival.key
        copies = frees[key]
        if not copies or copies[0] > max(arrival.submit_s, world.now_s + self.options.cold_s):
            return False
        if copies[0] <= world.now_s:
            kept[key] += 1
        heapq.heapreplace(copies, max(copies[0], arrival.submit_s) + self.options.warm_s + arrival.duration_s)
        return True

    def submitted(self, world: World, task: Task) -> None:
        """It knew."""
