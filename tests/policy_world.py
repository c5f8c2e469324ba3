"""Factories for the values that the policy sees, with defaults that let background work through."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

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
    Thresholds,
    Wish,
)

NOW_S = 1_800_000_000.0
POOL = (("pool", ("p",)),)
MEMORIES_S = (120, 900, 3600, 7200, 21_600, 86_400)


def warm(
    family: str, generation: str = "g1", *, phase: Phase = Phase.WARM, slot: str = "cache", used_s: float = 60.0
) -> tuple[str, Slot]:
    """A named slot that holds a state, last used `used_s` ago."""
    return slot, Slot(phase, family, generation, since_s=NOW_S - used_s - 60, last_used_s=NOW_S - used_s)


def bot(
    name: str,
    *slots: tuple[str, Slot],
    run: Held | None = None,
    idle_s: float = 600.0,
    extra: Mapping[str, Iterable[str]] | None = None,
    **fields: Any,
) -> Bot:
    """An idle, healthy bot of pool p."""
    dimensions = {"pool": frozenset(("p",)), "id": frozenset((name,))}
    dimensions.update({key: frozenset(values) for key, values in (extra or {}).items()})
    return Bot(name, dimensions, slots=dict(slots), held=run, idle_since_s=NOW_S - idle_s, **fields)


def held(purpose: Purpose = Purpose.REAL, family: str = "", generation: str = "g1", **fields: Any) -> Held:
    """A run that a bot holds since a minute, claim 7."""
    return Held(
        **{"task_id": "d7", "n": 7, "since_s": NOW_S - 60, "slot": "cache"} | fields,
        purpose=purpose,
        family=family,
        generation=generation,
    )


def busy(name: str, family: str = "src", ran_s: float = 2.0, *, is_cold: bool = False) -> Bot:
    """A bot that runs a real task with the family's state, which the task makes itself if it is cold."""
    part, since_s = f"{family}@g1" if is_cold else "", NOW_S - ran_s
    slot = Slot(Phase.IN_USE, family, "g1", since_s=since_s, last_used_s=since_s, part=part)
    return bot(name, ("cache", slot), run=held(family=family))


def task(name: str, family: str = "", *, age_s: float = 0.0, **fields: Any) -> PendingTask:
    """A pending real task of pool p that wants any generation of the family."""
    defaults: dict[str, Any] = {"priority": 100, "dimensions": POOL, "wishes": (Wish(family),) if family else ()}
    return PendingTask(id=name, created_s=NOW_S - age_s, **(defaults | fields))


def spec(family: str, generation: str = "g1", **fields: Any) -> Spec:
    """An active spec that fits all bots of pool p."""
    defaults: dict[str, Any] = {"revision": 1, "slot": "cache", "dimensions": POOL, "sequence": 1}
    return Spec(family=family, generation=generation, **(defaults | fields))


def demand(per_h: float, **fields: Any) -> Demand:
    """Demand of that many tasks an hour, the same in every memory, watched for a week."""
    rates = dict.fromkeys(MEMORIES_S, per_h / 3600)
    return Demand(**{"rates_per_s": rates, "arrivals": per_h * 24, "observed_s": 7 * 86_400.0} | fields)


def gate(**fields: Any) -> GateState:
    """The pool's memory with an open utilization gate."""
    return GateState(**{"open": True, "below_since_s": NOW_S - 600} | fields)


def view(
    bots: Iterable[Bot],
    *,
    tasks: Iterable[PendingTask] = (),
    specs: Iterable[Spec] = (),
    demand: Mapping[str, Demand] | None = None,
    thresholds: Thresholds | None = None,
    state: GateState | None = None,
    **fields: Any,
) -> PoolView:
    """A fresh view of pool p, live and with no gate closed by default."""
    return PoolView(
        "p",
        **{"now_s": NOW_S, "view_age_s": 0.5} | fields,
        bots=tuple(bots),
        pending=tuple(tasks),
        specs=tuple(specs),
        demand=demand or {},
        thresholds=thresholds or Thresholds(mode="live"),
        gate=state or gate(),
    )
