"""One trace under one policy: the figures of a single path, and the fleet that a trace calls for."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from server.policy.model import Thresholds
from server.policy.simulate.affinity import Affinity, NoAffinity
from server.policy.simulate.announced import Announcement
from server.policy.simulate.ceiling import Ceiling
from server.policy.simulate.off import CleanAtOnce, Off
from server.policy.simulate.options import Options
from server.policy.simulate.pilotlight import Pilotlight
from server.policy.simulate.restock import EwmaStock, HybridHistogram
from server.policy.simulate.trace import Arrival, Dice, busy_hour_load
from server.policy.simulate.watch import Sample, Watcher, Window
from server.policy.simulate.world import Policy, Started, World

POLICIES = ("none", "affinity", "off", "ewma", "histogram", "pilotlight", "ceiling")
"""No affinity; affinity, least recently used state sacrificed; the server's dispatch without background work; a
newsvendor on an EWMA; hybrid histogram; what the server runs; the clairvoyant."""
LISTENING = ("pilotlight",)
"""Who hears what is announced."""
CLEAN_AT_ONCE = "clean_at_once"
"""The bound for clean-ups in the background, compared with where there are any."""


@dataclass(frozen=True, slots=True)
class Path:
    """What one replay came to. Times are seconds; `overhead` is start of useful work − submit, sorted."""

    overhead: tuple[float, ...]
    queue: tuple[float, ...]
    warm_rate: float
    background_s: float
    on_demand_s: float
    prewarms: int
    used: int
    stale: int
    preempted: int
    failed: int
    clean_s: float
    clean_hidden: float | None
    """Share of the clean-up seconds owed that no task waited for; None where none was owed."""
    started: tuple[Started, ...]
    occupied: tuple[tuple[float, float], ...]
    windows: tuple[Window, ...] = ()
    watched: Mapping[str, Sequence[Sample]] = field(default_factory=dict)
    """By the kind of a window what was seen in it."""

    @property
    def total_s(self) -> float:
        """All the waiting of the tasks that count."""
        return sum(self.overhead)


def make_policy(name: str, options: Options, arrivals: Sequence[Arrival], thresholds: Thresholds) -> Policy:
    """A policy by its name.

    Raises:
        ValueError: there is none of that name.
    """
    if name == "none":
        return NoAffinity()
    if name == "affinity":
        return Affinity()
    if name == "off":
        return Off(options, thresholds)
    if name == "ewma":
        return EwmaStock(options)
    if name == "histogram":
        return HybridHistogram(options)
    if name == "pilotlight":
        return Pilotlight(options, thresholds)
    if name == "ceiling":
        return Ceiling(options, arrivals)
    if name == CLEAN_AT_ONCE:
        return CleanAtOnce(options, thresholds)
    raise ValueError(f"no policy is called {name!r}; there are {', '.join((*POLICIES, CLEAN_AT_ONCE))}")


def replay(
    name: str,
    arrivals: Sequence[Arrival],
    options: Options,
    dice: Dice,
    thresholds: Thresholds | None = None,
    announced: Sequence[Announcement] = (),
    watched: Sequence[Window] = (),
) -> Path:
    """Replays the arrivals under the policy of that name, and what is announced to one that listens.

    Raises:
        ValueError: there is no such policy, there are no arrivals, or no bots.
    """
    if not arrivals or options.bots < 1 or options.slots < 1:
        raise ValueError("a replay needs arrivals, a bot and a slot")
    policy = make_policy(name, options, arrivals, thresholds or Thresholds(mode="live"))
    watcher = Watcher(watched)
    books = World(arrivals, options, policy, dice, announced if name in LISTENING else (), watcher).run()
    first = int(options.skip_share * len(arrivals))
    counted = [start for start in books.started if start.task.number >= first]
    return Path(
        overhead=tuple(sorted(start.overhead_s for start in counted)),
        queue=tuple(sorted(start.queue_s for start in counted)),
        warm_rate=sum(start.warm for start in counted) / max(1, len(counted)),
        background_s=books.background_s,
        on_demand_s=books.on_demand_s,
        prewarms=books.prewarms,
        used=books.used,
        stale=books.stale,
        preempted=books.preempted,
        failed=books.failed,
        clean_s=books.clean_s,
        clean_hidden=1.0 - books.paid_s / books.owed_s if books.owed_s else None,
        started=tuple(counted),
        occupied=tuple(books.occupied),
        windows=tuple(watched),
        watched=watcher.seen,
    )


def fleet_size(arrivals: Sequence[Arrival], options: Options, dice: Dice, utilization: float) -> int:
    """The smallest fleet whose bots are occupied to at most this share in the busy hour, under affinity.

    Occupied: by real tasks, cold starts included. The busy hour is the 90th percentile of the hours in which anything
    runs: with it fleets come within 5 % of those that the design's figures were measured with.

    Raises:
        ValueError: the utilization is not within 0 to 1, or there are no arrivals.
    """
    if not 0.0 < utilization < 1.0 or not arrivals:
        raise ValueError("a fleet is sized for arrivals, and for a utilization between 0 and 1")
    until_s = arrivals[-1].submit_s

    def load_of(each_s: float) -> float:
        return busy_hour_load(((a.submit_s, a.submit_s + each_s + a.duration_s) for a in arrivals), until_s)

    low = max(1, math.ceil(load_of(options.warm_s) / utilization))
    high = max(low, math.ceil(load_of(options.cold_s) / utilization))
    while low < high:
        middle = (low + high) // 2
        path = replay("affinity", arrivals, replace(options, bots=middle), dice)
        if busy_hour_load(path.occupied, until_s) <= utilization * middle:
            high = middle
        else:
            low = middle + 1
    return low
