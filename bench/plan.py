"""What one plan of a large pool costs: `python -m bench.plan [--bots 1000] [--families 300] [--write docs/policy.md]`.

A made-up pool whose bots hold one state each, in four situations. A plan is made from a view, as a server does it for a
poll: the index of the pool, dispatch, background work, preemption, and the advice of one bot with its words. Median of
several plans, on one core.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench.page import put, table
from server import simulation
from server.policy.model import (
    Bot,
    Demand,
    GateState,
    Held,
    PendingTask,
    Phase,
    PoolView,
    Purpose,
    Slot,
    Spec,
    Wish,
)
from server.policy.plan import plan

NOW_S = 1_800_000_000.0
POOL, GENERATION, SLOT = "p", "g1", "cache"
REQUIRED = (("pool", (POOL,)),)
MEMORIES_S = (120, 900, 3600, 7200, 21_600, 86_400)
PLANS = 9
BEGIN, END = "<!-- bench/plan begins -->", "<!-- bench/plan ends -->"


@dataclass(frozen=True, slots=True)
class Situation:
    """Which share of the bots runs tasks, and how many tasks wait per bot."""

    name: str
    busy: float
    waiting: float


SITUATIONS = (
    Situation("half of the bots are busy, nothing waits", 0.5, 0.0),
    Situation("a tenth of the bots is busy, nothing waits", 0.1, 0.0),
    Situation("half of the bots are busy, a task waits for each other one", 0.5, 0.5),
    Situation("a fifth of the bots is busy, a task waits for every second bot", 0.2, 0.5),
)


def pool(situation: Situation, bots: int, families: int, dice: random.Random) -> PoolView:
    """A pool in such a situation; each family is asked for some times an hour, at random."""
    names = [f"f{number}" for number in range(families)]
    demand = {name: _demand(dice.expovariate(1.0 / 3.0)) for name in names}
    busy = int(situation.busy * bots)
    return PoolView(
        POOL,
        now_s=NOW_S,
        view_age_s=0.5,
        bots=tuple(_bot(number, dice.choice(names), number < busy, dice) for number in range(bots)),
        pending=tuple(_task(number, dice.choice(names), dice) for number in range(int(situation.waiting * bots))),
        specs=tuple(Spec(name, GENERATION, 1, SLOT, REQUIRED, sequence=1) for name in names),
        demand=demand,
        generation_demand={(name, GENERATION): one for name, one in demand.items()},
        thresholds=simulation.thresholds(),
        gate=GateState(open=True, below_since_s=NOW_S - 600.0),
        states_put_per_s=0.2,
    )


def _demand(per_h: float) -> Demand:
    rates = dict.fromkeys(MEMORIES_S, per_h / 3600.0)
    return Demand(rates, arrivals=24.0 * per_h, observed_s=7 * 86_400.0, duration_s=300.0)


def _bot(number: int, family: str, is_busy: bool, dice: random.Random) -> Bot:
    name, used_s = f"b{number:05d}", NOW_S - dice.uniform(60.0, 3600.0)
    phase = Phase.IN_USE if is_busy else Phase.WARM
    slots = {SLOT: Slot(phase, family, GENERATION, since_s=used_s, last_used_s=used_s)}
    run = Held(f"t{number}", number + 1, Purpose.REAL, since_s=used_s, slot=SLOT) if is_busy else None
    dimensions = {"pool": frozenset((POOL,)), "id": frozenset((name,))}
    return Bot(name, dimensions, slots=slots, held=run, idle_since_s=used_s, held_poll=True)


def _task(number: int, family: str, dice: random.Random) -> PendingTask:
    return PendingTask(f"p{number}", 100, NOW_S - dice.uniform(0.0, 20.0), REQUIRED, (Wish(family),))


def measured_ms(view: PoolView) -> float:
    """The median time of a plan with one bot's advice, after one that is not counted."""
    took, last = [], view.bots[-1].id
    for _ in range(PLANS + 1):
        began_s = time.process_time()
        plan(view).advice.get(last)
        took.append(time.process_time() - began_s)
    return 1e3 * median(took[1:])


def rows(bots: int, families: int) -> Iterator[tuple[str, str]]:
    """Per situation, what a plan takes."""
    for situation in SITUATIONS:
        yield situation.name, f"{measured_ms(pool(situation, bots, families, random.Random(1))):.0f} ms"


def main() -> None:
    """Measures, and prints or writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bots", type=int, default=1000)
    parser.add_argument("--families", type=int, default=300)
    parser.add_argument("--write", type=Path, help="page between whose marks the table goes; else it is printed")
    given = parser.parse_args()
    title = f"a plan of {given.bots:,} bots and {given.families:,} states, T10: < 50 ms"
    made = "\n".join(table((title, "takes"), list(rows(given.bots, given.families)))) + "\n"
    put(made, given.write, BEGIN, END)


if __name__ == "__main__":
    main()
