"""Which generation of a family is newer, and which ones nobody bets on any more.

A generation is not bet on again once a real task asked for a newer one, the operator registered its successor, or a bot
reports one. Only an operator's roll-back brings it back: that is a new revision with a higher sequence. Order is never
the order of the strings.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from server.policy.at_hand import HOLDING
from server.policy.fleet import Fleet
from server.policy.model import Demand, Order, Phase, Spec
from server.policy.queues import State
from server.policy.words import named


def is_newer(spec: Spec, generation: str, first_seen_s: float) -> bool:
    """Whether the generation is newer than the spec's own, by the spec's order.

    REGISTERED: its sequence number is higher; one that nobody registered is not newer. FIRST_SEEN: it was first seen
    after the operator made the spec's own generation the current one, unless it is registered as an older one.
    """
    if generation in ("", spec.generation):
        return False
    sequence = spec.known_generations.get(generation)
    if spec.order is Order.REGISTERED or sequence is not None:
        return sequence is not None and sequence > spec.sequence
    return first_seen_s > spec.registered_s


def superseded(
    spec: Spec,
    successors: Iterable[Spec] = (),
    demanded: Mapping[str, Demand] | None = None,
    reported: Mapping[str, tuple[str, float]] | None = None,
) -> str:
    """Why the spec's generation is not warmed any more, for people; "" when it still is.

    `successors` are other specs of the family, `demanded` the demand by generation, `reported` by generation one bot
    that holds it and since when.
    """
    for other in successors:
        if other.family == spec.family and other.generation != spec.generation and other.sequence > spec.sequence:
            return f"{named(other.family, other.generation)} was registered after it"
    demanded = demanded or {}
    for generation, demand in sorted(demanded.items()):
        if demand.arrivals > 0 and is_newer(spec, generation, demand.first_arrival_s):
            return f"a task asked for the newer {named(spec.family, generation)}"
    for generation, (bot, since_s) in sorted((reported or {}).items()):
        known = demanded.get(generation)
        if is_newer(spec, generation, known.first_arrival_s if known is not None else since_s):
            return f"{bot} holds the newer {named(spec.family, generation)}"
    return ""


def superseded_states(fleet: Fleet) -> dict[State, str]:
    """The states of all specs in a view that are not warmed any more, and why."""
    demanded: dict[str, dict[str, Demand]] = {}
    for (family, generation), demand in fleet.view.generation_demand.items():
        demanded.setdefault(family, {})[generation] = demand
    reported = _reported(fleet)
    found: dict[State, str] = {}
    for spec in fleet.view.specs:
        current = fleet.specs[spec.family]
        successors = () if current is spec else (current,)
        why = superseded(spec, successors, demanded.get(spec.family), reported.get(spec.family))
        if why:
            found[spec.family, spec.generation] = why
    return found


def _reported(fleet: Fleet) -> dict[str, dict[str, tuple[str, float]]]:
    """Per family the generations that bots hold beside the current one: a bot each, the one that had it first."""
    found: dict[str, dict[str, tuple[str, float]]] = {}
    for bot in fleet.usable.values():
        for slot in bot.slots.values():
            spec = fleet.specs.get(slot.family)
            if spec is None or slot.generation in ("", spec.generation):
                continue
            if slot.phase in HOLDING or slot.phase is Phase.IN_USE:
                holders = found.setdefault(slot.family, {})
                first = holders.get(slot.generation)
                if first is None or (slot.since_s, bot.id) < (first[1], first[0]):
                    holders[slot.generation] = bot.id, slot.since_s
    return found
