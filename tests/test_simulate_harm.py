"""Traces made up to show that prewarming harms: what it costs there beside the same dispatch without it."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

import pytest

from bench import harm
from bench.cells import HERALDS, JITTER_S
from server import simulation
from server.policy.simulate.announced import Heralds, announcements
from server.policy.simulate.options import Options
from server.policy.simulate.replay import CLEAN_AT_ONCE, replay
from server.policy.simulate.trace import DAY_S, Arrival, jittered
from tests.simulate_world import arrivals


def periodic(
    dice: random.Random, jobs: int, periods_s: tuple[float, ...], tasks: tuple[int, ...], work_s: float
) -> list[Arrival]:
    """Jobs of several tasks at once, each job of its own key and at its own times, for a day."""
    found = []
    for job in range(jobs):
        at_s = job * periods_s[job % len(periods_s)] / jobs
        while at_s < DAY_S:
            for _ in range(tasks[job % len(tasks)]):
                found.append((at_s, dice.uniform(0.8, 1.2) * work_s, f"j{job}"))
            at_s += periods_s[job % len(periods_s)]
    return jittered(arrivals(*found), dice, JITTER_S)


def stationary(dice: random.Random, tasks: int, work_s: float, key: Callable[[int], str]) -> list[Arrival]:
    """Tasks of random lengths at random times, for two days; `key` makes keys of random numbers below 1,000."""
    times = sorted(dice.uniform(0.0, 2 * DAY_S) for _ in range(tasks))
    return arrivals(*[(at_s, dice.expovariate(1 / work_s), key(dice.randrange(1000))) for at_s in times])


def long_among_short(dice: random.Random) -> list[Arrival]:
    """One task in ten takes eight hours, the others a minute."""
    return [
        replace(one, duration_s=one.duration_s * (480.0 if dice.random() < 0.1 else 1.0))
        for one in stationary(dice, 1000, 60.0, lambda number: f"k{number % 8}")
    ]


CASES: dict[str, tuple[Callable[[random.Random], list[Arrival]], Options]] = {
    "short tasks in batches": (
        lambda dice: periodic(dice, 12, (900, 1800, 3600, 7200), (1, 4, 8), 20.0),
        Options(20, cold_s=600.0),
    ),
    "more batches than the fleet has room for": (
        lambda dice: periodic(dice, 6, (3600,), (6,), 200.0),
        Options(15, cold_s=600.0),
    ),
    "thrice as many places as keys": (
        lambda dice: stationary(dice, 1000, 600.0, lambda number: f"k{number % 20}"),
        Options(12, cold_s=600.0, slots=5),
    ),
    "a few long tasks among short ones": (long_among_short, Options(30, cold_s=600.0)),
    "short tasks that leave bots dirty": (
        lambda dice: stationary(dice, 1000, 20.0, lambda number: f"k{number % 10}"),
        Options(8, cold_s=600.0, clean_s=60.0),
    ),
}
PATHS = 3
"""A single path of so few tasks is off by a fifth and more, by chance."""


@lru_cache
def mean_s(policy: str, case: str, heralds: Heralds | None = None) -> float:
    """Mean overhead, over the paths."""
    made, options = CASES[case]
    total_s = tasks = 0.0
    for path in range(PATHS):
        came = made(random.Random(path))
        said = announcements(came, heralds, random.Random(3)) if heralds is not None else ()
        found = replay(policy, came, options, random.Random(4), simulation.thresholds(), said)
        total_s, tasks = total_s + found.total_s, tasks + len(found.overhead)
    return total_s / tasks


@pytest.mark.parametrize("case", CASES)
def test_prewarming_costs_no_more_than_a_twentieth_where_it_cannot_help(case: str) -> None:
    without = CLEAN_AT_ONCE if CASES[case][1].clean_s else "off"
    assert mean_s("pilotlight", case) <= 1.05 * mean_s(without, case)


@pytest.mark.parametrize("case", CASES)
def test_announcing_half_of_the_tasks_does_not_make_it_worse(case: str) -> None:
    assert mean_s("pilotlight", case, HERALDS) <= 1.01 * mean_s("pilotlight", case)


def test_what_has_run_for_hours_is_not_taken_to_come_free_soon() -> None:
    """So the last idle copies of what it uses are kept, and more are made (decision 36)."""
    case = "a few long tasks among short ones"
    assert mean_s("off", case) < 0.75 * mean_s("affinity", case)
    assert mean_s("pilotlight", case) < mean_s("off", case)


# ---- the search for such traces


@pytest.mark.parametrize("kind", harm.KINDS)
def test_a_made_up_trace_is_the_same_for_the_same_seed(kind: str) -> None:
    made = harm.arrivals(kind, 7)
    assert made == harm.arrivals(kind, 7) != harm.arrivals(kind, 8)
    times = [one.submit_s for one in made]
    assert times == sorted(times) and times[0] == 0.0
    assert len({one.key for one in made}) > 1


def test_a_search_takes_each_kind_as_often_and_shows_the_worst_first() -> None:
    drawn = list(harm.cases(16, 1))
    assert [drawn.count(case) for case in drawn] == [1] * 16
    assert sorted(case.kind for case in drawn) == sorted([*harm.KINDS] * 2)
    assert list(harm.cases(16, 1)) == drawn
    found = {
        case: harm.Outcome(9, (10.0, 0.0), (mean_s, 1.0), (5.0, 2.0))
        for case, mean_s in zip(drawn[:2], (9, 12), strict=True)
    }
    assert [row[-1] for row in harm.rows(found)] == ["1.20", "0.90"]
