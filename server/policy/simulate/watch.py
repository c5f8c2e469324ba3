"""What the virtual fleet looked like in chosen windows of a replay: demand and stock, for pictures."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from server.policy.simulate.trace import HOUR_S, Arrival

if TYPE_CHECKING:
    from server.policy.simulate.world import World

STOCK, ROLLOVER, SURGE = "stock", "rollover", "surge"
SAMPLES = 320
BEFORE_S, AFTER_S = HOUR_S, 3.0 * HOUR_S
SURGE_STEP_S = 600.0
SURGE_MEMORY = 6


@dataclass(frozen=True, slots=True)
class Window:
    """A part of the trace that is looked at in even steps; `groups` are names with the keys that stand behind them."""

    kind: str
    begin_s: float
    end_s: float
    groups: Mapping[str, frozenset[str]]

    @property
    def step_s(self) -> float:
        """Between looks."""
        return (self.end_s - self.begin_s) / SAMPLES


@dataclass(frozen=True, slots=True)
class Sample:
    """One look. By group: `demand` = tasks that run or wait, `stock` = idle warm bots and bots that warm up."""

    at_s: float
    demand: Mapping[str, int]
    stock: Mapping[str, int]
    running: int
    pending: int
    warming: int


class Watcher:
    """Looks at the world at every step of its windows; between two events nothing changes."""

    def __init__(self, windows: Sequence[Window]) -> None:
        self.seen: dict[str, list[Sample]] = {window.kind: [] for window in windows}
        self._next = {window.kind: window.begin_s for window in windows}
        self._windows = windows
        self.next_s = min(self._next.values(), default=float("inf"))

    def look(self, world: World, until_s: float) -> None:
        """Takes the samples due before `until_s`, the next event."""
        for window in self._windows:
            while self._next[window.kind] < min(until_s, window.end_s):
                self.seen[window.kind].append(_sample(world, window, self._next[window.kind]))
                self._next[window.kind] += window.step_s
            if self._next[window.kind] >= window.end_s:
                self._next[window.kind] = float("inf")
        self.next_s = min(self._next.values(), default=float("inf"))


def _sample(world: World, window: Window, at_s: float) -> Sample:
    demand, stock = {}, {}
    for name, keys in window.groups.items():
        demand[name] = sum(world.busy.get(key, 0) + len(world.waiting.get(key, ())) for key in keys)
        stock[name] = sum(len(world.copies.get(key, ())) + world.warming.get(key, 0) for key in keys)
    warming = len(world.background)
    running = sum(1 for bot in world.bots if bot.run is not None) - warming
    return Sample(at_s, demand, stock, running, len(world.pending), warming)


def windows(arrivals: Sequence[Arrival]) -> list[Window]:
    """What is worth looking at: the busiest family all the time, the largest rollover, the largest surge."""
    keys: dict[str, dict[str, float]] = defaultdict(dict)
    for arrival in arrivals:
        keys[arrival.family].setdefault(arrival.key, arrival.submit_s)
    busiest = Counter(arrival.family for arrival in arrivals).most_common(1)[0][0]
    end_s = max(arrivals[-1].submit_s, 1.0)
    found = [Window(STOCK, 0.0, end_s, {busiest: frozenset(keys[busiest])})]
    rollover = _largest_rollover(arrivals, keys)
    if rollover is not None:
        at_s, old, new = rollover
        groups = {old: frozenset((old,)), new: frozenset((new,))}
        found.append(Window(ROLLOVER, max(0.0, at_s - BEFORE_S), at_s + AFTER_S, groups))
    at_s = _largest_surge(arrivals)
    found.append(Window(SURGE, max(0.0, at_s - BEFORE_S), at_s + AFTER_S, {}))
    return found


def _largest_rollover(
    arrivals: Sequence[Arrival], keys: Mapping[str, Mapping[str, float]]
) -> tuple[float, str, str] | None:
    """When a new generation was first asked for, the one before and it: the one of most tasks in its first hours."""
    before = {
        new: (first_s, old)
        for firsts in keys.values()
        for (old, _), (new, first_s) in zip(list(firsts.items()), list(firsts.items())[1:], strict=False)
    }
    early = Counter(
        arrival.key
        for arrival in arrivals
        if arrival.key in before and arrival.submit_s < before[arrival.key][0] + AFTER_S
    )
    if not early:
        return None
    new = early.most_common(1)[0][0]
    first_s, old = before[new]
    return first_s, old, new


def _largest_surge(arrivals: Sequence[Arrival]) -> float:
    """When more tasks came within ten minutes, against the hour before, than ever."""
    counts = [0] * (int(arrivals[-1].submit_s // SURGE_STEP_S) + 1)
    for arrival in arrivals:
        counts[int(arrival.submit_s // SURGE_STEP_S)] += 1

    def rise(at: int) -> float:
        return counts[at] - sum(counts[max(0, at - SURGE_MEMORY) : at]) / SURGE_MEMORY

    return SURGE_STEP_S * max(range(min(SURGE_MEMORY, len(counts) - 1), len(counts)), key=rise)
