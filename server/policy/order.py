"""Which generation of a family is newer, and which ones nobody warms any more."""

from __future__ import annotations

from server.policy.fleet import HOLDING, Fleet, State
from server.policy.model import Order, Phase, Spec
from server.policy.words import named


def is_newer(spec: Spec, generation: str, first_seen_s: float) -> bool:
    """Whether the generation is newer than the spec's own, by the spec's order."""
    if generation in ("", spec.generation):
        return False
    if spec.order is Order.REGISTERED:
        return spec.known_generations.get(generation, -1) > spec.sequence
    return first_seen_s > spec.registered_s


def superseded(fleet: Fleet) -> dict[State, str]:
    """The states of specs that are not warmed any more, and why, for people."""
    why: dict[State, str] = {}
    for spec in fleet.view.specs:
        current = fleet.specs[spec.family]
        if current is not spec and current.generation != spec.generation:
            why[spec.family, spec.generation] = f"{named(spec.family, current.generation)} was registered after it"
    for (family, generation), demand in fleet.view.generation_demand.items():
        known = fleet.specs.get(family)
        if known is not None and demand.arrivals > 0 and is_newer(known, generation, demand.first_arrival_s):
            why.setdefault((family, known.generation), f"a task asked for the newer {named(family, generation)}")
    for bot in fleet.usable:
        for slot in bot.slots.values():
            known = fleet.specs.get(slot.family)
            held = slot.phase in HOLDING or slot.phase is Phase.IN_USE
            if known is not None and held and is_newer(known, slot.generation, slot.since_s):
                why.setdefault(
                    (slot.family, known.generation), f"{bot.id} holds the newer {named(slot.family, slot.generation)}"
                )
    return why
