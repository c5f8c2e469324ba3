"""What one bot has at hand for tasks, and why it can take none."""

from __future__ import annotations

from collections.abc import Iterable

from server.policy.model import Bot, Phase, Slot, Wish
from server.policy.queues import State

HOLDING = frozenset({Phase.WARM, Phase.STALE})
"""Phases in which an idle bot has the slot's state at hand (a stale one is second-rate, yet at hand)."""


def why_unusable(bot: Bot) -> str:
    """Why the bot can take nothing at all, for people; "" when it can."""
    if not bot.alive:
        return f"{bot.id} is silent: its poll is overdue" if bot.overdue else f"{bot.id} is dead"
    if bot.quarantined:
        return f"{bot.id} is quarantined: {bot.quarantined}"
    if bot.maintenance:
        return f"{bot.id} is in maintenance: {bot.maintenance}"
    return ""


def serves(slot: Slot, wish: Wish) -> bool:
    """Whether a bot that is idle is warm for the wish by this slot."""
    return slot.phase in HOLDING and slot.family == wish.family and wish.generation in ("", slot.generation)


def fulfilled(bot: Bot, wishes: Iterable[Wish]) -> tuple[Wish, ...]:
    """The wishes for which the bot is warm."""
    return tuple([wish for wish in wishes if any(serves(slot, wish) for slot in bot.slots.values())])


def held_states(bot: Bot) -> list[State]:
    """The states that an idle bot has at hand."""
    return [(slot.family, slot.generation) for slot in bot.slots.values() if slot.phase in HOLDING]
