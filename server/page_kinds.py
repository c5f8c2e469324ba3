"""Kinds of process pages: what a value is, and how the values that several processes have for one key become one.

A page is a mapping of keys to values. Joining is associative and commutative. A joining that is idempotent as well (a
maximum) makes a late or repeated page harmless by itself; for the others the exchange keeps each process's newest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from server.records import DAY_S, RETAIN_PAGE_S

Join = Callable[[Any, Any], Any]


@dataclass(frozen=True, slots=True)
class PageKind:
    """A kind of page.

    Attributes:
        name: of the kind.
        join: two values of one key → one.
        idempotent: joining a value twice is joining it once; the page may then also be spread over several records.
        retain_s: how long a page stays after its process wrote it last. Until then a dead process counts, so that sums
            do not fall.
        forget_after_s: values whose first number (a time) is older leave the page; 0 keeps all.
    """

    name: str
    join: Join
    idempotent: bool = False
    retain_s: float = RETAIN_PAGE_S
    forget_after_s: float = 0.0


def join_sum(one: float, other: float) -> float:
    """Counters."""
    return one + other


def join_max(one: Any, other: Any) -> Any:
    """Numbers, or lists that are compared by their first number, then the second."""
    return max(one, other)


HALF_LIVES_S = (120, 900, 3_600, 7_200, 21_600, 86_400)
"""Memories of the arrival rate, short ones for bursts and long ones for what comes once a day."""


def new_demand(at_s: float) -> dict[str, Any]:
    """Demand for a state that nobody has wanted so far; `first` is since when it is watched.

    `n` arrivals, `first` and `last` of them, `sums` of arrivals decayed until `at` by each of HALF_LIVES_S; `cold`,
    `warm` and `run` are [number, sum of seconds] of starts without the state, with it, and of run times.
    """
    return {
        "n": 0,
        "first": 0.0,
        "last": 0.0,
        "at": at_s,
        "sums": [0.0] * len(HALF_LIVES_S),
        "cold": [0, 0.0],
        "warm": [0, 0.0],
        "run": [0, 0.0],
    }


def decayed(sums: list[float], half_lives_s: tuple[int, ...], age_s: float) -> list[float]:
    """What is left of sums after `age_s` seconds."""
    age_s = max(0.0, age_s)
    return [total * 0.5 ** (age_s / half_life_s) for total, half_life_s in zip(sums, half_lives_s, strict=True)]


def join_demand(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Demand seen by two processes; the decayed sums meet at the later time."""
    at_s = max(one["at"], other["at"])
    mine = decayed(one["sums"], HALF_LIVES_S, at_s - one["at"])
    theirs = decayed(other["sums"], HALF_LIVES_S, at_s - other["at"])
    return {
        "n": one["n"] + other["n"],
        "first": min(one["first"] or other["first"], other["first"] or one["first"]),
        "last": max(one["last"], other["last"]),
        "at": at_s,
        "sums": [a + b for a, b in zip(mine, theirs, strict=True)],
        **{name: [a + b for a, b in zip(one[name], other[name], strict=True)] for name in ("cold", "warm", "run")},
    }


LEDGER_HALF_LIFE_S = (86_400,)


def new_ledger(at_s: float) -> dict[str, Any]:
    """Seconds that background work took and that it saved, both decayed until `at`."""
    return {"spent": 0.0, "saved": 0.0, "at": at_s}


def ledger_at(entry: dict[str, Any], at_s: float) -> dict[str, Any]:
    """The entry as it is worth at `at_s`; times before its own leave it as it is."""
    age_s = at_s - entry["at"]
    (spent,), (saved,) = (decayed([entry[name]], LEDGER_HALF_LIFE_S, age_s) for name in ("spent", "saved"))
    return {"spent": spent, "saved": saved, "at": max(at_s, entry["at"])}


def join_ledger(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Entries of two processes, at the later time."""
    at_s = max(one["at"], other["at"])
    one, other = ledger_at(one, at_s), ledger_at(other, at_s)
    return {"spent": one["spent"] + other["spent"], "saved": one["saved"] + other["saved"], "at": at_s}


LAST_SEEN = PageKind("last_seen", join_max, idempotent=True, forget_after_s=DAY_S)
"""Bot → [when it polled last, when it polls next]."""
COUNTERS = PageKind("counters", join_sum)
"""Name → number."""
DEMAND = PageKind("demand", join_demand, retain_s=14 * DAY_S)
"""Pool, family and generation, separated by tabs → `new_demand`."""
LEDGER = PageKind("ledger", join_ledger, retain_s=14 * DAY_S)
"""Pool and family, separated by a tab → `new_ledger`."""

KINDS = {kind.name: kind for kind in (LAST_SEEN, COUNTERS, DEMAND, LEDGER)}
