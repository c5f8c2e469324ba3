"""Small made-up traces for the tests of the simulator."""

from __future__ import annotations

import random
from collections.abc import Iterable

from server.policy.simulate.trace import Arrival, split_key


def arrivals(*rows: tuple[float, float, str]) -> list[Arrival]:
    """Arrivals from (submit_s, duration_s, key)."""
    return [Arrival(submit_s, duration_s, key, *split_key(key)) for submit_s, duration_s, key in rows]


def poisson(keys: Iterable[str], hours: float, per_h: float, duration_s: float = 120.0, seed: int = 7) -> list[Arrival]:
    """Independent tasks; the first of the keys is asked for half of the time, the next a quarter, and so on."""
    dice, now_s, found, names = random.Random(seed), 0.0, [], list(keys)
    while (now_s := now_s + dice.expovariate(per_h / 3600.0)) < hours * 3600.0:
        rank = min(len(names) - 1, int(dice.expovariate(0.7)))
        found.append((now_s, dice.expovariate(1.0 / duration_s), names[rank]))
    return arrivals(*found)


def rolling(hours: int, per_h: float = 60.0, seed: int = 7) -> list[Arrival]:
    """A family that moves to a new generation every hour, beside two steady ones."""
    dice, now_s, found = random.Random(seed), 0.0, []
    while (now_s := now_s + dice.expovariate(per_h / 3600.0)) < hours * 3600.0:
        steady = dice.random() < 0.4
        key = dice.choice(["steady", "calm"]) if steady else f"src:{int(now_s // 3600) + 1}"
        found.append((now_s, dice.uniform(60.0, 180.0), key))
    return arrivals(*found)
