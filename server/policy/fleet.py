"""One PoolView, sorted once into what the decisions ask for: who is usable, idle, busy, and who fits what."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from server.policy.dimensions import Fits, Requirement
from server.policy.model import Bot, Phase, PoolView, Purpose, Slot, Spec, Wish

HOLDING = frozenset({Phase.WARM, Phase.STALE})
"""Phases in which an idle bot has the slot's state at hand (a stale one is second-rate, yet at hand)."""

LATE_S = 10.0
"""A bot whose poll is due for longer may be gone."""

State = tuple[str, str]
"""(family, generation)"""


def why_unusable(bot: Bot) -> str:
    """Why the bot can take nothing at all, for people; "" when it can."""
    if not bot.alive:
        return f"{bot.id} is dead"
    if bot.quarantined:
        return f"{bot.id} is quarantined: {bot.quarantined}"
    if bot.maintenance:
        return f"{bot.id} is in maintenance: {bot.maintenance}"
    return ""


def serves(slot: Slot, wish: Wish) -> bool:
    """Whether a bot that is idle is warm for the wish by this slot."""
    return slot.phase in HOLDING and slot.family == wish.family and wish.generation in ("", slot.generation)


def newest_specs(specs: Iterable[Spec]) -> dict[str, Spec]:
    """Per family the spec of the highest sequence: the others are superseded by it."""
    newest: dict[str, Spec] = {}
    for spec in specs:
        known = newest.get(spec.family)
        if known is None or (spec.sequence, spec.revision) > (known.sequence, known.revision):
            newest[spec.family] = spec
    return newest


class Fleet:
    """The bots of a view by what they do, and the index of what they fit and hold.

    `usable` bots are alive and healthy. `idle` ones hold no run and their quiet time is over. `real` and `background`
    are the usable bots that hold a run.
    """

    def __init__(self, view: PoolView) -> None:
        self.view = view
        self.usable: list[Bot] = []
        self.idle: list[Bot] = []
        self.real: list[Bot] = []
        self.background: list[Bot] = []
        self.by_id = {bot.id: bot for bot in view.bots}
        for bot in view.bots:
            if not bot.alive or bot.quarantined or bot.maintenance:
                continue
            self.usable.append(bot)
            if bot.held is None:
                if bot.quiet_until_s <= view.now_s:
                    self.idle.append(bot)
            elif bot.held.purpose is Purpose.REAL:
                self.real.append(bot)
            else:
                self.background.append(bot)
        self.specs = newest_specs(view.specs)
        requirements = {task.dimensions for task in view.pending} | {spec.dimensions for spec in view.specs}
        self.fits = Fits(view.bots, requirements)
        self.pending_ids = frozenset(task.id for task in view.pending)
        self.wished = self._count_wishes()

    def _count_wishes(self) -> dict[State, int]:
        counts: dict[State, int] = defaultdict(int)
        for task in self.view.pending:
            for wish in task.wishes:
                counts[wish.family, wish.generation] += 1
        return dict(counts)

    def fitting(self, requirement: Requirement, bots: Iterable[Bot]) -> list[Bot]:
        """Those of the bots that satisfy the requirement (one that the view has)."""
        return [bot for bot in bots if self.fits.fits(requirement, bot.id)]

    def poll_order(self, bot: Bot) -> tuple[int, float, str]:
        """Sorts bots by how soon the process that plans can tell them something: held polls (0) first.

        Bots that poll another process come later: it plans for them itself, and a hand-out advised here would wait for
        a poll that comes there. Last come those of which no poll is due, or that are late: they may be gone, and what
        is meant for them would be made by nobody.
        """
        if bot.held_poll:
            return 0, 0.0, bot.id
        if bot.next_poll_s < self.view.now_s - LATE_S:
            return 3, -bot.next_poll_s, bot.id
        return (2 if bot.polls_elsewhere else 1), bot.next_poll_s, bot.id
