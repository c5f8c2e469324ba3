"""A made-up week for stating what a replay costs: many tasks, skewed keys, a daily wave, moving generations."""

from __future__ import annotations

import math
import random

from server.policy.simulate.trace import Arrival, split_key

NAME, TASKS, BOTS = "made_week", 200_000, 500
DAY_S, HALF_DAY_S = 86_400.0, 43_200.0
FAMILIES = 300


def made_week(tasks: int = TASKS, seed: int = 7) -> list[Arrival]:
    """Tasks of eight minutes on average within seven days; every third family moves to a new generation twice a day."""
    dice, found = random.Random(seed), []
    ranks = dice.choices(range(FAMILIES), [1.0 / (rank + 1) for rank in range(FAMILIES)], k=tasks)
    for rank in ranks:
        submit_s = dice.uniform(0.0, 7 * DAY_S)
        while dice.random() > 0.6 + 0.4 * math.sin(2.0 * math.pi * submit_s / DAY_S):
            submit_s = dice.uniform(0.0, 7 * DAY_S)
        key = f"f{rank}:{int(submit_s // HALF_DAY_S)}" if rank % 3 == 0 else f"f{rank}"
        found.append(Arrival(submit_s, dice.expovariate(1.0 / 480.0), key, *split_key(key)))
    return sorted(found, key=lambda one: one.submit_s)
