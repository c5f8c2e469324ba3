"""Dirty bots: who is one, what cleans it, and what that takes."""

from __future__ import annotations

from server.policy.fleet import Fleet
from server.policy.model import Bot, Phase, Spec


def is_dirty(bot: Bot) -> bool:
    """Whether a slot of the bot waits for a clean-up."""
    return any(held.phase is Phase.DIRTY for held in bot.slots.values())


def cleaning_spec(fleet: Fleet, bot: Bot) -> Spec | None:
    """The spec that cleans the bot: one for its dirty slot, else one without a slot; None when it is not dirty."""
    dirty = {name for name, slot in bot.slots.items() if slot.phase is Phase.DIRTY}
    if not dirty:
        return None
    fitting = [
        spec
        for spec in fleet.cleaning_specs
        if (spec.slot in dirty or not spec.slot) and fleet.fits.fits(spec.dimensions, bot.id)
    ]
    return min(fitting, key=lambda spec: (spec.slot == "", spec.slot, spec.family), default=None)
