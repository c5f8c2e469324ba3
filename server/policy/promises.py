"""What is done for tasks that are announced: which spec is run, and from when on."""

from __future__ import annotations

from collections.abc import Mapping

from server.policy.fleet import Fleet
from server.policy.model import Announcement, Purpose, Spec
from server.policy.outlook import ANNOUNCED_AHEAD_S, Outlook
from server.policy.queues import State

EARLY_S = 180.0
"""What is announced is warmed from this long before the latest moment on: by then the pool may be too busy for it."""


def makes_a_state(spec: Spec) -> bool:
    """Whether its run makes something that tasks want, and may be begun."""
    return spec.active and spec.purpose not in (Purpose.CLEAN, Purpose.REAL)


def maker_of(fleet: Fleet, superseded: Mapping[State, str], family: str, generation: str) -> Spec | None:
    """The spec that is run for tasks announced so: that of the newest generation, or of the one before if it is named.

    Who names it says that its users have not moved on: that is no guess of ours. None: nothing is made for them.
    `superseded` has the spec's own generation where a newer one is known that no spec makes.
    """
    current = fleet.specs.get(family)
    if current is None:
        return None
    is_newest = (family, current.generation) not in superseded
    if generation == current.generation:
        found: Spec | None = current
    elif is_newest:
        found = current if not generation else fleet.spec_of.get((family, generation))
    else:
        found = None
    return found if found is not None and makes_a_state(found) else None


def is_due(one: Announcement, spec: Spec, outlook: Outlook, now_s: float) -> bool:
    """Whether a run of the spec for it may begin: not so early that what it makes is stale by then."""
    early_s = min(EARLY_S, max(ANNOUNCED_AHEAD_S, spec.fresh_for_s / 2.0))
    latest_s = now_s + max(outlook.cold_s(spec.family), spec.run_s) + early_s
    return one.from_s <= latest_s and one.until_s >= now_s


def promised(fleet: Fleet, superseded: Mapping[State, str], outlook: Outlook) -> dict[State, float]:
    """For how many tasks, announced by the name of their generation and due, nothing is made or there yet."""
    found: dict[State, float] = {}
    for one in fleet.view.announcements:
        spec = maker_of(fleet, superseded, one.family, one.generation) if one.generation else None
        if spec is not None and is_due(one, spec, outlook, fleet.now_s):
            state = spec.family, spec.generation
            found[state] = found.get(state, -float(len(fleet.fresh.get(state, ())))) + one.count
    for bot in fleet.background.values():
        if bot.held is not None and bot.held.purpose is Purpose.ANNOUNCED and not bot.held.stop:
            state = bot.held.family, bot.held.generation
            if state in found:
                found[state] -= 1.0
    return {state: tasks for state, tasks in found.items() if tasks > 0.0}
