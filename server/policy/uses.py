"""Which real tasks use which warm states, on which bots, and since when."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from server.policy.model import Bot, Phase
from server.policy.queues import State


class Use(NamedTuple):
    """Since when a real task has used a state, and the families whose states it makes itself before its work."""

    since_s: float
    makes: tuple[str, ...] = ()


def use_of(bot: Bot, since_s: float) -> Use:
    """How the bot's real task uses a state that it has used since then."""
    return Use(since_s, tuple([slot.family for slot in bot.slots.values() if slot.phase is Phase.IN_USE and slot.part]))


class Uses:
    """By state and bot."""

    def __init__(self, changes: Counter[str]) -> None:
        """`changes` counts, per family, how often anything was put or dropped."""
        self._of: dict[State, dict[str, Use]] = {}
        self._changes = changes

    def put(self, state: State, bot: Bot, use: Use) -> None:
        """The bot's task uses the state from now on."""
        self._of.setdefault(state, {})[bot.id] = use
        self._changes[state[0]] += 1

    def drop(self, state: State, bot: Bot) -> None:
        """It uses it no more; nothing happens when it does not."""
        uses = self._of.get(state, {})
        uses.pop(bot.id, None)
        self._changes[state[0]] += 1
        if not uses:
            self._of.pop(state, None)

    def of(self, states: Iterable[State]) -> list[Use]:
        """Those that use any of the states."""
        return [use for state in states for use in self._of.get(state, {}).values()]

    def of_family(self, family: str) -> list[Use]:
        """Those that use any generation of the family."""
        return self.of([state for state in self._of if state[0] == family])
