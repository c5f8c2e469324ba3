"""A search for harm: made-up traces of many kinds, on fleets of any size, ours beside the same dispatch without bets.

    python -m bench.harm --cases 40 --seed 1

Each case draws a kind of demand, its figures, the cold cost, how many states a bot has room for, and how busy the fleet
is; the same seed draws the same cases. Printed: mean overhead and p99 of the queue in seconds of `off`, of ours, and of
ours with half of the tasks announced, the worst for us first. Traces of a thousand tasks learn little: what bets cost
until the ledger knows better is a part of it.
"""

from __future__ import annotations

import argparse
import math
import os
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from itertools import cycle
from statistics import median

from bench.cells import HERALDS, JITTER_S
from bench.page import table
from server import simulation
from server.policy.simulate import replay, trace
from server.policy.simulate.announced import announcements
from server.policy.simulate.options import Options
from server.policy.simulate.trace import Arrival, split_key

SPAN_S, TASKS = 2 * trace.DAY_S, 1000
WORSE = 1.02

Row = tuple[float, float, str]
"""When a task comes, how long it works, and its key."""


def _times(dice: random.Random, tasks: int = TASKS) -> list[float]:
    return sorted(dice.uniform(0.0, SPAN_S) for _ in range(tasks))


def _work_s(dice: random.Random, mean_s: float, varies: float = 1.0) -> float:
    spread = math.sqrt(math.log(1.0 + varies**2))
    return dice.lognormvariate(math.log(mean_s) - spread**2 / 2.0, spread)


def steady(dice: random.Random) -> Iterator[Row]:
    """Some keys are asked for more often than others, always as often."""
    keys, skew = dice.choice([3, 10, 40, 150]), dice.choice([0.0, 0.8, 1.3])
    work_s, varies = dice.choice([20.0, 120.0, 600.0, 3000.0]), dice.choice([0.3, 1.0, 2.0])
    weights = [1.0 / (key + 1) ** skew for key in range(keys)]
    for at_s in _times(dice):
        yield at_s, _work_s(dice, work_s, varies), f"k{dice.choices(range(keys), weights)[0]}"


def batches(dice: random.Random) -> Iterator[Row]:
    """Each job comes at even times, as several tasks at once."""
    jobs, work_s = dice.choice([4, 6, 15]), dice.choice([20.0, 200.0])
    for job in range(jobs):
        every_s, tasks = dice.choice([1800.0, 3600.0, 7200.0]), dice.choice([1, 4, 8])
        at_s = dice.uniform(0.0, every_s)
        while at_s < SPAN_S:
            yield from ((at_s, _work_s(dice, work_s, 0.3), f"j{job}") for _ in range(tasks))
            at_s += every_s


def moving(dice: random.Random) -> Iterator[Row]:
    """Families whose versions follow each other, with stragglers."""
    families, every_s = dice.choice([1, 3, 8]), dice.choice([3600.0, 14_400.0, 43_200.0])
    late, work_s = dice.choice([0.0, 0.05, 0.2]), dice.choice([30.0, 200.0, 900.0])
    for at_s in _times(dice):
        version = max(0, int(at_s // every_s) - (dice.random() < late))
        yield at_s, _work_s(dice, work_s), f"f{dice.randrange(families)}:{version}"


def alternating(dice: random.Random) -> Iterator[Row]:
    """Families that go back and forth between two versions."""
    every_s, work_s = dice.choice([1800.0, 7200.0]), dice.choice([60.0, 300.0])
    for at_s in _times(dice):
        version = int(at_s // every_s) % 2 if dice.random() < 0.8 else dice.randrange(2)
        yield at_s, _work_s(dice, work_s), f"f{dice.randrange(3)}:{version}"


def long_among_short(dice: random.Random) -> Iterator[Row]:
    """One task in ten takes eight hours."""
    for at_s in _times(dice):
        yield at_s, _work_s(dice, 30_000.0 if dice.random() < 0.1 else 60.0), f"k{dice.randrange(8)}"


def bursts(dice: random.Random) -> Iterator[Row]:
    """Calm work, and now and then 25 tasks of one rare key."""
    work_s, within_s = dice.choice([30.0, 300.0]), dice.choice([0.0, 30.0, 600.0])
    for at_s in _times(dice, 800):
        yield at_s, _work_s(dice, work_s), f"k{dice.randrange(6)}"
    for at_s in _times(dice, 24):
        key = f"b{dice.randrange(3)}"
        yield from ((at_s + dice.uniform(0.0, within_s), _work_s(dice, work_s), key) for _ in range(25))


def fan_out(dice: random.Random) -> Iterator[Row]:
    """A build sets off several tests some minutes later, mostly."""
    after_s, tests, missing = dice.choice([60.0, 300.0, 900.0]), dice.choice([2, 6, 15]), dice.choice([0.0, 0.3])
    for at_s in _times(dice, TASKS // (tests + 1)):
        build = dice.randrange(4)
        yield at_s, _work_s(dice, after_s, 0.2), f"b{build}"
        if dice.random() >= missing:
            for _ in range(tests):
                yield at_s + after_s + dice.uniform(0.0, 60.0), _work_s(dice, 120.0), f"t{build}"


def in_turn(dice: random.Random) -> Iterator[Row]:
    """Every half hour or so nearly all tasks want another key."""
    every_s, keys, work_s = dice.choice([600.0, 1800.0, 7200.0]), dice.choice([6, 25]), dice.choice([30.0, 200.0])
    for at_s in _times(dice):
        key = int(at_s // every_s) * 7 % keys if dice.random() < 0.85 else dice.randrange(keys)
        yield at_s, _work_s(dice, work_s), f"k{key}"


KINDS: dict[str, Callable[[random.Random], Iterator[Row]]] = {
    kind.__name__: kind for kind in (steady, batches, moving, alternating, long_among_short, bursts, fan_out, in_turn)
}


@dataclass(frozen=True, slots=True)
class Case:
    """One made-up trace on one fleet."""

    kind: str
    seed: int
    cold_s: float
    slots: int
    utilization: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """(mean overhead, p99 of the queue) in seconds."""

    bots: int
    off: tuple[float, float]
    ours: tuple[float, float]
    announced: tuple[float, float]

    @property
    def times_off(self) -> float:
        """Our mean overhead, as a multiple of that of `off`."""
        return self.ours[0] / self.off[0]


def arrivals(kind: str, seed: int) -> list[Arrival]:
    """The trace, from 0 on."""
    found = sorted(KINDS[kind](random.Random(f"{kind}-{seed}")))
    return [Arrival(at_s - found[0][0], work_s, key, *split_key(key)) for at_s, work_s, key in found]


def cases(number: int, seed: int) -> Iterator[Case]:
    """So many, each kind as often as the others."""
    dice = random.Random(seed)
    for one, kind in zip(range(number), cycle(KINDS), strict=False):
        yield Case(
            kind, 1000 * seed + one, dice.choice([60.0, 600.0]), dice.choice([1, 1, 5]), dice.choice([0.3, 0.6, 0.85])
        )


def measured(case: Case) -> Outcome:
    """What comes of it in the ideal world."""
    made, options = arrivals(case.kind, case.seed), Options(1, cold_s=case.cold_s, slots=case.slots)
    options = replace(options, bots=replay.fleet_size(made, options, random.Random(case.seed), case.utilization))
    path = trace.jittered(made, random.Random(case.seed), JITTER_S)
    said = announcements(path, HERALDS, random.Random(case.seed + 1))

    def figures(policy: str, heard: bool = False) -> tuple[float, float]:
        dice = random.Random(case.seed + 2)
        found = replay.replay(policy, path, options, dice, simulation.thresholds(), said if heard else ())
        return found.total_s / len(found.overhead), found.queue[int(0.99 * len(found.queue))]

    return Outcome(options.bots, figures("off"), figures("pilotlight"), figures("pilotlight", heard=True))


def rows(found: dict[Case, Outcome]) -> Iterator[tuple[str, ...]]:
    """One per case, the worst for us first."""
    for case, came in sorted(found.items(), key=lambda item: -item[1].times_off):
        told = [f"{mean_s:.1f}, {queue_s:.0f}" for mean_s, queue_s in (came.off, came.ours, came.announced)]
        fleet = f"{came.bots} × {case.slots} at {case.utilization:.0%}"
        yield f"{case.kind} {case.seed}", f"{case.cold_s:g}", fleet, *told, f"{came.times_off:.2f}"


def main() -> None:
    """Reads the options, replays, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=max(1, (os.cpu_count() or 1) - 1))
    given = parser.parse_args()
    wanted = list(cases(given.cases, given.seed))
    with ProcessPoolExecutor(given.jobs) as pool:
        found = dict(zip(wanted, pool.map(measured, wanted), strict=True))
    names = ("demand", "cold s", "bots × states", "off: mean, p99 queue", "ours", "half announced", "ours / off")
    print("\n".join(table(names, list(rows(found)))))
    times = [one.times_off for one in found.values()]
    worse = f"worse by more than 2 % in {sum(one > WORSE for one in times)} of {len(times)}"
    print(f"\nours / off: median {median(times):.3f}, worst {max(times):.2f}; {worse}")


if __name__ == "__main__":
    main()
