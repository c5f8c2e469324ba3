"""The clairvoyant: affinity's first come, first served dispatch, but it knows which tasks come next.

It knows what is asked for within one cold time and five minutes, and when, not for how long. It warms only keys that
were asked for before, only what is ready in time, a few in each round, and keeps a bot free for each task that comes
within a cold time, so it is in nobody's way. It gives up the state whose next use is furthest. A heuristic, not a
bound: a better dispatcher can beat it. Horizon and pace are those with which it comes closest to the clairvoyant of the
design's science page, which the shares of its gain are about.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Sequence

from server.policy.simulate.affinity import Affinity
from server.policy.simulate.options import Options
from server.policy.simulate.trace import Arrival
from server.policy.simulate.world import FORECAST, Bot, Run, Task, World

AHEAD_S = 300.0
AT_MOST_EVERY_S = 10.0
AT_LEAST_EVERY_S = 60.0
ROUND_SHARE, LEAST_ROUND = 0.03, 2
"""So many of the bots, or the least, begin to warm up in a round: a batch that comes does not take all at once."""
RESERVE_SHARE = 0.1
SHORT_BY = 0.5
"""A task asks for a warm-up when so much of a copy is lacking for it."""
PRIOR_DURATION_S = 300.0
DURATION_WEIGHT = 0.1
"""Of the newest task in the moving average of how long those of a key take."""
NEVER_S = float("inf")


class Ceiling(Affinity):
    """Knows the arrivals of the whole replay, and uses those of the next cold time and minute."""

    tick_s = AT_LEAST_EVERY_S

    def __init__(self, options: Options, arrivals: Sequence[Arrival]) -> None:
        self.options = options
        self._times: dict[str, list[float]] = defaultdict(list)
        for arrival in arrivals:
            self._times[arrival.key].append(arrival.submit_s)
        self._durations: dict[str, float] = {}
        self._last_s = -NEVER_S

    def ended(self, world: World, bot: Bot, run: Run) -> None:
        """Learns how long tasks of the key take."""
        if run.task is not None:
            known = self._durations.get(run.key, PRIOR_DURATION_S)
            self._durations[run.key] = known + DURATION_WEIGHT * (run.task.arrival.duration_s - known)

    # ---- whom it costs least

    def victim(self, world: World) -> Bot:
        """A bot with an empty slot, else the one whose state is wanted last."""
        return self._furthest(world, {})[0]

    def _furthest(self, world: World, wanted: dict[str, int]) -> tuple[Bot, float]:
        """That bot, and when its state is wanted; of the keys in `wanted` so many copies are spoken for."""
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
                use_s = -NEVER_S if copies <= wanted.get(key, 0) else self._use_s(key, copies, now_s)
                uses[key] = use_s
            if best is None or use_s > best_s:
                best, best_s = bot, use_s
        assert best is not None
        return best, best_s

    def _use_s(self, key: str, copy: int, now_s: float) -> float:
        """When the copy-th copy (from 1) of a key is wanted next."""
        times = self._times[key]
        at = bisect_right(times, now_s) + copy - 1
        return times[at] if at < len(times) else NEVER_S

    # ---- what comes

    def prewarm(self, world: World) -> None:
        if world.now_s - self._last_s < AT_MOST_EVERY_S:
            return
        self._last_s = world.now_s
        ready_s = world.now_s + self.options.cold_s
        coming = world.upcoming(ready_s + AHEAD_S)
        soon = sum(1 for arrival in coming if arrival.submit_s <= ready_s)
        room = len(world.idle) - max(math.ceil(RESERVE_SHARE * self.options.bots), soon)
        room = min(room, max(LEAST_ROUND, int(ROUND_SHARE * self.options.bots)))
        wanted = Counter(arrival.key for arrival in coming)
        ranks: dict[str, int] = defaultdict(int)
        for arrival in coming:
            ranks[arrival.key] += 1
            if arrival.submit_s < ready_s or arrival.key not in world.seen:
                continue
            if ranks[arrival.key] - self._supply(world, arrival) < SHORT_BY:
                continue
            if room <= 0 or not world.asking:
                return
            bot, use_s = self._furthest(world, wanted)
            if use_s > arrival.submit_s:
                world.warm(bot, arrival.key, FORECAST)
                room -= 1

    def _supply(self, world: World, arrival: Arrival) -> float:
        """Copies that are there for the arrival: idle, warming, and of the busy ones what probably ends in time."""
        key = arrival.key
        copies = len(world.copies[key]) + world.warming[key]
        if not world.busy[key]:
            return copies
        left_s = arrival.submit_s - world.now_s + self.options.cold_s / 2.0
        return copies + world.busy[key] * (1.0 - math.exp(-left_s / self._durations.get(key, PRIOR_DURATION_S)))

    def submitted(self, world: World, task: Task) -> None:
        """It knew."""
