"""Kinds of process pages: what a value is, and how the values that several processes have for one key become one.

A page is a mapping of keys to values. Joining is associative and commutative. A joining that is idempotent as well (a
maximum) makes a late or repeated page harmless by itself; for the others the exchange keeps each process's newest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from server.policy import self_disabling
from server.policy.bet_ledger import BetLedger
from server.policy.demand import DemandSums
from server.policy.savings import Savings
from server.policy.self_disabling import Starts
from server.records import DAY_S, RETAIN_DECISION_S, RETAIN_PAGE_S

Join = Callable[[Any, Any], Any]


def _as_it_is(value: Any) -> Any:
    return value


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
        encode: a value → plain JSON.
        decode: plain JSON → a value; raises KeyError, TypeError or ValueError for what another version wrote.
    """

    name: str
    join: Join
    idempotent: bool = False
    retain_s: float = RETAIN_PAGE_S
    forget_after_s: float = 0.0
    encode: Callable[[Any], Any] = _as_it_is
    decode: Callable[[Any], Any] = _as_it_is


def join_sum(one: float, other: float) -> float:
    """Counters."""
    return one + other


def join_max(one: Any, other: Any) -> Any:
    """Numbers, or lists that are compared by their first number, then the second."""
    return max(one, other)


def join_newest(one: Any, other: Any) -> Any:
    """Lists of a time, a name, and whatever belongs to them."""
    return max(one, other, key=lambda value: (value[0], value[1]))


def join_demand(one: DemandSums, other: DemandSums) -> DemandSums:
    """Demand seen by two processes."""
    return one.merge(other)


def join_savings(one: Savings, other: Savings) -> Savings:
    """Tasks with and without prewarming, as two processes saw them."""
    return one.merge(other)


def join_bets(one: BetLedger, other: BetLedger) -> BetLedger:
    """Each process follows all bets of a pool, so two tell of the same ones: the one that saw more is right."""
    return one.fuller(other)


def join_starts(one: Starts, other: Starts) -> Starts:
    """Starts that two processes saw."""
    return one.merge(other)


def new_ledger(at_s: float) -> dict[str, Any]:
    """Seconds that background work took and that it saved, both decayed until `at`."""
    return {"spent": 0.0, "saved": 0.0, "at": at_s}


def ledger_at(entry: dict[str, Any], at_s: float) -> dict[str, Any]:
    """The entry as it is worth at `at_s`; times before its own leave it as it is."""
    left = 0.5 ** (max(0.0, at_s - entry["at"]) / self_disabling.LEDGER_HALF_LIFE_S)
    return {"spent": entry["spent"] * left, "saved": entry["saved"] * left, "at": max(at_s, entry["at"])}


def join_ledger(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Entries of two processes, at the later time."""
    at_s = max(one["at"], other["at"])
    one, other = ledger_at(one, at_s), ledger_at(other, at_s)
    return {"spent": one["spent"] + other["spent"], "saved": one["saved"] + other["saved"], "at": at_s}


LAST_SEEN = PageKind("last_seen", join_max, idempotent=True, forget_after_s=DAY_S)
"""Bot → [when it polled last, when it polls next]."""
COUNTERS = PageKind("counters", join_sum)
"""Name → number."""
DEMAND = PageKind("demand", join_demand, retain_s=14 * DAY_S, encode=DemandSums.to_plain, decode=DemandSums.from_plain)
"""Pool, family and generation, separated by tabs → `policy.demand.DemandSums`."""
LEDGER = PageKind("ledger", join_ledger, retain_s=14 * DAY_S)
"""Pool and family, separated by a tab → `new_ledger`."""
BETS = PageKind(
    "bets", join_bets, idempotent=True, retain_s=7 * DAY_S, encode=BetLedger.to_plain, decode=BetLedger.from_plain
)
"""Pool → `policy.bet_ledger.BetLedger`."""
STARTS = PageKind("starts", join_starts, encode=Starts.to_plain, decode=Starts.from_plain)
"""Pool → `policy.self_disabling.Starts`."""
SAVINGS = PageKind("savings", join_savings, retain_s=14 * DAY_S, encode=Savings.to_plain, decode=Savings.from_plain)
"""Pool and family, separated by a tab → `policy.savings.Savings`."""
DECISIONS = PageKind("decisions", join_newest, idempotent=True, forget_after_s=RETAIN_DECISION_S)
"""Pool, kind and place, separated by tabs → [when, bot, what was decided and why]."""
ANNOUNCED_ARRIVALS = PageKind("announced_arrivals", join_max, idempotent=True, forget_after_s=2 * 3600.0)
"""Pool, family, generation and task, separated by tabs → [when it came]. Of families that were announced."""
ANNOUNCE_TAGS = PageKind("announce_tags", join_max, idempotent=True, forget_after_s=8 * 3600.0)
"""Pool, task and its tag, separated by tabs → [when the task was created, by whom, why the tag is refused or ""]."""

_ALL = (LAST_SEEN, COUNTERS, DEMAND, LEDGER, BETS, STARTS, SAVINGS, DECISIONS, ANNOUNCED_ARRIVALS, ANNOUNCE_TAGS)
KINDS = {kind.name: kind for kind in _ALL}
