"""What forecasts could gain at most: replays in which the policy is told how many tasks of each state are to come.

    python -m bench.known_rates TRACES --replicas 3 --write docs/policy.md

The server's policy as it is, in the ideal world, with one state per bot and 60 % in the busy hour. But instead of the
rates that it measures it is given, for each state, the tasks that will come within the next hour, or within the next
quarter of one, as a rate. It is not told when they come. Where that gains no more than the policy does by itself no
better forecast of rates would help. Where it gains much more, keys are so rare that a count of the next hour names
single tasks: who knows them can announce them.
"""

from __future__ import annotations

import argparse
import random
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import median
from unittest.mock import patch

from bench import folder
from bench.cells import JITTER_S, SEED
from bench.page import put, table
from server import simulation
from server.policy.demand_looks import Glance
from server.policy.outlook import Outlook
from server.policy.queues import State
from server.policy.simulate import replay, trace
from server.policy.simulate.mirror import EPOCH_S, state_of
from server.policy.simulate.options import Options
from server.policy.simulate.trace import Arrival

AFFINITY, OURS, HOUR, QUARTER, CEILING = "affinity", "ours", "the hour's tasks known", "the quarter's", "ceiling"
AHEAD_S = {HOUR: 3600.0, QUARTER: 900.0}
COLUMNS = (AFFINITY, OURS, HOUR, QUARTER, CEILING)
POLICY = {AFFINITY: "affinity", CEILING: "ceiling"}
BEGIN, END = "<!-- bench/known_rates begins -->", "<!-- bench/known_rates ends -->"


@dataclass(frozen=True, slots=True)
class Case:
    """One replay: of a trace on a fleet, by somebody, on one path."""

    file: Path
    cold_s: float
    bots: int
    who: str
    number: int


def to_come(arrivals: Sequence[Arrival], ahead_s: float) -> Callable[[State, float], float]:
    """Tasks per second of a state that come within that many seconds of a moment, both told in the server's time."""
    times_s: dict[State, list[float]] = defaultdict(list)
    for one in arrivals:
        times_s[state_of(one.key)].append(EPOCH_S + one.submit_s)

    def per_s(state: State, now_s: float) -> float:
        known = times_s.get(state, [])
        return (bisect_right(known, now_s + ahead_s) - bisect_right(known, now_s)) / ahead_s

    return per_s


def told(arrivals: Sequence[Arrival], ahead_s: float) -> AbstractContextManager[object]:
    """While it lasts the policy takes what is to come for what it measured, in each of its memories."""
    per_s = to_come(arrivals, ahead_s)

    def known(outlook: Outlook, state: State, glance: Glance) -> list[float]:
        return [per_s(state, glance.at_s)] * len(glance.memories)

    return patch.object(Outlook, "_work_out", known)


def measured(case: Case) -> float:
    """Mean overhead in seconds."""
    seed = 1000 * SEED + case.number
    path = trace.jittered(simulation.load(case.file), random.Random(seed), JITTER_S)
    options, policy = Options(case.bots, cold_s=case.cold_s), POLICY.get(case.who, "pilotlight")
    with told(path, AHEAD_S[case.who]) if case.who in AHEAD_S else nullcontext():
        found = replay.replay(policy, path, options, random.Random(seed + 500), simulation.thresholds())
    return found.total_s / len(found.overhead)


def cases(given: argparse.Namespace) -> Iterator[Case]:
    """All replays."""
    for file, cold_s, bots in folder.fleets(given):
        for who, number in product(COLUMNS, range(given.replicas)):
            yield Case(file, cold_s, bots, who, number)


def rows(found: dict[Case, float]) -> Iterator[tuple[str, ...]]:
    """Per fleet what each comes to, in seconds, and what it gains over affinity."""
    for file, cold_s in dict.fromkeys((one.file, one.cold_s) for one in found):
        of = {
            (one.who, one.number): mean_s for one, mean_s in found.items() if (one.file, one.cold_s) == (file, cold_s)
        }
        means_s = {who: median(mean_s for (name, _), mean_s in of.items() if name == who) for who in COLUMNS}
        base_s = means_s[AFFINITY]
        others = [f"{one:,.3g} s, {1.0 - one / base_s:.0%}" for who, one in means_s.items() if who != AFFINITY]
        yield f"{file.name.partition('.')[0]} {cold_s:g}", f"{base_s:,.3g} s", *others


def main() -> None:
    """Reads the options, replays, writes."""
    given = folder.options(__doc__).parse_args()
    wanted = list(cases(given))
    with ProcessPoolExecutor(given.jobs) as pool:
        found = dict(zip(wanted, pool.map(measured, wanted), strict=True))
    made = "\n".join(table(("trace / cold s", *COLUMNS), list(rows(found)))) + "\n"
    put(made, given.write, BEGIN, END)


if __name__ == "__main__":
    main()
