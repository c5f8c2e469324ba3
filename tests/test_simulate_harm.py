"""Traces made up to show that prewarming harms: what it costs there beside the same dispatch without it."""

from __future__ import annotations

import random

import pytest

from bench import harm
from bench.cells import HERALDS, JITTER_S
from server import simulation
from server.policy.simulate.announced import Heralds, announcements
from server.policy.simulate.options import Options
from server.policy.simulate.replay import replay
from server.policy.simulate.trace import DAY_S, Arrival, jittered
from tests.simulate_world import arrivals


def periodic(jobs: int, periods_s: tuple[float, ...], tasks: tuple[int, ...], work_s: float) -> list[Arrival]:
    """Jobs of several tasks at once, each job of its own key and at its own times, for two days."""
    dice, found = random.Random(1), []
    for job in range(jobs):
        at_s = job * periods_s[job % len(periods_s)] / jobs
        while at_s < 2 * DAY_S:
            for _ in range(tasks[job % len(tasks)]):
                found.append((at_s, dice.uniform(0.8, 1.2) * work_s, f"j{job}"))
            at_s += periods_s[job % len(periods_s)]
    return jittered(arrivals(*found), dice, JITTER_S)


def stationary(keys: int, tasks: int, work_s: float) -> list[Arrival]:
    """Tasks at random times, each key as likely as the others, for four days."""
    dice = random.Random(2)
    times = sorted(dice.uniform(0.0, 4 * DAY_S) for _ in range(tasks))
    keyed = [(at_s, f"k{dice.randrange(keys)}") for at_s in times]
    return arrivals(*[(at_s, dice.expovariate(1 / work_s), key) for at_s, key in keyed])


def mean_s(policy: str, tasks: list[Arrival], options: Options, heralds: Heralds | None = None) -> float:
    said = announcements(tasks, heralds, random.Random(3)) if heralds is not None else ()
    found = replay(policy, tasks, options, random.Random(4), simulation.thresholds(), said)
    return found.total_s / len(found.overhead)


CASES = {
    "short tasks in batches": (periodic(12, (900, 1800, 3600, 7200), (1, 4, 8), 20.0), Options(20, cold_s=600.0)),
    "more batches than the fleet has room for": (periodic(6, (3600,), (6,), 200.0), Options(15, cold_s=600.0)),
    "twice as many places as keys": (stationary(20, 2000, 600.0), Options(12, cold_s=600.0, slots=5)),
}


@pytest.mark.parametrize("case", CASES)
def test_prewarming_costs_no_more_than_a_twentieth_where_it_cannot_help(case: str) -> None:
    tasks, options = CASES[case]
    assert mean_s("pilotlight", tasks, options) <= 1.05 * mean_s("off", tasks, options)


@pytest.mark.parametrize("case", CASES)
def test_announcing_half_of_the_tasks_does_not_make_it_worse(case: str) -> None:
    tasks, options = CASES[case]
    assert mean_s("pilotlight", tasks, options, HERALDS) <= 1.01 * mean_s("pilotlight", tasks, options)


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
